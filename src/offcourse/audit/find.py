"""Finding results by entries of their records."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError, did_you_mean
from offcourse.provenance.records import read_record


def find(base: Path, conditions: Sequence[str]) -> list[dict[str, Any]]:
    """Results of every study below `base` whose records fulfil all conditions. conditions: texts "key=value".

    A key is the path of an entry of a record, with dots between levels, or the end of such a path: `task`, `splits`,
    `protocol.splits`, `packages.torch`, `weights`. A value of eight or more hexadecimal digits also matches a digest
    that begins with them, and a version of a package also one that says its build after it (2.13.0+cpu).

    Raises `OffcourseError` for a text that is no condition, and for a key that no record has.
    """
    wanted = [_condition(text) for text in conditions]
    known: set[str] = set()
    found = []
    for path in sorted((Path(base) / "results").glob("*/provenance/**/*.json")):
        record = read_record(path)
        flat = dict(_flat(record))
        known |= flat.keys()
        if all(_holds(flat, key, value) for key, value in wanted):
            found += [
                {"path": output, "sha256": digest, "study": record["study"], "record": str(path)}
                for output, digest in record["outputs"].items()
            ]
    for key, _ in wanted:
        if not any(_named(name, key) for name in known):
            ends = {name.rpartition(".")[2] for name in known} | known
            raise OffcourseError(f"no record below {base}/results has an entry {key!r}: {did_you_mean(key, ends)}")
    return found


def _condition(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise OffcourseError(f"--where {text!r}: expected key=value, for example --where task=antonym")
    return key.strip(), value.strip()


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _named(name: str, key: str) -> bool:
    return name == key or name.endswith(f".{key}")


def _holds(flat: Mapping[str, Any], key: str, value: str) -> bool:
    begins = len(value) >= 8 and set(value) <= set("0123456789abcdef")
    texts = {name: str(entry) for name, entry in flat.items() if _named(name, key)}
    if value in texts.values() or (begins and any(text.startswith(value) for text in texts.values())):
        return True
    return any(text.partition("+")[0] == value for name, text in texts.items() if "packages" in name.split("."))
