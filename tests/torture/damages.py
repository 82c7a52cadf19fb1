"""Kinds of damage, done to the text of a file or to a value of a JSON or YAML document."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Damage = Callable[[bytes], bytes]


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _in_the_middle(more: bytes) -> Damage:
    return lambda content: content[: len(content) // 2] + more + content[len(content) // 2 :]


def _flipped(content: bytes) -> bytes:
    """One bit of a byte, at a place that the content decides."""
    at = random.Random(content).randrange(len(content))
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def _line_twice(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join([*lines, lines[-1]])


def _shuffled(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    return b"".join(lines)


# Of any file.
ANY: dict[str, Damage] = {
    "empty": lambda content: b"",
    "half of the file": _half,
    "last byte gone": lambda content: content[:-1],
    "one bit": _flipped,
    "zeros": lambda content: bytes(len(content)),
    "byte that is no UTF-8": _in_the_middle(b"\xff\xfe"),
    "NUL": _in_the_middle(b"\x00"),
    "saved as UTF-16": lambda content: content.decode("utf-8", "replace").encode("utf-16"),
    "twice": lambda content: content + content,
}
# Of a file of lines.
LINES: dict[str, Damage] = {
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "line ends of Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "line ends of old Macs": lambda content: content.replace(b"\n", b"\r"),
    "last line twice": _line_twice,
    "lines shuffled": _shuffled,
    "a line of 10 MB": lambda content: content + b"x" * 10_000_000 + b"\n",
    "spaces for tabs": lambda content: content.replace(b"\t", b"    "),
    "blank line in the middle": _in_the_middle(b"\n\n"),
    "web page": lambda content: b"<!doctype html><title>404 Not Found</title>\n",
    "conflict of git": lambda content: b"<<<<<<< HEAD\n" + content + b"=======\n" + content + b">>>>>>> other\n",
}

# What may stand in the place of a value. A nest is deeper than readers go.
DEEP: Any = "nest"
VALUES: dict[str, Any] = {
    "null": None,
    "text": "none of these",
    "empty text": "",
    "empty list": [],
    "empty mapping": {},
    "list of itself": [[["a"]]],
    "mapping": {"a": {"b": 1}},
    "negative": -1,
    "zero": 0,
    "huge": 10**400,
    "fraction": 0.5,
    "infinite": float("inf"),
    "no number": float("nan"),
    "true": True,
    "nest": DEEP,
    "markup": "<script>|`=1+1`\n\x1b[31m",
    "path": "../../../etc/passwd",
}


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The key paths of a document, sections before what is in them; of a list the first entry."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from places(entry, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def replaced(document: Any, path: tuple, value: Any) -> Any:
    """The document with another value at a key path."""
    document = copy.deepcopy(document)
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    return document


def without(document: Any, path: tuple) -> Any:
    """The document without what is at a key path."""
    document = copy.deepcopy(document)
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    del holder[path[-1]]
    return document


def sampled(document: Any, count: int, seed: int) -> Iterator[tuple[str, Any]]:
    """`count` damages of a document, each one value at one key path replaced or gone, as (what, document).

    Every key path is hit before one is hit again; the kinds of value take turns.
    """
    rng = random.Random(seed)
    paths, kinds = list(places(document)), [*VALUES, "gone"]
    rng.shuffle(paths)
    rng.shuffle(kinds)
    # What is at the top holds the rest.
    paths.sort(key=len)
    for number in range(count):
        path, kind = paths[number % len(paths)], kinds[number % len(kinds)]
        named = ".".join(map(str, path))
        yield f"{named}: {kind}", without(document, path) if kind == "gone" else replaced(document, path, VALUES[kind])


def as_json(document: Any) -> bytes:
    """The document as JSON; the nest is written by hand, since no writer goes so deep."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000).encode()
