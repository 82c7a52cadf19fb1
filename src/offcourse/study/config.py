"""The configuration of a study: a tree of checked values. `config.yaml` explains every key to its user."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from offcourse.data.names import METHODS, RESERVED, STEERING
from offcourse.data.rows import is_large
from offcourse.errors import OffcourseError
from offcourse.provenance.sharing import Host
from offcourse.schemas.function_vectors import CONTROLS, READ_POSITIONS, REBUILT
from offcourse.settings import (
    Ascending,
    Draws,
    Dtype,
    Filled,
    HeadCount,
    Items,
    Limit,
    Names,
    OfMethod,
    OnTasks,
    Rows,
    Section,
    Several,
    Shots,
    Strength,
    Threads,
)
from offcourse.steering import steering
from offcourse.steering.contract import Settings
from offcourse.study.messages import explain, shown
from offcourse.study.protocol import Protocol
from offcourse.study.yaml_file import read_yaml

ON_TASKS = ("function_vectors", "task_vectors")


# Question sets of a study that names none.
DOLA_QUESTIONS = {"embedded": ["misconceptions", "passages"], "release": ["truthfulqa", "factor-news"]}
LENS_QUESTIONS = {"embedded": ["misconceptions-mc"], "release": ["truthfulqa-mc"]}


def _free(name: str) -> str:
    if name in RESERVED:
        raise PydanticCustomError("pattern", "reserved")
    return name


def _rising(percentages: str) -> str:
    low, high = map(int, percentages.split("-"))
    if low >= high:
        raise PydanticCustomError("pattern", "not rising")
    return percentages


def _protocol(value: Any) -> Protocol:
    if isinstance(value, Protocol):
        return value
    try:
        return Protocol.parse(value)
    except OffcourseError as error:
        raise PydanticCustomError("said", "{message}", {"message": str(error)}) from error


# The name of a folder; file systems take 255 bytes, and suffixes are added.
StudyName = Annotated[
    str,
    Field(
        max_length=100,
        pattern="^[a-z0-9][a-z0-9_-]*$",
        description="a name of lower-case letters, digits, _ and - that starts with a letter or digit, "
        f"and is not reserved ({', '.join(RESERVED)})",
        json_schema_extra={"not": {"enum": list(RESERVED)}},
    ),
    AfterValidator(_free),
]
# Sorted, since the order in which precisions are written changes no number.
Precisions = Annotated[Several[Literal["float32", "bfloat16", "float16"]], AfterValidator(sorted)]
Alpha = Annotated[float, Field(ge=0, lt=1)]
# The bound is far above the size of any answer's log-probability.
LengthBias = Annotated[float, Field(ge=0, le=1_000_000)]
_PERCENTAGE = "([0-9]|[1-9][0-9]|100)"
Bucket = Annotated[
    str,
    Field(
        pattern=f"^{_PERCENTAGE}-{_PERCENTAGE}$",
        description="two percentages of depth from 0 to 100, the smaller one first, such as 0-50",
    ),
    AfterValidator(_rising),
]
Scalar = Annotated[int | float | Annotated[str, Field(max_length=200)], Field(description="a number or a text")]


class Grid(Section):
    """A grid for large models: n_heads (the paper's |A|) x strengths (lambda)."""

    n_heads: Ascending[HeadCount]
    strengths: Ascending[Strength]


class FunctionVectors(OnTasks):
    """Paper section 4. Grid: n_heads (the paper's |A|) x strengths (lambda) x all layers.

    large: the grid for models above 27B parameters (None: the grid above).
    controls: names of control vectors, swept over the whole grid as well (`methods.fv_controls`). control_draws: number
    of draws of each random control. build_draws: number of draws of the build prompts, the study's own included.
    """

    shots: Shots = 10
    trials: Items = 25
    n_heads: Ascending[HeadCount] = [2, 16, 64]
    strengths: Ascending[Strength] = [1.0, 4.0, 16.0]
    test_items: Items = 50
    large: Grid | None = None
    controls: Several[Literal[*CONTROLS]] = []
    control_draws: Draws = 1
    build_draws: Draws = 1

    @property
    def controls_drawn(self) -> int:
        """The number of control vectors that are swept for each function vector."""
        return sum(map(self._drawn, self.controls))

    def _drawn(self, control: str) -> int:
        if control in READ_POSITIONS:
            return self.build_draws
        if control == REBUILT:
            return self.build_draws - 1
        return self.control_draws if control.startswith("random") else 1


class TaskVectors(OnTasks):
    """Paper section 4, task vectors. synonyms: when a translation counts as right."""

    shots: Shots = 5
    dummy_queries: Draws = 2
    dev_items: Items = 50
    test_items: Items = 50
    baseline_items: Items = 100
    synonyms: Literal["exact"] = "exact"


class Dola(OfMethod):
    """Paper section 3, DoLa. questions: names of question sets. limit: only the first questions of each set."""

    questions: Names | None = None
    limit: Limit = None
    alphas: Ascending[Alpha] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9]
    buckets: Literal["auto"] | Filled[Bucket] = "auto"
    length_bias: LengthBias = 20.0


class LogitLens(OfMethod):
    """Paper section 3, logit lens. questions, limit: as in `Dola`."""

    questions: Names | None = None
    limit: Limit = None


class Numerics(Section):
    """How the numbers are computed.

    max_rows: most rows (edited prompts) that go through the model at once.
    offload: whether weights that fit no GPU may stay in the machine's memory or on its disk.
    """

    dtype: Dtype = "auto"
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    max_rows: Rows = "auto"
    threads: Threads = "auto"
    offload: Literal["refuse", "allow"] = "refuse"
    seed_policy: Literal["as_published"] = "as_published"


class Provenance(Section):
    """What records say of the user's machines; no result depends on it. host: a salted digest, or the name."""

    host: Host = "digest"


class _Study(Section):
    """A whole study, made by `load_study` or `read_study`. Each steering method adds a section under its name.

    tasks: none where no method runs on tasks.
    """

    study: StudyName
    models: Names
    tasks: Names = []
    data: Literal["embedded", "release"] = "embedded"
    protocol: Annotated[Protocol, BeforeValidator(_protocol), WithJsonSchema(Protocol.json_schema())] = Protocol()
    methods: Filled[Literal[*METHODS]] = ["function_vectors"]
    function_vectors: FunctionVectors = FunctionVectors()
    task_vectors: TaskVectors = TaskVectors()
    dola: Dola = Dola()
    logit_lens: LogitLens = LogitLens()
    numerics: Numerics = Numerics()
    provenance: Provenance = Provenance()
    resources: Annotated[dict[str, Scalar], Field(max_length=100)] = Field(default_factory=dict)

    @property
    def task_methods(self) -> list[str]:
        """The study's methods that run on tasks, in a fixed order."""
        return [method for method in ON_TASKS if method in self.methods]

    @property
    def steering_methods(self) -> list[str]:
        """The study's methods that are modules of `offcourse.steering`, in the study's order."""
        return [method for method in self.methods if method in STEERING]

    def models_of(self, *methods: str) -> list[str]:
        """The models on which at least one of `methods` runs, in the study's order."""
        ran = [getattr(self, method).models or self.models for method in methods if method in self.methods]
        return [model for model in self.models if any(model in models for models in ran)]

    def methods_of(self, model: str) -> list[str]:
        """The methods that run on a model, in the study's order."""
        return [method for method in self.methods if model in self.models_of(method)]

    def tasks_of(self, *methods: str) -> list[str]:
        """The tasks of `methods` (methods that run on tasks), in the study's order."""
        ran = [getattr(self, method).tasks or self.tasks for method in methods if method in self.methods]
        return [task for task in self.tasks if any(task in tasks for tasks in ran)]

    def sized(self, parameters: int | None) -> "Study":
        """This study with the grid of function vectors for a model with `parameters` parameters.

        parameters: as in the registry; None (not known) counts as small.
        """
        large = self.function_vectors.large
        if large is None or not is_large(parameters or 0):
            return self
        grid = {"n_heads": large.n_heads, "strengths": large.strengths}
        return self.model_copy(update={"function_vectors": self.function_vectors.model_copy(update=grid)})

    def dtype_of(self, method: str) -> str:
        """The precision that the study asks for in a method; "auto" means the model's own."""
        return getattr(self, method).dtype or self.numerics.dtype

    @property
    def dola_questions(self) -> list[str]:
        """Question sets of DoLa: the named sets, or the default sets of the study's `data`."""
        return self.dola.questions or DOLA_QUESTIONS[self.data]

    @property
    def lens_questions(self) -> list[str]:
        """Question sets of the logit lens and of apathy."""
        return self.logit_lens.questions or LENS_QUESTIONS[self.data]

    def check_heads(self, model: str, layers: int, heads: int) -> None:
        """Raise `OffcourseError` if a model has fewer heads than every n_heads of the grid. heads: per layer."""
        grid = self.function_vectors.n_heads
        if min(grid) > layers * heads:
            large = self.function_vectors.large
            key = "large.n_heads" if large and grid == large.n_heads else "n_heads"
            raise OffcourseError(
                f"function_vectors.{key}: {model} has {layers * heads} heads ({layers} layers of {heads}), fewer "
                f"than every number in the grid ({', '.join(map(str, grid))}). Add a smaller number, or leave the "
                "model out."
            )


def _section(name: str) -> tuple[type[Settings], Settings]:
    """(class, defaults) of a steering method's section: the method's own settings, and `precisions`.

    precisions: precisions beside the method's own, in which its vectors are built and its best setting is tested again.
    The code of a method does not read them. They are no field of `Settings`, since they would be in each method's key.
    """
    own = steering(name).settings
    section = create_model(
        type(own).__name__, __base__=type(own), __doc__=type(own).__doc__, precisions=(Precisions, [])
    )
    return section, section.model_construct(**{key: getattr(own, key) for key in type(own).model_fields})


Study = create_model("Study", __base__=_Study, __doc__=_Study.__doc__, **{name: _section(name) for name in STEERING})


def load_study(mapping: Mapping[str, Any], where: str = "config") -> Study:
    """The study that a mapping describes. Raises one `OffcourseError` with a line, and the key's path, per problem."""
    if not isinstance(mapping, Mapping):
        raise OffcourseError(
            f"{where}: expected a mapping of keys such as study, models and tasks, got {shown(mapping)}"
        )
    try:
        study = Study.model_validate(dict(mapping))
    except ValidationError as error:
        problems = dict.fromkeys(explain(problem, mapping, Study) for problem in error.errors())
        raise OffcourseError("\n".join(f"{where}: {problem}" for problem in problems)) from error
    on_tasks = [*study.task_methods, *(name for name in study.steering_methods if not getattr(study, name).questions)]
    if not study.tasks and on_tasks:
        raise OffcourseError(f"{where}: the key tasks is missing, on which {', '.join(on_tasks)} would run")
    return study


def read_study(path: Path) -> Study:
    """The study in a YAML file. Raises `OffcourseError` for a file that `read_yaml` or `load_study` refuses."""
    return load_study(read_yaml(path), where=str(path))
