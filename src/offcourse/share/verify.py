"""Computing shards of a store anew, and saying how many agree: a check of results that need not be trusted.

The step's own code runs on the prepared model in a scratch folder, where nothing of the checked result is. What the
step reads of other results comes from the store, since their digests are in the key.
"""

import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import known_sha256, sha256
from offcourse.graph.keys import STEPS, key_parts, units_of
from offcourse.layout import Layout
from offcourse.models.manifest import MANIFEST, OpenedModel
from offcourse.run.context import StepContext
from offcourse.run.job import compute, write_result
from offcourse.run.plain_context import context_of
from offcourse.share.distance import APART, TIMES_FLOOR, distances, names_of
from offcourse.store.fingerprint import freeze_imports
from offcourse.store.sealed_json import digest, read_sealed
from offcourse.store.shards import ShardStore
from offcourse.study.config import Study

SAME, WITHIN, BEYOND = "bit for bit", "within the rounding floor", "NOT"
# How a shard was made whose note does not say.
UNKNOWN = {"host": "unknown", "device": "unknown"}
# Seeds of the rounding noise; the drawn shards have a seed of their own.
NOISES = (0, 1, 2)
# The distance of 1 from the next number of float32.
STEP = 2.0**-23


@dataclass(frozen=True)
class Shard:
    """One shard of a store. place: its artefact; there are several of one key where labs computed it differently."""

    model: str
    step: str
    unit: str
    key: str
    place: Path


@dataclass(frozen=True)
class Verdict:
    """What came of computing a shard anew.

    agrees: bit for bit, within the rounding floor, or NOT. distance: of the shard from the new result, by column or
    tensor (`share.distance`); floor: the largest distance of runs with rounding noise from the new result.
    made: how the shard was made. why: what is wrong with a damaged shard, of which nothing was computed.
    """

    shard: Shard
    agrees: str
    made: Mapping[str, Any]
    distance: Mapping[str, float] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON; an infinite distance is the text "apart"."""
        numbers = {
            name: {column: "apart" if value == APART else value for column, value in columns.items()}
            for name, columns in (("distance", self.distance), ("floor", self.floor))
        }
        shard = {name: getattr(self.shard, name) for name in ("model", "step", "unit", "key")}
        host = {name: self.made[name] for name in ("host", "device")}
        return {**shard, "path": str(self.shard.place), "agrees": self.agrees, "why": self.why, **host, **numbers}


def verify(
    study: Study,
    registry: Registry,
    layout: Layout,
    sample: int,
    seed: int,
    configfile: Path = Path("config.yaml"),
    told: Callable[[str], None] = lambda text: None,
) -> tuple[list[Verdict], int]:
    """Compute `sample` random shards of a study anew; (verdicts, number of shards that could have been drawn).

    seed: of the draw. configfile: of the study, for messages. told: is given a line before each shard. Raises
    `OffcourseError` when a model is not prepared, or the store has no shard that this checkout's code makes for the
    study.
    """
    for model in study.models:
        if not (layout.model_folder(model) / MANIFEST).exists():
            raise OffcourseError(
                f"model {model} is not prepared in {layout.base}, and shards are computed anew on the real model. Run "
                f"`snakemake --cores all --configfile {configfile} --directory {layout.base} "
                f"results/{study.study}/{model}/manifest.json`, then verify."
            )
    with tempfile.TemporaryDirectory(prefix="offcourse-verify-") as folder:
        scratch = Layout(study.study, Path(folder))
        scratch.downloads.parent.mkdir(parents=True)
        scratch.downloads.symlink_to(layout.downloads.resolve(), target_is_directory=True)
        found = list(_shards(study, registry, ShardStore(layout.store), scratch))
        if not found:
            raise OffcourseError(
                f"{layout.store} has no shard that this checkout would make for study {study.study}: none was computed "
                "yet, or all of them by other code or versions of packages (`offcourse status` says which)."
            )
        drawn = sorted(random.Random(seed).sample(found, min(sample, len(found))), key=found.index)
        anew = _Anew(study, registry, scratch)
        verdicts = []
        for number, shard in enumerate(drawn, start=1):
            told(f"{number} of {len(drawn)}: {shard.step} {shard.model} {shard.unit}")
            verdicts.append(anew.verdict(shard))
        return verdicts, len(found)


def _shards(study: Study, registry: Registry, store: ShardStore, scratch: Layout) -> Iterator[Shard]:
    """The shards of a study that a store has, by the keys that this checkout would give them.

    The results become links in the scratch folder, where the keys of what follows are made from them.
    """
    for model, step, unit in units_of(study):
        upstream = [
            scratch.artefact(up, STEPS[up].suffix, model, its) for up, its in step.upstream(study, unit).values()
        ]
        if not all(path.exists() for path in upstream):
            continue
        key = digest(key_parts(step, study, registry, scratch, model, unit))
        # Of labs that computed the same content, one is enough.
        pairs = reversed(list(store.places(key, step.suffix)))
        contents = {known_sha256(path) if path.exists() else str(path): path for path, _ in pairs}
        places = list(reversed(contents.values()))
        yield from (Shard(model, step.name, unit, key, place) for place in places)
        if places and not store.damage(key, step.suffix):
            target = scratch.artefact(step.name, step.suffix, model, unit)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(places[0].resolve())


@contextmanager
def rounded(context: StepContext, seed: int) -> Iterator[None]:
    """Inside the block every model that the context loads reads numbers with rounding noise of its own precision.

    Of a step with several precisions these are several models, one after the other.
    """
    import torch

    from offcourse.engine.rounding import rounding_noise

    noise = torch.Generator().manual_seed(seed)
    if not context.step.more_precisions(context.study):
        with rounding_noise(context.engine.model, noise):
            yield
        return
    loaded = context.in_precisions

    def in_precisions(others: Sequence[str]) -> Iterator[tuple[str, StepContext]]:
        for dtype, there in loaded(others):
            with rounding_noise(there.engine.model, noise):
                yield dtype, there

    context.in_precisions = in_precisions
    try:
        yield
    finally:
        del context.in_precisions


class _Anew:
    """Computes results in the scratch folder. A model is loaded once for all steps of one precision."""

    def __init__(self, study: Study, registry: Registry, scratch: Layout):
        self.study, self.registry, self.scratch = study, registry, scratch
        self._loaded: dict[tuple[str, Any], Any] = {}

    def verdict(self, shard: Shard) -> Verdict:
        """Compute one shard anew and compare."""
        note, damage = _note(shard)
        made = note.get("made") or UNKNOWN
        if damage:
            return Verdict(shard, BEYOND, made, why=damage)
        path = self._compute(shard, note)
        if sha256(path) == note["sha256"]:
            return Verdict(shard, SAME, made)
        try:
            apart = distances(shard.step, shard.place, path)
        except OffcourseError as error:
            return Verdict(shard, BEYOND, made, why=str(error))
        if not apart:
            return Verdict(shard, SAME, made)
        floor = dict.fromkeys(apart, 0.0)
        for measured in self._floors(shard, note, path) if APART not in apart.values() else ():
            floor = {name: max(largest, measured.get(name, 0.0)) for name, largest in floor.items()}
            if all(distance <= TIMES_FLOOR * floor[name] for name, distance in apart.items()):
                return Verdict(shard, WITHIN, made, apart, floor)
        return Verdict(shard, BEYOND, made, apart, floor)

    def _floors(self, shard: Shard, note: Mapping[str, Any], path: Path) -> Iterator[Mapping[str, float]]:
        """How far rounding alone moves the numbers of a result, which was computed anew at `path`, in a few draws."""
        step = STEPS[shard.step]
        if step.runs_model:
            yield from (distances(shard.step, self._compute(shard, note, seed), path) for seed in NOISES)
        elif step.reads_weights:
            # Sums of float32 numbers without a forward pass: one step of the precision.
            yield dict.fromkeys(names_of(path), STEP)

    def _compute(self, shard: Shard, note: Mapping[str, Any], noise: int | None = None) -> Path:
        """The file of one result, computed now. noise: seed of rounding noise on all that the model reads."""
        step, parts = STEPS[shard.step], note["parts"]
        freeze_imports([*parts["code"], *parts.get("class", {}).get("code", ())])
        context = self._context(shard, note)
        opened = OpenedModel.of(context.folder)
        unit = step.unit(self.registry, shard.unit)
        with nullcontext() if noise is None else rounded(context, noise):
            result = compute(step, context, unit)
        opened.require_unchanged()
        path = self.scratch.base / ("anew" if noise is None else "noise") / f"{shard.key}{step.suffix}"
        path.parent.mkdir(exist_ok=True)
        write_result(step, result, path)
        return path

    def _context(self, shard: Shard, note: Mapping[str, Any]) -> StepContext:
        step = STEPS[shard.step]
        threads = ((note["made"] or {}).get("numerics") or {}).get("threads")
        known = isinstance(threads, int) and 1 <= threads <= len(os.sched_getaffinity(0))
        context = context_of(step, self.study, self.registry, self.scratch, shard.model, threads if known else None)
        if not step.runs_model:
            return context
        if step.more_precisions(self.study):
            # The step loads its models itself, one after the other.
            self._loaded.clear()
            return context
        asked = (shard.model, note["parts"]["dtype"], note["parts"].get("logits_dtype"))
        if asked not in self._loaded:
            # One model at a time: two of them may not fit into memory.
            self._loaded.clear()
            self._loaded[asked] = context.engine
        elif known:
            import torch

            torch.set_num_threads(threads)
        context.engine = self._loaded[asked]
        return context


def _note(shard: Shard) -> tuple[Mapping[str, Any], str]:
    """The note of a shard, and what is wrong with it or its artefact, in words."""
    try:
        note = read_sealed(shard.place.with_suffix(".json"))
    except OffcourseError as error:
        return {}, str(error)
    if not shard.place.exists():
        return note, f"{shard.place} is missing"
    if digest(note.get("parts")) != shard.key or not note.get("made"):
        return note, f"{shard.place.with_suffix('.json')} does not belong to its name"
    return note, "" if sha256(shard.place) == note.get("sha256") else f"{shard.place} differs from what was written"
