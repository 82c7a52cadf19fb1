"""Records: how each result was made.

There is one JSON file per result of a step, and one per job that makes tables or figures. A record holds the digests of
the files that the job read and wrote, and ends with a digest of itself, so that any changed byte is found.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.provenance.environment import CHECKOUT, energy, environment, peak_memory
from offcourse.store.fingerprint import modules_behind, versions_behind
from offcourse.store.sealed_json import digest, read_sealed, write_sealed

SCHEMA = 3
# Before the path of a file of the checkout, when a study runs elsewhere.
OWN = "checkout:"
# What every record has, and the type of each; `_OF_STEPS`: what the record of a step has besides.
FIELDS = {
    "schema": int,
    "rule": str,
    "wildcards": dict,
    "study": str,
    "inputs": dict,
    "outputs": dict,
    "parameters": dict,
    "code": dict,
    "made": dict,
}
_OF_STEPS = {"step": str, "model": str, "task": str, "key": str, "parts": dict, "source": dict}
_TEXTS = ("wildcards", "inputs", "outputs")


class OlderRecordError(OffcourseError):
    """The record has a schema that this version does not read."""


class Stopwatch:
    """Start, end, peak memory and energy of a piece of work. host: the machine as records write it (`sharing`)."""

    def __init__(self, host: str):
        self.started, self._energy, self._host = datetime.now(UTC), energy(), host

    def made(self) -> dict[str, Any]:
        """The environment and what the work cost, up to now."""
        ended, joules = datetime.now(UTC), energy()
        used = joules - self._energy if joules is not None and self._energy is not None else None
        return {
            **environment(),
            "host": self._host,
            "started": self.started.isoformat(timespec="milliseconds"),
            "ended": ended.isoformat(timespec="milliseconds"),
            "seconds": round((ended - self.started).total_seconds(), 3),
            "peak_memory_bytes": peak_memory(),
            # The counter restarts now and then; a negative difference is meaningless.
            "energy_joules": round(used, 3) if used is not None and used >= 0 else None,
        }


def code_behind(*targets: str) -> dict[str, Any]:
    """The code of `targets` ("module:function"): each module's digest, and the numerical packages' versions."""
    return {"targets": list(targets), "modules": modules_behind(*targets), "packages": versions_behind(*targets)}


def fingerprint_of(code: Mapping[str, Any]) -> str:
    """One digest for a record's `code`."""
    return digest({key: code[key] for key in ("modules", "packages")})[:16]


def hashes(paths: Iterable[Path], base: Path) -> dict[str, str]:
    """{path relative to `base`, the working directory: sha256}. A file elsewhere: see `relative`."""
    return {relative(path, base): sha256(path) for path in paths}


def relative(path: Path, base: Path) -> str:
    """`path` as records write it: relative to `base`, or to the checkout, which a reader has elsewhere."""
    path, base = Path(path).absolute(), Path(base).absolute()
    if path.is_relative_to(base):
        return path.relative_to(base).as_posix()
    return OWN + path.relative_to(CHECKOUT).as_posix() if path.is_relative_to(CHECKOUT) else str(path)


def located(name: str, base: Path) -> Path:
    """Where the file is that a record names, see `relative`."""
    return CHECKOUT / name.removeprefix(OWN) if name.startswith(OWN) else base / name


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` with its schema, whole or not at all."""
    write_sealed(path, {"schema": SCHEMA, **record})


def read_record(path: Path) -> dict[str, Any]:
    """Read a record and check that the file is unchanged since it was written.

    Raises `OffcourseError` when the file cannot be read or was changed, `OlderRecordError` for another schema.
    """
    try:
        record = read_sealed(path)
    except OffcourseError:
        # The oldest records have no digest.
        _refuse_other_schemas(path)
        raise
    if record.get("schema") != SCHEMA:
        _refuse_other_schemas(path)
    # The release's records have a step and no key: their results are not in the store.
    fields = FIELDS | (_OF_STEPS if "key" in record else {})
    if missing := set(fields) - record.keys():
        raise OffcourseError(f"{path} is no record: it lacks {', '.join(sorted(missing))}.")
    wrong = {name for name, kind in fields.items() if not isinstance(record[name], kind)}
    wrong |= {name for name in _TEXTS if not wrong and not all(isinstance(text, str) for text in record[name].values())}
    if "key" in record and not wrong:
        wrong |= {name for name in ("inputs", "code") if not isinstance(record["parts"].get(name), dict)}
        wrong |= {name for name in ("asked", "weights") if name not in record["source"]}
    if not wrong and not all(isinstance(record["code"].get(name), dict) for name in ("modules", "packages")):
        wrong.add("code")
    if wrong:
        raise OffcourseError(f"{path} is no record: {', '.join(sorted(wrong))} cannot be what was written.")
    return record


def origin_of(record: Mapping[str, Any]) -> str:
    """What the outputs of a record are a function of: the key of a result; else its code, parameters and inputs."""
    made_of = ("rule", "wildcards", "study", "parameters", "code", "script", "inputs")
    return record["key"] if "key" in record else digest({name: record.get(name) for name in made_of})


def origins(records: Mapping[Path, Path], base: Path) -> dict[str, str]:
    """`origin_of` each file that a job read, by path as in `inputs`. records: the record of each file.

    With the content's sha256 it shows which of two records is not true: the same origin has the same content.
    """
    found = {}
    for path, record in records.items():
        with suppress(OffcourseError):
            found[relative(path, base)] = origin_of(read_record(record))
    return found


def _refuse_other_schemas(path: Path) -> None:
    """Raise `OlderRecordError` for a record of another schema."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    older = isinstance(found, dict) and "digest" not in found and "schema" not in found and "parts" in found
    if older or (
        isinstance(found, dict) and found.get("schema", SCHEMA) != SCHEMA and isinstance(found["schema"], int)
    ):
        raise OlderRecordError(
            f"{path} is a record of schema {found.get('schema', 1)}, this version writes schema {SCHEMA}. Run the "
            "workflow again: what the store still has is not computed anew."
        )
