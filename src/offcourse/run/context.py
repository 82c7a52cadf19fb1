"""The context that a job gives to the code of its steps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.data.registry import Registry
from offcourse.data.rows import Task
from offcourse.errors import OffcourseError, listed
from offcourse.graph.keys import STEPS, Step, dtype_of
from offcourse.layout import Layout
from offcourse.schemas.io import read_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.study.config import Study

# The contexts of a job with several precisions, by precision, in `StepContext.known`.
PRECISIONS = "precisions"


@dataclass
class StepContext:
    """Settings, model and input files for the code of a step. The model is loaded at its first use.

    threads: CPU threads for torch; None leaves its default.
    draw: which sample of prompts a steering method builds its vectors from. shuffled: whether the two sides of half of
        its pairs are swapped, which is a control (`data.contrasts.labelled`).
    """

    step: Step
    study: Study
    registry: Registry
    layout: Layout
    model: str
    threads: int | None = None
    parameters: Mapping[str, Any] = field(init=False)
    known: dict[Any, Any] = field(init=False, default_factory=dict)
    draw: int = 0
    shuffled: bool = False

    def __post_init__(self):
        self.study = self.study.sized(self.registry.model(self.model).parameters)
        self.turn_to(self.step)

    def turn_to(self, step: Step) -> None:
        """Make this the context of another step of the same job, with the same model loaded."""
        self.step, self.parameters = step, step.parameters(self.study)

    def numerics(self) -> dict[str, Any] | None:
        """Precision, attention, batch and threads of this job's passes; None if the job has made none.

        Of a job with several precisions (`in_precisions`), `precisions` are those beside the method's own.
        """
        contexts = self.known.get(PRECISIONS, {None: self})
        held = [context.__dict__["engine"] for context in contexts.values() if "engine" in context.__dict__]
        if not held:
            return None
        import torch

        [engine] = held
        own, *others = contexts
        return {
            "dtype": own or str(engine.model.module.dtype).removeprefix("torch."),
            **({"precisions": others} if others else {}),
            "attention": "eager" if engine.explicit else "sdpa",
            "max_rows": engine.max_rows,
            "logits_dtype": "float32" if engine.wide else "model",
            "threads": torch.get_num_threads(),
            "device": str(engine.model.input_device),
        }

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Per-job cache: return the value stored under `key`, calling `make()` the first time.

        All steps of this job share the cache.
        """
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    @property
    def folder(self) -> Path:
        """The prepared model folder."""
        return self.layout.model_folder(self.model)

    def identity(self) -> tuple[str, str]:
        """(repository and commit, digest of the weights and configuration) of the model."""
        from offcourse.models.manifest import weights_digest

        return self.registry.model(self.model).identity, weights_digest(self.folder)

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
        dtype = dtype_of(self.study, self.registry, self.model, self.step)
        model = load(self.folder, row.architecture, dtype, offload=numerics.offload == "allow")
        return Engine(model, numerics.max_rows, numerics.attention, self.study.protocol.logits_dtype)

    def in_precisions(self, others: Sequence[str]) -> Iterator[tuple[str, "StepContext"]]:
        """(precision, context with the model in it) for the method's own precision, which is this context, and others.

        One model is loaded at a time: the one before is let go of when the next is asked for, so keep no engine of it.
        The precision whose model is loaded already comes first.
        """
        import gc

        import torch

        [name] = self.step.methods

        def other(dtype: str) -> "StepContext":
            section = getattr(self.study, name).model_copy(update={"dtype": dtype})
            study = self.study.model_copy(update={name: section})
            return type(self)(self.step, study, self.registry, self.layout, self.model, self.threads)

        own = dtype_of(self.study, self.registry, self.model, self.step)
        contexts = self.once(PRECISIONS, lambda: {own: self} | {dtype: other(dtype) for dtype in others})
        for dtype in sorted(contexts, key=lambda dtype: "engine" not in contexts[dtype].__dict__):
            for let_go in contexts.keys() - {dtype}:
                contexts[let_go].__dict__.pop("engine", None)
            # A loaded model refers to itself through its hooks.
            gc.collect()
            torch.cuda.empty_cache()
            yield dtype, contexts[dtype]

    def input(self, step: str, task: Task) -> Path:
        """Path of an upstream step's result for this model and task."""
        return self.layout.artefact(step, STEPS[step].suffix, self.model, task.name)

    def next_task(self, task: Task) -> Task:
        """The study's task after `task`, in the study's order."""
        return self.registry.task(self.step.next_unit(self.study, task.name))

    def other_tasks(self, task: Task) -> list[Task]:
        """The step's tasks without `task`, in the study's order."""
        return [self.registry.task(name) for name in self.step.other_units(self.study, task.name)]

    def tensors(self, step: str, task: Task) -> dict:
        """{name: torch tensor} of an upstream step's result.

        Raises `OffcourseError` for a damaged file.
        """
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
        """The prompts of one kind, in order. Raises `OffcourseError` for a kind that the step does not declare."""
        declared = self.step.inputs.get("prompts")
        if declared is None or (declared and kind not in declared):
            raise OffcourseError(
                f"{self.step.name} on {task.name} asks for the prompts {kind!r}, and its key holds "
                f"{listed(declared) if declared else 'no prompts'}. A steering method declares what `build` reads in "
                "`kinds` of its module (docs/extending.md)."
            )
        frame = read_parquet(self.input("prompts", task), PROMPTS)
        return frame[frame["kind"] == kind].reset_index(drop=True)
