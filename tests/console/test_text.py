"""Values as text: one way to write each."""

import re
from pathlib import Path

import pytest

import plumbline
from plumbline.console.text import percent

PACKAGE = Path(plumbline.__file__).parent


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1, None, "100 %"),
        (0.003, None, "0.300 %"),
        (0.0676, 1, "6.8 %"),
        (0.1549, 0, "15 %"),
        (float("nan"), 0, "–"),
    ],
)
def test_a_share_is_a_number_a_space_and_the_sign(value: float, decimals: int | None, text: str) -> None:
    assert percent(value, decimals) == text


def test_no_share_is_written_in_another_way() -> None:
    """Python's own format has no space before the sign."""
    found = {
        path.relative_to(PACKAGE).as_posix(): formats
        for path in PACKAGE.rglob("*.py")
        if (formats := re.findall(r":[\d.,]*%\}|\d%(?= of)", path.read_text(encoding="utf-8")))
    }
    assert found == {}
