"""Shards that labs computed differently: the same key, another content, side by side."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.errors import OffcourseError
from offcourse.files import known_sha256
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.schemas.io import read_parquet
from offcourse.share.distance import APART, TIMES_FLOOR, column_of, distances
from offcourse.share.manifest import Manifest, Result, floor_of
from offcourse.share.merge import manifests
from offcourse.store.sealed_json import read_sealed
from offcourse.store.shards import ShardStore

WITHIN, BEYOND, OPEN = "within the rounding floor", "beyond the rounding floor", "open"


@dataclass(frozen=True)
class Content:
    """One content of a shard. lab: the folder of the merged archive, "this store" for the shard that was there first.

    made: how the content was made. distance: from the first content, by column or tensor (`share.distance`).
    """

    lab: str
    path: str
    sha256: str
    made: Mapping[str, Any]
    distance: Mapping[str, float]


@dataclass(frozen=True)
class Difference:
    """A shard with several contents; the first is what studies use.

    verdict: whether all are within the rounding floor of the first, beyond it, or open: the files alone do not tell.
    floor: the stated rounding floor of the model, relative to the norm of a state; None where none was stated.
    """

    result: Result
    contents: tuple[Content, ...]
    verdict: str
    floor: float | None

    def as_dict(self) -> dict[str, Any]:
        """The difference as plain JSON; an infinite distance is the text "apart"."""
        contents = [asdict(content) for content in self.contents]
        for content in contents:
            content["distance"] = {
                name: "apart" if value == APART else value for name, value in content["distance"].items()
            }
        return {**self.result.model_dump(), "verdict": self.verdict, "floor": self.floor, "contents": contents}


def differences(layout: Layout) -> list[Difference]:
    """Every shard of merged archives of which two labs have different contents, in the order of the archives."""
    store, archives, found = ShardStore(layout.store), manifests(layout), {}
    for manifest in archives.values():
        for result in manifest.results:
            # A checkout with other steps than the one that merged.
            if result.key not in found and result.step in STEPS:
                contents = tuple(_contents(store, result, layout))
                found[result.key] = _judged(result, contents, archives, layout) if len(contents) > 1 else None
    return [difference for difference in found.values() if difference is not None]


def _contents(store: ShardStore, result: Result, layout: Layout) -> Iterator[Content]:
    """The different contents of one shard, the one that studies use first. A damaged shard is none."""
    first, seen = None, set()
    for artefact, note in store.places(result.key, STEPS[result.step].suffix):
        with suppress(OffcourseError, FileNotFoundError):
            said = read_sealed(note)
            sha = said["sha256"]
            if sha in seen or known_sha256(artefact) != sha:
                continue
            apart = distances(result.step, artefact, first) if first else {}
            first = first or artefact
            seen.add(sha)
            folder = artefact.parents[1]
            lab = "this store" if folder == store.folder else "/".join(folder.parent.parts[-2:])
            yield Content(lab, artefact.relative_to(layout.base).as_posix(), sha, said["made"], apart)


def _judged(
    result: Result, contents: tuple[Content, ...], archives: Mapping[Path, Manifest], layout: Layout
) -> Difference:
    note = read_sealed((layout.base / contents[0].path).with_suffix(".json"))
    dtype = note["parts"].get("dtype", "float32")
    floor = _floor(result.model, dtype, archives, layout)
    first = layout.base / contents[0].path
    verdicts = {
        _verdict(result.step, first, layout.base / one.path, one.distance, floor, dtype) for one in contents[1:]
    }
    return Difference(result, contents, next(each for each in (BEYOND, OPEN, WITHIN) if each in verdicts), floor)


def _floor(model: str, dtype: str, archives: Mapping[Path, Manifest], layout: Layout) -> float | None:
    """The smallest rounding floor that a study here or an archive states for a model in one precision."""
    stated = [manifest.floors[model].model_dump() for manifest in archives.values() if model in manifest.floors]
    for path in layout.store.parent.glob(f"*/{model}/model.json"):
        with suppress(OSError, ValueError, KeyError, AttributeError):
            facts = json.loads(path.read_text(encoding="utf-8"))
            stated += [own] if (own := floor_of(facts)) else []
    return min((each["floor"] for each in stated if each["dtype"] == dtype), default=None)


def _verdict(step: str, first: Path, other: Path, apart: Mapping[str, float], floor: float | None, dtype: str) -> str:
    """What two files and a stated floor say of a difference.

    Tensors hold states, which the floor is about. Of causal effects the rows without an edit say what rounding reads.
    Probabilities and scores move by more than states do, and hits by whole words: beyond the floor only `verify`
    tells, except for hits in float32, of which rounding changes none (docs/gpu.md).
    """
    if APART in apart.values():
        return BEYOND
    schema = STEPS[step].schema
    if schema is None:
        if "notes" in apart:
            return BEYOND
        return OPEN if floor is None else WITHIN if max(apart.values()) <= TIMES_FLOOR * floor else BEYOND
    kinds = {name: str(schema.columns[column_of(name)[0]].dtype) for name in apart}
    precisions = {name: column_of(name)[1] or dtype for name in apart}
    if any("float" not in kind and precisions[name] == "float32" for name, kind in kinds.items()):
        return BEYOND
    if step == "cie" and set(apart) <= {"effect", "unedited"}:
        return _of_effects(first, other)
    # The floor is that of the step's own precision.
    stated = floor is not None and set(precisions.values()) == {dtype}
    small = stated and max(apart.values()) <= TIMES_FLOOR * floor
    return WITHIN if small and all("float" in kind for kind in kinds.values()) else OPEN


def _of_effects(first: Path, other: Path) -> str:
    one, two = (read_parquet(path, STEPS["cie"].schema) for path in (first, other))
    # The smaller one, so that no lab widens what counts as rounding.
    floor = min(_size(one["unedited"]), _size(two["unedited"]))
    if not floor:
        return OPEN
    return WITHIN if _size(one["effect"] - two["effect"]) <= TIMES_FLOOR * floor else BEYOND


def _size(values: pd.Series) -> float:
    """The root of the mean square."""
    return float((values.astype("float64") ** 2).mean() ** 0.5)
