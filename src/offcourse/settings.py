"""What sections of the configuration are made of: single values that are checked, and what every method has."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator
from pydantic_core import PydanticCustomError


def wrong(expected: str) -> PydanticCustomError:
    """What is raised for a value that is not what was `expected`, in words."""

    return PydanticCustomError("expected", "{expected}", {"expected": expected})


def leaf(expected: str, accept: Callable[[Any], bool], convert: Callable[[Any], Any] = lambda value: value) -> Any:
    """A validator of a single value; nothing is coerced but by `convert` (YAML has types of its own)."""

    def check(value: Any) -> Any:
        if not accept(value):
            raise wrong(expected)
        return convert(value)

    return PlainValidator(check)


def is_int(value: Any) -> bool:
    """Whether a value is a whole number; YAML's true and false are none."""

    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""

    return is_int(value) or (isinstance(value, float) and abs(value) < float("inf"))


def choice(*values: str) -> Any:
    """A validator of one of some texts."""

    return leaf("one of " + ", ".join(values), lambda value: isinstance(value, str) and value in values)


def distinct(values: list) -> list:
    """Refuse a list with an entry twice."""

    for value in values:
        if values.count(value) > 1:
            raise wrong(f"distinct entries ({value!r} occurs twice)")
    return values


def filled(values: list) -> list:
    """Refuse an empty list, and one with an entry twice."""

    if not values:
        raise wrong("at least one entry")
    return distinct(values)


Text = Annotated[str, leaf("a name", lambda value: isinstance(value, str) and bool(value.strip()))]
Positive = Annotated[int, leaf("a whole number above 0", lambda value: is_int(value) and value > 0)]
AutoOrPositive = Annotated[
    str | int, leaf("auto or a whole number above 0", lambda value: value == "auto" or (is_int(value) and value > 0))
]
Strength = Annotated[float, leaf("a number above 0", lambda value: is_number(value) and value > 0, float)]
Filled = AfterValidator(filled)
# A grid of numbers: the order in which it is written changes no number.
Ascending = AfterValidator(lambda values: sorted(filled(values)))


class Section(BaseModel):
    """One section of the configuration: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Dtype = Annotated[str, choice("auto", "float32", "bfloat16", "float16")]
Names = Annotated[list[Text], Filled]


class OfMethod(Section):
    """What every method has: models, the ones of the study that it runs on; dtype, in place of that of `numerics`.

    None leaves it to the study.
    """

    models: Names | None = None
    dtype: Dtype | None = None


class OnTasks(OfMethod):
    """A method that runs on tasks: tasks, the ones of the study that it runs on (None: all)."""

    tasks: Names | None = None
