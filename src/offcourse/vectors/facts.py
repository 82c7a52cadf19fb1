"""What a file of steering vectors says: numbers per block, and how, where and in which model they are used."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from offcourse.errors import OffcourseError, did_you_mean
from offcourse.settings import Operation, Positions, Site

# The version of the facts as JSON, and the name under which the formats keep them.
VERSION, NAME = 1, "offcourse_vectors"
WORDS = {"operation": get_args(Operation), "positions": get_args(Positions), "site": get_args(Site)[:-1]}
# Facts without which a file cannot be used, in the order of messages.
NEEDED = ("operation", "site", "positions", "together", "model")


@dataclass(frozen=True)
class VectorFile:
    """The vectors of one file.

    numbers: {block, counted from 0: float32}. Of the residual stream after the block [width], or [tokens, width] for
        the positions `first`; of heads [heads, head_dim]; of logits {0: [vocabulary]}.
    operation, site, positions: as of a `SteeringMethod`; None where the file does not say it.
    together: whether all blocks are edited at once, instead of one after another.
    model: repository and commit, "owner/name@commit"; a package or a seed for models that are on no hub. weights:
        digest of the prepared model's weights and configuration, where Offcourse wrote the file. made: how the vectors
        were made, which no number depends on.
    """

    numbers: Mapping[int, np.ndarray]
    operation: str | None = None
    site: str | None = None
    positions: str | None = None
    together: bool | None = None
    model: str | None = None
    weights: str | None = None
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layers(self) -> list[int]:
        """The blocks that have a vector, in order."""
        return sorted(self.numbers)

    @property
    def sha256(self) -> str:
        """sha256 of the numbers: of each block's number, shape and little-endian float32, in the order of blocks."""
        digest = hashlib.sha256()
        for layer in self.layers:
            numbers = self.numbers[layer]
            digest.update(json.dumps([layer, list(numbers.shape)]).encode())
            digest.update(np.ascontiguousarray(numbers, "<f4").tobytes())
        return digest.hexdigest()

    def elsewhere(self, operations: Collection[str]) -> str:
        """What to do with vectors that a format of the residual stream at all positions cannot say.

        operations: those that the format has.
        """
        alone = self.site == "residual" and self.operation in operations and self.positions != "first"
        more = ", or at other positions (--positions all), which is another method" if alone else ""
        return f"Export them as safetensors{more}."

    def facts(self) -> str:
        """The facts as one JSON text, which every format keeps."""
        said = {"version": VERSION, "layers": self.layers, "sha256": self.sha256}
        return json.dumps(said | {name: getattr(self, name) for name in (*NEEDED, "weights", "made")}, sort_keys=True)

    def said(self, text: str, path: Path) -> "VectorFile":
        """These numbers with facts from `facts`.

        Raises `OffcourseError` for facts that are not understood, or that were written of other numbers.
        """
        try:
            found = json.loads(text)
            version, layers, digest = found["version"], found["layers"], found["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise OffcourseError(
                f"{path}: its {NAME} is not what was written ({type(error).__name__}: {error}). Export the vectors "
                "again."
            ) from error
        if version != VERSION:
            raise OffcourseError(f"{path}: its {NAME} has version {version!r}, and this Offcourse reads {VERSION}.")
        if layers != self.layers or digest != self.sha256:
            raise OffcourseError(
                f"{path}: its numbers are not those that its {NAME} was written of: layers {_span(layers)} with sha256 "
                f"{digest}, found layers {_span(self.layers)} with {self.sha256}. Use an undamaged copy."
            )
        return self.given({name: found.get(name) for name in (*NEEDED, "weights", "made")}, path, "the file")

    def given(self, facts: Mapping[str, Any], path: Path, who: str) -> "VectorFile":
        """These vectors with more facts. who: who says them, for messages.

        Raises `OffcourseError` for a word that there is not, or that contradicts the file.
        """
        new = {name: value for name, value in facts.items() if value is not None}
        if not isinstance(new.get("made", {}), Mapping):
            raise OffcourseError(f"{path}: {who} says made {new['made']!r}, and expected is an object. Leave it out.")
        for name, value in new.items():
            known = WORDS.get(name, (True, False) if name == "together" else ())
            if known and value not in known:
                raise OffcourseError(
                    f"{path}: {who} says {name} {value!r}; {did_you_mean(str(value), map(str, known))}"
                )
            if (own := getattr(self, name)) not in (None, value, {}):
                raise OffcourseError(
                    f"{path}: the file says that {name} is {own}, and {who} says {value}. Leave {name} out."
                )
        return replace(self, **new)

    def require_whole(self, path: Path, advice: str = "") -> None:
        """Raise `OffcourseError` that names every fact that is missing. advice: what to do about it."""
        absent = {name for name in NEEDED if getattr(self, name) is None}
        if self.weights:
            absent.discard("model")
        if missing := [name for name in NEEDED if name in absent]:
            raise OffcourseError(
                f"{path} does not say its {' and '.join(missing)}, so it cannot be used. {advice}".strip()
            )

    def require_finite(self, path: Path) -> None:
        """Raise `OffcourseError` for a file without numbers, or with a number that is not finite."""
        if not self.numbers:
            raise OffcourseError(f"{path} has no vector. Use a file with one vector per block at least.")
        for layer in self.layers:
            if not np.isfinite(self.numbers[layer]).all():
                raise OffcourseError(
                    f"{path}: the vector of block {layer} has a number that is not finite (NaN or infinite). Nothing "
                    "can be computed with it; build the vector again."
                )


def _span(layers: Iterable[int]) -> str:
    return ", ".join(map(str, layers)) if isinstance(layers, list) else repr(layers)


def float32(numbers: Any, path: Path, what: str) -> np.ndarray:
    """Numbers as float32. Raises `OffcourseError` for numbers that float32 does not hold exactly, or no numbers."""
    found = np.asarray(numbers)
    if found.dtype.kind != "f":
        raise OffcourseError(f"{path}: {what} holds {found.dtype}, and a vector is of floating-point numbers.")
    exact = found.astype(np.float32)
    if not np.array_equal(exact.astype(found.dtype), found, equal_nan=True):
        raise OffcourseError(
            f"{path}: {what} is {found.dtype}, and float32 does not hold all of its numbers. Save it as float32."
        )
    return exact
