"""One job of the workflow: one step on one model, for all tasks; only what the store lacks is computed."""

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from offcourse.data.registry import Registry
from offcourse.data.rows import QuestionSet, Task
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, Step, dtype_of, key_parts, leaf_files, prepared_from
from offcourse.layout import Layout
from offcourse.models.fetch import MANIFEST, weights_digest
from offcourse.provenance.records import Stopwatch, code_behind, hashes, write_record
from offcourse.schemas.io import read_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.store.fingerprint import script_digest, settle
from offcourse.store.sealed import digest
from offcourse.store.shards import Store, copy_whole
from offcourse.study.config import Study


@dataclass
class Job:
    """What the code of a step is given: the model (loaded when first asked for), and where its inputs are.

    threads: CPU threads for torch; None leaves its default.
    """

    step: Step
    study: Study
    registry: Registry
    layout: Layout
    model: str
    threads: int | None = None
    parameters: Mapping[str, Any] = field(init=False)
    known: dict[Any, Any] = field(init=False, default_factory=dict)

    def __post_init__(self):
        self.study = self.study.sized(self.registry.model(self.model).parameters)
        self.parameters = self.step.parameters(self.study)

    def numerics(self) -> dict[str, Any] | None:
        """Precision, attention, batch and threads of the passes that this job made; None when it made none."""
        if "engine" not in self.__dict__:
            return None
        import torch

        return {
            "dtype": str(self.engine.model.module.dtype).removeprefix("torch."),
            "attention": "eager" if self.engine.explicit else "sdpa",
            "max_rows": self.engine.max_rows,
            "threads": torch.get_num_threads(),
            "device": str(self.engine.model.input_device),
        }

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns; made when first asked for, the same for every step that this job computes."""
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    @property
    def folder(self) -> Path:
        """The prepared model folder."""
        return self.layout.model_folder(self.model)

    @cached_property
    def tokenizer(self):
        """The model's tokenizer."""
        from offcourse.models.tokenizer import Tokenizer

        return Tokenizer(self.folder)

    @cached_property
    def engine(self):
        """The engine on the loaded model."""
        import torch

        from offcourse.engine import Engine
        from offcourse.models.load import load

        if self.threads:
            torch.set_num_threads(self.threads)

        numerics = self.study.numerics
        row = self.registry.model(self.model)
        model = load(self.folder, row.architecture, dtype_of(self.study, self.registry, self.model, self.step))
        return Engine(model, numerics.max_rows, numerics.attention)

    def input(self, step: str, task: Task) -> Path:
        """The file that an upstream step made for this model and task."""
        return self.layout.artefact(step, STEPS[step].suffix, self.model, task.name)

    def next_task(self, task: Task) -> Task:
        """The study's task after this one."""
        return self.registry.task(self.step.next_unit(self.study, task.name))

    def tensors(self, step: str, task: Task) -> dict:
        """The torch tensors of that file, by name. Raises `OffcourseError` when it is damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.input(step, task)
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise OffcourseError(
                f"{path} cannot be read as safetensors ({error}). Delete it and run the workflow again."
            ) from error

    def prompts(self, task: Task, kind: str) -> pd.DataFrame:
        """The prompts of one kind, in order."""
        frame = read_parquet(self.input("prompts", task), PROMPTS)
        return frame[frame["kind"] == kind].reset_index(drop=True)


def run_step(
    name: str, study: Study, registry: Registry, layout: Layout, model: str, threads: int | None = None
) -> list[str]:
    """Make the artefacts of step `name` for `model` and every unit; returns the units that had to be computed.

    A unit (a task or a question set) is written as soon as it is done, so a job that is stopped goes on from there when
    it is run again.
    """
    return run_steps([name], study, registry, layout, model, threads)[name]


def run_steps(
    names: list[str], study: Study, registry: Registry, layout: Layout, model: str, threads: int | None = None
) -> dict[str, list[str]]:
    """`run_step` for several steps that read the same settings, in one job: the model is loaded once."""
    job = Job(STEPS[names[0]], study, registry, layout, model, threads)
    return {name: _run(STEPS[name], job) for name in names}


def _run(step: Step, job: Job) -> list[str]:
    name, study, model = step.name, job.study, job.model
    store = Store(job.layout.store)
    computed = []
    bar = tqdm(step.units(study), desc=f"{name} {model}", unit="unit", disable=not sys.stderr.isatty())
    for unit in bar:
        parts = key_parts(step, study, job.registry, job.layout, model, unit)
        watch = Stopwatch()
        shard = store.find(digest(parts), step.suffix)
        fresh = shard is None
        if fresh:
            settle(parts["code"])
            result = _compute(step, job, step.unit(job.registry, unit))
            shard = store.put(
                parts,
                step.suffix,
                lambda path, result=result: _write(step, result, path),
                lambda watch=watch: {**watch.made(), "numerics": job.numerics()},
            )
            computed.append(unit)
        target = job.layout.artefact(name, step.suffix, model, unit)
        copy_whole(shard, target)
        made = store.made(digest(parts), step.suffix)
        write_record(job.layout.record(name, model, unit), _record(step, job, unit, parts, target, made))
        if bar.disable:
            how = f"computed in {made['seconds']:.1f} s" if fresh else "from the store"
            print(f"{name} {model} {unit}: {how}", file=sys.stderr, flush=True)
    return computed


def _record(
    step: Step, job: Job, unit: str, parts: Mapping[str, Any], target: Path, made: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of one result. `made` is of the job that computed it, perhaps for another study."""
    study, layout, row = job.study, job.layout, job.registry.model(job.model)
    upstream = step.upstream(study, unit).values()
    inputs = [layout.artefact(name, STEPS[name].suffix, job.model, its) for name, its in upstream]
    inputs.append(job.folder / MANIFEST)
    if not step.inputs:
        inputs += leaf_files(step, study, job.registry, unit, layout.downloads)
    return {
        "rule": step.rule,
        "wildcards": {"model": job.model},
        "study": study.study,
        "step": step.name,
        "model": job.model,
        "task": unit,
        "inputs": hashes(inputs, layout.base),
        "outputs": hashes([target], layout.base),
        "parameters": parts["parameters"],
        "protocol": study.protocol.model_dump(),
        "code": code_behind(*step.targets),
        "script": script_digest(step.script),
        "source": {
            "kind": row.source,
            "repo": row.repo,
            "revision": row.revision,
            "asked": prepared_from(job.registry, job.model),
            "weights": weights_digest(job.folder),
        },
        "key": digest(parts),
        "parts": parts,
        "made": made,
    }


def _compute(step: Step, job: Job, unit: Task | QuestionSet):
    module, function = step.target.split(":")
    return getattr(importlib.import_module(module), function)(job, unit)


def _write(step: Step, result, path: Path) -> None:
    if step.schema is not None:
        checked = step.schema.validate(result.reset_index(drop=True))
        checked.to_parquet(path, index=False, compression="zstd")
        return
    from safetensors.numpy import save_file

    tensors, notes = result
    save_file(tensors, path, metadata={key: json.dumps(value) for key, value in notes.items()})
