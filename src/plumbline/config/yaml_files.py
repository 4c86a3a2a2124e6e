"""Reading ``--config FILE``: flat YAML, with each scalar kept as its source text."""

from pathlib import Path
from typing import Any

from plumbline.config.options import Given
from plumbline.errors import InputError

_DEEPEST = 3
"""Maximum nesting depth: the mapping, a list in it, an item of that list."""


def read_yaml(path: Path) -> dict[str, Given]:
    """Read the raw value of each flag in a file.

    Raises:
        InputError: the file cannot be read, is not flat, or names a flag twice.
    """
    import yaml

    try:
        node = _compose(path.read_text(encoding="utf-8-sig"), path)
    except FileNotFoundError as error:
        raise InputError(f"--config {path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"--config {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--config {path} is not in UTF-8; save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise InputError(f"--config {path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if node is None or _is_null(node):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"--config {path}: must consist of lines 'flag: value'")
    given: dict[str, Given] = {}
    for key, value in node.value:
        many = isinstance(value, yaml.SequenceNode)
        items = value.value if many else [value]
        # An alias can stand for any depth, and printing a few lines of nested ones exhausts memory.
        if not all(isinstance(item, yaml.ScalarNode) for item in (key, *items)):
            raise _nested(path, key)
        name = key.value.replace("-", "_")
        if name in given:
            raise InputError(f"--config {path}: {name} occurs twice; remove one of the lines")
        if many and any(map(_is_null, items)):
            raise InputError(f"--config {path}: an item of {name} has no value; remove it")
        given[name] = [item.value for item in items] if many else None if _is_null(value) else value.value
    return given


def _is_null(node: Any) -> bool:
    return node.tag.endswith(":null")


def _nested(path: Path, found: Any) -> InputError:
    line = found.start_mark.line + 1
    return InputError(f"--config {path}, line {line}: write 'flag: value', or 'flag: [value, value]'")


def _compose(text: str, path: Path) -> Any:
    """Parse YAML into a node tree; refuse deep nesting at once, since parsing time grows with depth."""
    import yaml

    class Shallow(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > _DEEPEST:
                raise _nested(path, self.peek_event())
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return yaml.compose(text, Shallow)
