"""Errors, warnings and notes, on the error stream."""

import sys

from rich.text import Text

from plumbline.console.terminal import make_console
from plumbline.console.text import folded, visible

_STYLES = {"error:": "bold red", "warning:": "yellow", "note:": "dim"}


def tell(remark: str) -> None:
    """Print one remark, such as ``note: ...``: in one line, which only a terminal folds, between words."""
    shown = visible(remark)
    if not sys.stderr.isatty():
        print(shown, file=sys.stderr)
        return
    console = make_console(stderr=True)
    text = Text("\n".join(folded(shown, console.width, indent="  ")))
    kind = shown.partition(" ")[0]
    text.stylize(_STYLES.get(kind, ""), 0, len(kind))
    console.print(text, soft_wrap=True)
