"""The manifest of an archive: what the archive holds, file by file, and what made it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from offcourse.errors import OffcourseError
from offcourse.store.sealed_json import read_sealed

FORMAT = 1
NAME = "manifest.json"
# The folders of an archive: shards, the records of the study's results, its RO-Crate.
STORE, RECORDS, CRATE = "store", "records", "ro-crate"

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Member(_Part):
    """One file of an archive. size: in bytes."""

    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Result(_Part):
    """One result of the study, and the key of its shard. unit: a task or a question set."""

    model: Text
    step: Text
    unit: Text
    key: Sha256


class Floor(_Part):
    """The rounding floor of a model in one precision, as its `model.json` states the floor (`engine.checks`)."""

    dtype: Literal["float32", "bfloat16", "float16"]
    floor: Annotated[float, Field(ge=0, le=1)]


class Origin(_Part):
    """The package that packed an archive. commit and dirty are None where the checkout had no git repository."""

    version: Text
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")] | None
    dirty: bool | None


class Manifest(_Part):
    """What an archive holds. results: of the study; floors: by model; members: every other file, by path."""

    format: Literal[1]
    offcourse: Origin
    study: Text
    results: list[Result]
    floors: dict[str, Floor]
    members: dict[str, Member]

    @field_validator("members")
    @classmethod
    def _plain_paths(cls, members: dict[str, Member]) -> dict[str, Member]:
        names = set(members)
        for name in names:
            parts = name.split("/")
            inside = parts[0] in (STORE, RECORDS, CRATE) and len(parts) > 1
            if not inside or not all(map(_PART.fullmatch, parts)) or len(name) > 200:
                raise ValueError(f"{name!r} is no path of an archive")
            if clash := names & {str(parent) for parent in PurePosixPath(name).parents}:
                raise ValueError(f"{clash.pop()!r} is both a file and a folder")
        return members


def read_manifest(path: Path, archive: str) -> Manifest:
    """The manifest of an archive, from its file.

    archive: what messages call the archive. Raises `OffcourseError` for another format, for a file that was changed
    after it was written, and for content that no manifest has.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise OffcourseError(f"{archive}: its {NAME} cannot be read as JSON ({error}). {AGAIN}") from error
    if not isinstance(said, dict) or "format" not in said:
        raise OffcourseError(f"{archive}: its {NAME} names no format; it is no archive of `offcourse share pack`.")
    if said["format"] != FORMAT:
        raise OffcourseError(
            f"{archive} has format {said['format']!r}, and this version of Offcourse reads format {FORMAT}. Nothing "
            "was imported. Use the version that packed it, or have it packed again by this version."
        )
    try:
        return Manifest.model_validate(read_sealed(path))
    except OffcourseError as error:
        raise OffcourseError(
            f"{archive}: its {NAME} does not match its own digest, so it was changed after it was written. {AGAIN}"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise OffcourseError(f"{archive}: its {NAME} is not valid at {place}: {first['msg']}. {AGAIN}") from error


def floor_of(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The precision and the rounding floor that the self-checks of a `model.json` state; None where they state none."""
    stated = [check["floor"] for check in facts["checks"].values() if "floor" in check]
    return {"dtype": facts["dtype"], "floor": max(stated)} if stated else None


AGAIN = "Nothing was imported. Ask for the archive again."
