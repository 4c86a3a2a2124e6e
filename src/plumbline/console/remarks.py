"""Errors, warnings and notes, on the error stream."""

import sys

from plumbline.console.terminal import make_console
from plumbline.console.text import folded, visible


def tell(remark: str) -> None:
    """Print one remark, such as ``note: ...``: in one line, which only a terminal folds, between words."""
    shown = visible(remark)
    if sys.stderr.isatty():
        shown = "\n".join(folded(shown, make_console(stderr=True).width, indent="  "))
    print(shown, file=sys.stderr)
