"""The contract of a steering method: what it edits, how a vector is built, applied and scored, what a plan counts."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from offcourse.data.contrasts import Contrasts
from offcourse.data.rows import QuestionSet, Task
from offcourse.settings import (
    Ascending,
    Draws,
    Limit,
    OnTasks,
    Operation,
    Positions,
    Several,
    Site,
    Strength,
    Text,
)

if TYPE_CHECKING:
    from torch import Tensor


# Vectors that should do nothing (`methods.reliability`).
RANDOM = "random_direction"
Control = Literal["random_direction", "wrong_task", "shuffled_labels", "sign_flipped"]


class Settings(OnTasks):
    """The method's section of the configuration, under the method's name; a method with more settings extends it.

    strengths: factors that the vectors are multiplied by; each strength is one sweep over all layers.
    draws: samples of prompts that vectors are built from; those after the first show how much a sample decides.
    controls: vectors that should do nothing, swept over the whole grid as well.
    random_directions: how many sweeps the control `random_direction` has, each with directions of its own.
    passages: neutral passages on which side effects are measured, the first of `resources/passages/neutral.tsv`.
    questions: question sets that the method is steered on too, in two folds (`methods.question_steering`).
    limit: only the first questions of each of these sets.
    """

    strengths: Ascending[Strength] = [1.0, 4.0, 16.0]
    passages: Annotated[int, Field(ge=2, le=1000)] = 200
    draws: Draws = 1
    controls: Several[Control] = []
    random_directions: Annotated[int, Field(ge=1, le=100)] = 1
    questions: Several[Text] = []
    limit: Limit = None

    @property
    def control_sweeps(self) -> int:
        """How many sweeps the controls are."""
        return len(self.controls) + (self.random_directions - 1 if RANDOM in self.controls else 0)


class SteeringMethod(ABC):
    """A steering method. As it stands: a vector per layer, added after its block to the last token of a 0-shot prompt.

    label: the method's name in tables and figures. question: the method's question in the report. source: the
        publication.
    settings: defaults of the method's section of the configuration.
    kinds: the kinds of ready-made prompts (`FUNCTION_VECTOR_PROMPTS`) that `build` reads. A method without kinds reads
        the task's word list, and the step's key holds the digest of that list.
    columns: columns of the task's row of tasks.tsv that the method reads.
    site, operation, positions: what the method edits, how, and at which tokens. Edits of heads change every head of a
        layer; a zero vector that is added changes none.
    replace: the operation `replace`, under an older name.
    together: whether all layers are edited at once, instead of one layer after another.
    sampled: whether `build` draws pairs of texts, another sample for each `context.draw`, and hands them to
        `data.contrasts.labelled`. Only such a method has `draws` and the control `shuffled_labels`.
    sided: whether the direction depends on which text of a pair is the right one. A principal component of differences
        does not: pairs with swapped sides have the same one, so that they are no control.
    shared: whether all tasks have the same vectors. unkeyed: settings that decide no number, and are in no key.
    task_settings: settings that `build` alone reads. They are in no key of a result on question sets.
    """

    label: ClassVar[str]
    question: ClassVar[str]
    source: ClassVar[str]
    settings: ClassVar[Settings] = Settings()
    kinds: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    site: ClassVar[Site] = "residual"
    operation: ClassVar[Operation] = "add"
    positions: ClassVar[Positions] = "last"
    replace: ClassVar[bool] = False
    together: ClassVar[bool] = False
    sampled: ClassVar[bool] = False
    sided: ClassVar[bool] = True
    shared: ClassVar[bool] = False
    unkeyed: ClassVar[tuple[str, ...]] = ()
    task_settings: ClassVar[tuple[str, ...]] = ()

    def configured(self, settings: Settings, base: Path = Path()) -> "SteeringMethod":
        """This method with what its settings say of its edits; most methods are the same under all settings.

        base: the working directory, from which paths in settings start.
        """
        return self

    @abstractmethod
    def build(self, context, task: Task) -> "Tensor":
        """The task's vectors, float32: row i is for block i.

        [layers, width] for the residual stream after the block, [layers, tokens, width] if each of the first tokens has
        its own (positions `first`), [layers, heads, head_dim] for heads, [1, vocabulary] for logits.

        context: the step's `run.context.StepContext`: `engine`, `tokenizer`, `prompts(task, kind)`, and `parameters`,
        the method's settings and the protocol's `splits` by name.
        """

    def from_contrasts(self, context, contrasts: Contrasts) -> "Tensor":
        """The vectors, of the shape that `build` gives them, from pairs of a right and a wrong text.

        A method that has this function runs on question sets. Of a method that has none, `NotImplementedError` is
        raised.
        """
        raise NotImplementedError(f"{self.label} is not built from contrasts")

    @property
    def on_questions(self) -> bool:
        """Whether the method runs on question sets."""
        return type(self).from_contrasts is not SteeringMethod.from_contrasts

    @abstractmethod
    def passes(self, settings: Settings, shots: int, trials: int) -> tuple[int, int]:
        """(number of prompts that `build` reads, demonstrations in each), from which `offcourse plan` computes a time.

        shots, trials: the settings of function vectors, whose ready-made prompts `build` may read.
        """

    def demonstrations(self, settings: Settings) -> int:
        """The most demonstrations of a ready-made prompt that the method reads; function vectors need as many shots."""
        return 0

    def layer_sets(self, layers: int) -> list[tuple[int, ...]]:
        """The layers that one edit changes, for each edit of a sweep: each layer alone, or all `together`.

        The sweep names an edit by the lowest of its layers, so no two sets may begin at the same layer. Logits have one
        set, the row 0 of their vectors.
        """
        if self.site in ("logits", "prompt"):
            return [(0,)]
        return [tuple(range(layers))] if self.together else [(layer,) for layer in range(layers)]

    def apply(self, vectors: "Tensor", strength: float) -> "Tensor":
        """The values with which each layer is edited, of the shape of `vectors`: the vectors times the strength.

        Of a direction that is projected out, the strength is the share of the component that is taken away.
        vectors: the result of `build` in the model's dtype.
        """
        if self.operation == "project_out":
            return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12) * strength**0.5
        return strength * vectors

    def score(self, context, prompt, rows) -> "Tensor":
        """Whether each edit makes the model answer one 0-shot prompt correctly: [edits] bool.

        prompt: a row of `PROMPTS`. rows: `engine.ResidualRows`, ordered by layer, then by strength; of a method that
        edits more than the residual stream of the last token at one layer, a list of `engine.edits.Edit`, ordered by
        layer set, then by strength. By default the first token of the answer must be the most likely token, as for
        function vectors.
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


class PromptMethod(SteeringMethod):
    """A baseline that changes a prompt's text instead of a state. It has no vector, only a sweep over strengths."""

    site: ClassVar[Site] = "prompt"

    def build(self, context, task: Task) -> "Tensor":
        """Raises `NotImplementedError`, since a text is no vector."""
        raise NotImplementedError(f"{self.label} has no vector")

    @abstractmethod
    def ask(self, context, task: Task, strength: float) -> Sequence[Sequence[int]]:
        """Token ids of the prompt of each evaluated item (the prompts of kind `query`, in order) at one strength."""

    @abstractmethod
    def front(self, context, task: Task, strength: float) -> str:
        """What stands in front of a text that is not of the task, at one strength; side effects are measured behind."""

    def introduce(self, row: QuestionSet) -> str:
        """The instruction in front of the questions of a set; a method that has this function runs on question sets."""
        raise NotImplementedError(f"{self.label} has no instruction for question sets")

    @property
    def on_questions(self) -> bool:
        """Whether the method runs on question sets."""
        return type(self).introduce is not PromptMethod.introduce
