"""What a steering method must say: how a vector is built, applied and scored, and what the plan counts for it."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from offcourse.data.rows import Task
from offcourse.settings import Ascending, OnTasks, Strength

if TYPE_CHECKING:
    from torch import Tensor


class Settings(OnTasks):
    """The section of the configuration that is called like the method; a method with more settings extends it.

    strengths: what the vectors are multiplied by, one sweep over all layers for each.
    """

    strengths: Ascending[Strength] = [1.0, 4.0, 16.0]


class SteeringMethod(ABC):
    """A steering method: one vector per layer, applied to the last token of a 0-shot prompt, at one layer at a time.

    label: its name in tables and figures. question: what the report says it asks. source: the publication.
    settings: defaults of its section of the configuration.
    kinds: the kinds of ready-made prompts (`FUNCTION_VECTOR_PROMPTS`) that `build` reads. Without any it
        reads the task's word list instead, and the step's key holds the digest of that.
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
        """How many prompts `build` reads, and how many demonstrations each has; `offcourse plan` counts with it.

        shots, trials: those of function vectors, whose ready-made prompts it may read.
        """

    def apply(self, vectors: "Tensor", strength: float) -> "Tensor":
        """What is added (or put in place, see `replace`) after each block: [layers, width].

        vectors: those of `build`, in the model's dtype.
        """
        return strength * vectors

    def score(self, context, prompt, rows) -> "Tensor":
        """Whether each edit brings the answer of one 0-shot prompt: [rows] bool.

        prompt: a row of `PROMPTS`. rows: `engine.ResidualRows`, in the order of layers, within a layer of
        strengths. By default the first token of the answer must be the most likely one, as for function vectors.
        """
        return context.engine.read_rows(prompt.token_ids, prompt.target_id, rows, probability=False)[1].hit
