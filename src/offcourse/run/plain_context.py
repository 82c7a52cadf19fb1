"""The context of jobs on models whose class is not known to run with rows: `engine.paths` chooses their engine."""

from functools import cached_property
from typing import Any

from offcourse.data.architectures import path_of
from offcourse.data.registry import Registry
from offcourse.graph.keys import Step, dtype_of
from offcourse.layout import Layout
from offcourse.run.context import StepContext
from offcourse.study.config import Study


class PlainContext(StepContext):
    """The settings, model and input files of a step, as in `StepContext`, with an engine of the class's path."""

    @cached_property
    def engine(self):
        """The engine on the loaded model."""
        import torch

        from offcourse.engine.paths import engine_of

        if self.threads:
            torch.set_num_threads(self.threads)
        numerics, row = self.study.numerics, self.registry.model(self.model)
        return engine_of(
            self.folder,
            row.architecture,
            dtype_of(self.study, self.registry, self.model, self.step),
            numerics.offload == "allow",
            numerics.max_rows,
            numerics.attention,
            self.study.protocol.logits_dtype,
        )


def context_of(
    step: Step, study: Study, registry: Registry, layout: Layout, model: str, threads: int | None = None
) -> StepContext:
    """The context of a job on a model, by the path of the model's class."""
    kind: Any = StepContext if path_of(registry.model(model).architecture) == "rows" else PlainContext
    return kind(step, study, registry, layout, model, threads)
