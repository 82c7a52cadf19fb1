"""Reading YAML files that a user writes; duplicate keys and exploding aliases are refused."""

from pathlib import Path
from typing import Any

import yaml

from offcourse.errors import OffcourseError

# The paper's whole study has 348 values in 5 kB. An alias counts as all the values that it stands for.
MOST_VALUES = 10_000
MOST_BYTES = 1_000_000


def read_yaml(path: Path) -> Any:
    """The value in a YAML file.

    Raises `OffcourseError` for a file that is missing, not UTF-8 or not YAML; for a duplicate key, with both lines,
    since YAML readers silently take the last one; and for a file above `MOST_BYTES`, or above `MOST_VALUES` with its
    aliases written out.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if len(content) > MOST_BYTES:
            raise OffcourseError(f"{path} has {len(content)} bytes; a configuration has at most {MOST_BYTES}")
        loader = yaml.SafeLoader(content.decode("utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, "", path, {})
        return loader.construct_document(node)
    except FileNotFoundError as error:
        raise OffcourseError(f"there is no configuration file {path}") from error
    except OSError as error:
        raise OffcourseError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OffcourseError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a number of thousands of digits, or a date that there is not.
        raise OffcourseError(f"{path} is not YAML: {error}") from error
    except RecursionError as error:
        raise OffcourseError(f"{path} is nested too deeply; a configuration has sections, and lists in them") from error


def _size(node: yaml.Node, place: str, path: Path, sizes: dict[int, int]) -> int:
    """The number of values of a node with its aliases written out. sizes: {id of a node seen before: its number}."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise OffcourseError(f"{path}: line {node.start_mark.line + 1}: an alias stands inside what it stands for")
        return sizes[id(node)]
    sizes[id(node)] = 0
    if isinstance(node, yaml.MappingNode):
        children = _children(node, place, path)
    else:
        children = [(f"{place}[{at}]", child) for at, child in enumerate(node.value)]
    size = 1 + sum(_size(child, where, path, sizes) for where, child in children)
    if size > MOST_VALUES:
        raise OffcourseError(
            f"{path}: line {node.start_mark.line + 1}: {place or 'the file'} stands for {size} values once its aliases "
            f"are written out; a configuration has at most {MOST_VALUES}"
        )
    sizes[id(node)] = size
    return size


def _children(node: yaml.MappingNode, place: str, path: Path) -> list[tuple[str, yaml.Node]]:
    """(key path, value) of each entry of a mapping. Raises `OffcourseError` for a duplicate key."""
    lines: dict[tuple[str, str], int] = {}
    children = []
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        where = f"{place}.{name}" if place else name
        if first := lines.get((key.tag, name)):
            raise OffcourseError(f"{path}: the key {where} is there twice, in lines {first} and {line}; keep one")
        lines[key.tag, name] = line
        children.append((where, value))
    return children
