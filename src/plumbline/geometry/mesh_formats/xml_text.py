"""XML of dae and 3mf files: parsed without entities, and refused in plain words."""

import re
from collections.abc import Callable
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.parts import show

_MULTI_BYTE = re.compile(
    rb"""<\?xml[^>]*?encoding=["'](gb2312|gbk|gb18030|big5|shift_jis|euc-jp|euc-kr)["']""", re.IGNORECASE
)
"""Encodings that Python knows and the XML parser does not."""
_CUT_OFF = frozenset(
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
    )
)
_PIECE = 1 << 22
"""Bytes that are parsed at once."""


def make_parser() -> expat.XMLParserType:
    """Make a parser that writes names as ``"namespace name"``.

    It refuses entities, which may unfold to any size or name other files; no exporter declares them.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.EntityDeclHandler = _refuse_entity
    return parser


def _refuse_entity(name: str, *_: object) -> NoReturn:
    raise MeshError(f"declares an XML entity {show(name)}, which is not supported; export it again")


def run_parser(
    parser: expat.XMLParserType, data: bytes, what: str, flush: Callable[[], None] | None = None
) -> None:
    """Parse an XML text.

    Args:
        parser: with its handlers.
        data: the text.
        what: its name in messages.
        flush: called after each piece of a few megabytes.

    Raises:
        MeshError: the text is truncated or damaged, or declares entities.
    """
    try:
        encoding = _MULTI_BYTE.match(data[:200])
        text = data if encoding is None else data.decode(encoding[1].decode())
        for start in range(0, len(text), _PIECE):
            parser.Parse(text[start : start + _PIECE], False)
            if flush is not None:
                flush()
        parser.Parse(b"", True)
    except MeshError:
        raise
    except KeyError as error:
        raise MeshError(
            f"is damaged: an element of {what} has no attribute {error}; export it again"
        ) from error
    except expat.ExpatError as error:
        if error.code in _CUT_OFF:
            raise MeshError(f"is truncated: {what} ends in line {error.lineno}; export it again") from error
        raise MeshError(
            f"is damaged: line {error.lineno} of {what} is not valid XML; export it again"
        ) from error
    except (LookupError, ValueError, OverflowError) as error:
        raise MeshError(
            f"is damaged: a number in {what}, or its encoding, cannot be read; export it again"
        ) from error


def parse_tree(data: bytes, what: str) -> Element:
    """Parse an XML text into elements, whose tags have no namespace.

    Args:
        data: the text.
        what: its name in messages.

    Raises:
        MeshError: the text is truncated or damaged, or declares entities.
    """
    parser, builder = make_parser(), TreeBuilder()
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, attributes: builder.start(name.rpartition(" ")[2], attributes)
    parser.EndElementHandler = lambda name: builder.end(name.rpartition(" ")[2])
    parser.CharacterDataHandler = builder.data
    run_parser(parser, data, what)
    return builder.close()
