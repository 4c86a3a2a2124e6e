"""The elements of a COLLADA file, found by their ids, and the numbers in them."""

from collections.abc import Callable
from urllib.parse import unquote
from xml.etree.ElementTree import Element

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.parts import show
from plumbline.geometry.mesh_formats.xml_text import parse_tree
from plumbline.records import Float, Int

_DIGITS_AND_BLANKS = b"0123456789 \t\r\n"


class Document:
    """A COLLADA file.

    Attributes:
        root: the ``COLLADA`` element.
    """

    def __init__(self, root: Element) -> None:
        self.root = root
        self._by_id = {root: _index(root)}

    def find(self, url: str | None, tags: str, use: str, within: Element | None = None) -> Element:
        """Find the element that a url names.

        Args:
            url: such as ``"#wheel"``.
            tags: the element's tag, or several. Elements of other tags may have the same id.
            use: what the file does with it, such as ``"places a geometry"``, for messages.
            within: where to look first. Some programs number the sources of each geometry from 0.

        Raises:
            MeshError: there is no such element in the file, or several.
        """
        if not url:
            raise MeshError(f"{use} without saying which; export it again")
        place, mark, name = url.partition("#")
        if place and mark:
            raise MeshError(f"{use} {show(url)} that is in another file; export everything into one file")
        name = name if mark else url  # some programs leave the # out
        found: list[Element] = []
        for where in (self.root if within is None else within, self.root):
            if where not in self._by_id:
                self._by_id[where] = _index(where)
            ids = self._by_id[where]
            for tag in tags.split():
                found = found or ids.get((tag, name)) or ids.get((tag, unquote(name)), [])
        if not found:
            raise MeshError(f"{use} {show(url)} that is not in the file; export it again")
        if len(found) > 1:
            raise MeshError(f"{use} {show(url)}, but {len(found)} elements have this id; export it again")
        return found[0]


def _index(element: Element) -> dict[tuple[str, str], list[Element]]:
    """Index an element and its descendants by tag and id."""
    found: dict[tuple[str, str], list[Element]] = {}
    for one in element.iter():
        if (name := one.get("id")) is not None:
            found.setdefault((one.tag, name), []).append(one)
    return found


def parse(data: bytes) -> Document:
    """Parse a COLLADA file.

    Raises:
        MeshError: it is truncated or damaged, declares entities, or is not COLLADA 1.4 or 1.5.
    """
    root = parse_tree(data, "the file")
    if root.tag != "COLLADA":
        raise MeshError(f"cannot be read as dae: it contains {show(root.tag)}, not COLLADA; export it again")
    version = root.get("version", "1.4")
    if not version.startswith(("1.4", "1.5")):
        raise MeshError(f"is COLLADA {show(version)}; export it as COLLADA 1.4 or 1.5")
    return Document(root)


def label(element: Element) -> str:
    """Name an element in a message."""
    name = element.get("id") or element.get("name")
    return show(name) if name else "without a name"


def name_of(*elements: Element) -> str:
    """Return the first name of some elements, otherwise the first id; empty if there is neither."""
    return next((found for key in ("name", "id") for one in elements if (found := one.get(key))), "")


def child(element: Element, tag: str) -> Element:
    """Return a required child.

    Raises:
        MeshError: it is missing.
    """
    if (found := element.find(tag)) is None:
        raise MeshError(
            f"is damaged: {label(element)} has no <{tag}> in its <{element.tag}>; export it again"
        )
    return found


def attribute(element: Element, name: str, default: int | None = None) -> int:
    """Read an attribute that is a whole number, 0 or more.

    Raises:
        MeshError: it is not, or is missing and has no default.
    """
    text = element.get(name, "" if default is None else str(default)).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise MeshError(f"is damaged: <{element.tag}> has {name}={show(text)}; export it again")
    return int(text)


def floats(element: Element) -> Float:
    """Read the numbers in an element: ``[T]`` float64.

    Raises:
        MeshError: a word is not a number.
    """
    words = _ascii(element.text or "").split()
    try:
        return np.fromiter(map(float, words), np.float64, len(words))
    except ValueError:
        raise _not_a_number(element, words, float, "a number") from None


def integers(element: Element, text: str | None = None) -> Int:
    """Read the whole numbers in an element, or in a text joined of several: ``[T]`` int64.

    Raises:
        MeshError: a word is not a whole number.
    """
    data = _ascii((element.text or "") if text is None else text)
    if data.isspace() or not data:
        return np.zeros(0, np.int64)
    if not data.translate(None, _DIGITS_AND_BLANKS):  # many times as fast, but stops at other text
        return np.fromstring(data, np.int64, sep=" ")
    words = data.split()
    try:
        return np.fromiter(map(int, words), np.int64, len(words))
    except (ValueError, OverflowError):
        raise _not_a_number(element, words, np.int64, "a whole number") from None


def _ascii(text: str) -> bytes:
    # Python would read 1_000 as a number, which no other program does.
    return text.replace("_", "?").encode("ascii", "replace")


def _not_a_number(
    element: Element, words: list[bytes], convert: Callable[[bytes], object], needed: str
) -> MeshError:
    for word in words:
        try:
            convert(word)
        except (ValueError, OverflowError):
            break
    return MeshError(
        f"is damaged: <{element.tag}> has {show(word.decode())} where {needed} is needed; export it again"
    )


def check_count(element: Element, num: int) -> None:
    """Refuse an element that does not have the number of items that it declares.

    Raises:
        MeshError: the numbers differ.
    """
    if element.get("count") is not None and (declared := attribute(element, "count")) != num:
        raise MeshError(
            f"is truncated or damaged: <{element.tag}> declares {declared} items and has {num}; export it "
            "again"
        )
