"""The contract of a steering method: how a vector is built, applied and scored, and what `offcourse plan` counts."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from offcourse.data.rows import Task
from offcourse.settings import Ascending, OnTasks, Strength

if TYPE_CHECKING:
    from torch import Tensor


class Settings(OnTasks):
    """The method's section of the configuration, under the method's name; a method with more settings extends it.

    strengths: factors that the vectors are multiplied by; each strength is one sweep over all layers.
    """

    strengths: Ascending[Strength] = [1.0, 4.0, 16.0]


class SteeringMethod(ABC):
    """A steering method: one vector per layer, applied to the last token of a 0-shot prompt, at one layer at a time.

    label: the method's name in tables and figures. question: the method's question in the report. source: the
        publication.
    settings: defaults of the method's section of the configuration.
    kinds: the kinds of ready-made prompts (`FUNCTION_VECTOR_PROMPTS`) that `build` reads. A method without kinds reads
        the task's word list, and the step's key holds the digest of that list.
    replace: whether the applied vector takes the place of the residual stream instead of being added to it.
    """

    label: ClassVar[str]
    question: ClassVar[str]
    source: ClassVar[str]
    settings: ClassVar[Settings] = Settings()
    kinds: ClassVar[tuple[str, ...]] = ()
    replace: ClassVar[bool] = False

    @abstractmethod
    def build(self, context, task: Task) -> "Tensor":
        """The task's vectors, [layers, width] float32: row i is for the residual stream after block i.

        context: the step's `run.context.StepContext`: `engine`, `tokenizer`, `prompts(task, kind)`, and `parameters`,
        the method's settings and the protocol's `splits` by name.
        """

    @abstractmethod
    def passes(self, settings: Settings, shots: int, trials: int) -> tuple[int, int]:
        """(number of prompts that `build` reads, demonstrations in each), from which `offcourse plan` computes a time.

        shots, trials: the settings of function vectors, whose ready-made prompts `build` may read.
        """

    def apply(self, vectors: "Tensor", strength: float) -> "Tensor":
        """The vectors that are added to (or replace, see `replace`) the residual stream after each block.

        vectors: the result of `build` in the model's dtype, [layers, width]. Returns the same shape.
        """
        return strength * vectors

    def score(self, context, prompt, rows) -> "Tensor":
        """Whether each edit makes the model answer one 0-shot prompt correctly: [rows] bool.

        prompt: a row of `PROMPTS`. rows: `engine.ResidualRows`, ordered by layer, then by strength. By default the
        first token of the answer must be the most likely token, as for function vectors.
        """
        return context.engine.read_rows(prompt.token_ids, prompt.target_id, rows, probability=False)[1].hit

    def scores(self, context, prompts, rows) -> "Iterator[Tensor]":
        """The `score` of every prompt, in order. prompts: rows of `PROMPTS`.

        A method with a `score` of its own is asked prompt by prompt. Otherwise many prompts go through the model
        together.
        """
        if type(self).score is not SteeringMethod.score:
            return (self.score(context, prompt, rows) for prompt in prompts.itertuples())
        asked = list(prompts["token_ids"]), list(prompts["target_id"])
        return (found.hit for _, found in context.engine.read_rows_each(*asked, rows, probability=False))
