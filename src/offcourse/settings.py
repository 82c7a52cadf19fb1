"""Types of the configuration's values, and the base classes of its sections.

Each type carries its bounds, so that the JSON schema (`study.schema`) and the messages about a mistake say the same.
A bound is far above what a study needs and below what a machine can plan. A typing error such as `trials: 1000000000`
therefore ends in one message instead of a graph that fills the memory.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

T = TypeVar("T")


def distinct(values: list) -> list:
    """Refuse a list with an entry twice."""
    for value in values:
        if values.count(value) > 1:
            raise PydanticCustomError(
                "expected", "{expected}", {"expected": f"distinct entries ({value!r} occurs twice)"}
            )
    return values


_UNIQUE = {"uniqueItems": True}
# A list of settings; each entry is at least one more pass over a whole sweep. The paper's longest list has 8.
Filled = Annotated[list[T], Field(min_length=1, max_length=100, json_schema_extra=_UNIQUE), AfterValidator(distinct)]
# A grid of numbers, which is sorted: the order in which a grid is written changes no number.
Ascending = Annotated[Filled[T], AfterValidator(sorted)]
# A list like `Filled` that may be empty.
Several = Annotated[list[T], Field(max_length=100, json_schema_extra=_UNIQUE), AfterValidator(distinct)]

# The name of a row of a table in resources/. File systems take file names of at most 255 bytes.
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
# Names of models, tasks or question sets. The registry has fewer than a hundred rows of each kind.
Names = Annotated[list[Text], Field(min_length=1, max_length=1000, json_schema_extra=_UNIQUE), AfterValidator(distinct)]
# Demonstrations of a prompt: the longest context of a registered model holds fewer.
Shots = Annotated[int, Field(ge=1, le=1000)]
# Prompts or words per task; the longest word list has some thousands.
Items = Annotated[int, Field(ge=1, le=100_000)]
AtLeastTwo = Annotated[int, Field(ge=2, le=100_000)]
# Repetitions of a whole sweep.
Draws = Annotated[int, Field(ge=1, le=1000)]
# Attention heads of a vector; the largest model of the paper has 5,120.
HeadCount = Annotated[int, Field(ge=1, le=100_000)]
# The factor that a vector is multiplied by (lambda); 65,504 is the largest number of float16.
Strength = Annotated[float, Field(gt=0, le=65_504)]
# Rows (edited prompts) of one pass through a model; a pass of a million rows does not fit into any GPU.
Rows = Literal["auto"] | Annotated[int, Field(ge=1, le=1_000_000)]
# CPU threads of a job; the largest nodes have some hundreds of cores.
Threads = Literal["auto"] | Annotated[int, Field(ge=1, le=4096)]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
# What a steering method or a vector file edits: the residual stream after blocks, outputs of attention heads (before
# W_O), logits, the prompt's text.
Site = Literal["residual", "heads", "logits", "prompt"]
# `offcourse.engine.edits` says what each operation computes, and which tokens each word names.
Operation = Literal["add", "replace", "project_out", "scale", "add_keeping_norm"]
Positions = Literal["last", "prompt", "answer", "all", "first"]
# Questions of a set; the largest, TruthfulQA, has 817.
Limit = Annotated[int, Field(ge=1, le=1_000_000)] | None


class Section(BaseModel):
    """One section of the configuration: unknown keys are refused. Values are not coerced, since YAML has types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class OfMethod(Section):
    """The section of any method.

    models: the study's models that the method runs on (None: all).
    dtype: the method's precision (None: `numerics.dtype`).
    """

    models: Names | None = None
    dtype: Dtype | None = None


class OnTasks(OfMethod):
    """The section of a method that runs on tasks. tasks: the study's tasks that the method runs on (None: all)."""

    tasks: Names | None = None
