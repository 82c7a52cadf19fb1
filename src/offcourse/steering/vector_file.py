"""Vectors from a file, whoever made them (docs/judging.md): one file for one model, used as the file says.

The file says its operation, site, positions, blocks, model and the sha256 of its numbers, or the study says what a
format has no place for. The same vectors are used for every task. No word of a task is read here to build them; whether
their author's data had such words in it, a file cannot say.
"""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from offcourse.data.contrasts import Contrasts
from offcourse.data.rows import Task
from offcourse.errors import OffcourseError
from offcourse.settings import Operation, Positions
from offcourse.steering.contract import Settings, SteeringMethod
from offcourse.vectors.facts import VectorFile
from offcourse.vectors.files import GIVEN, read_exactly

NAME = "vector_file"
Line = Annotated[str, Field(max_length=1000)]


class VectorFileSettings(Settings):
    """file: path of the vector file, from the working directory on. sha256: of the file.

    operation, positions, together, model: what the file's format has no place for. model: repository and commit.
    """

    file: Line = ""
    sha256: Line = ""
    operation: Operation | None = None
    positions: Positions | None = None
    together: bool | None = None
    model: Line | None = None


class VectorFileMethod(SteeringMethod):
    """The method is what `configured` reads from the file."""

    label = "Vector file"
    question = "How much does the vector of the study's file?"
    source = "the file's author"
    settings = VectorFileSettings()
    shared = True
    # The sha256 says which file it is, wherever it lies.
    unkeyed = ("file",)
    file: ClassVar[str] = ""
    vectors: ClassVar[VectorFile | None] = None

    def configured(self, settings: VectorFileSettings, base: Path = Path()) -> "VectorFileMethod":
        """The method of one file. Raises `OffcourseError` for a file that `vectors.files.read_exactly` refuses."""
        if not settings.file:
            raise OffcourseError(f"{NAME}.file: the path of a vector file is missing. Name one, or leave {NAME} out.")
        given = {name: getattr(settings, name) for name in GIVEN}
        found = read_exactly(base / settings.file, settings.sha256, given)
        method = VectorFileMethod()
        method.file, method.vectors = settings.file, found
        method.site, method.operation = found.site, found.operation
        method.positions, method.together = found.positions, found.together
        return method

    def passes(self, settings: VectorFileSettings, shots: int, trials: int) -> tuple[int, int]:
        """Nothing is read to build a vector; a plan takes the least that it can count."""
        return 1, 0

    def layer_sets(self, layers: int) -> list[tuple[int, ...]]:
        """The blocks of the file, each alone or all together.

        Raises `OffcourseError` for a block that the model lacks.
        """
        if self.vectors is None or self.site == "logits":
            return super().layer_sets(layers)
        own = self.vectors.layers
        if own[-1] >= layers:
            raise OffcourseError(
                f"{NAME}.file: {self.file} has a vector for block {own[-1]}, and the model has blocks 0 to "
                f"{layers - 1}. Use a vector that was made for this model."
            )
        return [tuple(own)] if self.together else [(layer,) for layer in own]

    def require_fit(self, model) -> None:
        """Raise `OffcourseError` unless the model has the blocks of the file, and its vectors the model's width.

        model: a loaded model, or a row of models.tsv, whose numbers may be None.
        """
        if model.layers:
            self.layer_sets(model.layers)
        shape = {"heads": (model.heads, model.head_dim), "logits": (model.vocabulary,), "residual": (model.width,)}
        for layer, numbers in self.vectors.numbers.items():
            tokens = ["tokens"] if self.positions == "first" and self.site == "residual" else []
            wanted = [*tokens, *shape[self.site]]
            fits = len(wanted) == numbers.ndim and all(
                size in (None, "tokens", have) for size, have in zip(wanted, numbers.shape, strict=True)
            )
            if not fits:
                raise OffcourseError(
                    f"{NAME}.file: the vector of block {layer} in {self.file} has the shape {list(numbers.shape)}, and "
                    f"the model takes [{', '.join(map(str, wanted))}]. Use a vector that was made for this model."
                )

    def build(self, context, task: Task):
        """The file's vectors, and zeros for blocks without one. They are the same for every task.

        Raises `OffcourseError` if they do not fit the model, or are of another one.
        """
        return self._stacked(context)

    def from_contrasts(self, context, contrasts: Contrasts):
        """The file's vectors, as `build` gives them: on a question set both folds have the same ones."""
        return self._stacked(context)

    def _stacked(self, context):
        import torch

        model, vectors = context.engine.model, self.vectors
        self.require_fit(model)
        self.require_model(context.model, *context.identity())
        found = {layer: torch.from_numpy(numbers) for layer, numbers in vectors.numbers.items()}
        first = next(iter(found.values()))
        if any(numbers.shape != first.shape for numbers in found.values()):
            raise OffcourseError(f"{NAME}.file: the vectors in {self.file} are of different lengths. Use one length.")
        layers = 1 if self.site == "logits" else model.layers
        return torch.stack([found.get(layer, torch.zeros_like(first)) for layer in range(layers)])

    def require_model(self, name: str, identity: str, weights: str | None) -> None:
        """Raise `OffcourseError` unless the file is for the model `name`.

        identity: `Model.identity`. weights: digest of the prepared model, None where it is not prepared yet.
        """
        its = self.vectors
        # The name of a local folder fixes no weights.
        named = identity == its.model and not (identity.startswith("local ") and its.weights)
        if named or (its.weights and weights in (None, its.weights)):
            return
        raise OffcourseError(
            f"{NAME}.file: {self.file} is for {its.model or f'the model of weights {its.weights}'}, and {name} is "
            f"{identity}. Use the vector on its own model, or make one for this model."
        )


METHOD = VectorFileMethod()
