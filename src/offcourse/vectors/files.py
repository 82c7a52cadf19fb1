"""Reading a vector file of any of the three formats, by its first bytes, and writing one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.vectors import control, own, steered
from offcourse.vectors.facts import VectorFile

FORMATS = ("safetensors", "gguf", "lm-eval")
# Facts that a user gives where a format has no place for them.
GIVEN = ("operation", "positions", "together", "model")
_SAFETENSORS = "Write the file anew with its facts (docs/judging.md)."


def format_of(path: Path) -> str:
    """One of `FORMATS`, by the file's first bytes. Raises `OffcourseError` for a file of another kind."""
    try:
        with open(path, "rb") as file:
            first = file.read(9)
    except FileNotFoundError as error:
        raise OffcourseError(f"there is no file {path}. Give the path of a vector file.") from error
    except IsADirectoryError as error:
        raise OffcourseError(f"{path} is a folder. Give the path of a vector file.") from error
    except OSError as error:
        raise OffcourseError(f"{path} cannot be read: {error.strerror}.") from error
    if first.startswith(b"GGUF"):
        return "gguf"
    # torch saves a zip archive; older ones are a bare pickle.
    if first.startswith(b"PK\x03\x04") or path.suffix in (".pt", ".pth"):
        return "lm-eval"
    if first[8:9] == b"{" or path.suffix == ".safetensors":
        return "safetensors"
    if path.suffix == ".csv":
        raise OffcourseError(
            f"{path} is a table of features of sparse coders, and has no vectors in it. Save the vectors as a .pt file "
            "of lm-evaluation-harness, or as safetensors with their facts (docs/judging.md)."
        )
    raise OffcourseError(
        f"{path} is no vector file: expected safetensors with our metadata, a control vector in GGUF, or a steering "
        "file of lm-evaluation-harness (.pt)."
    )


def read(path: Path, given: Mapping[str, Any] | None = None) -> VectorFile:
    """The vectors of a file with all facts.

    given: facts of `GIVEN` that the file does not say. Raises `OffcourseError` for a file that is damaged, not finite,
    contradicts what is given, or lacks a fact.
    """
    path = Path(path)
    kind = format_of(path)
    module = {"safetensors": own, "gguf": control, "lm-eval": steered}[kind]
    found = module.read(path)
    found.require_finite(path)
    given = dict(given or {})
    if kind != "safetensors" and found.together is None and given.get("together") is None:
        # Neither format has a way to say anything else.
        given["together"] = True
    if found.model is not None or found.weights is not None:
        given.pop("model", None)
    found = found.given(given, path, "the command or study")
    advice = _SAFETENSORS
    if kind != "safetensors":
        advice = (
            "Give what is missing, with --operation and --positions of `offcourse judge` or as keys of vector_file in "
            f"a study; {module.ADVICE}."
        )
    found.require_whole(path, advice)
    return found


def read_exactly(path: Path, digest: str, given: Mapping[str, Any] | None = None) -> VectorFile:
    """The vectors of the file with this sha256. Raises `OffcourseError` for another file, and as `read`."""
    path = Path(path)
    format_of(path)
    if (found := sha256(path)) != digest:
        said = f"and not {digest}" if digest else "which the study does not say"
        raise OffcourseError(
            f"{path} has the sha256 {found}, {said}. If this is the file that is meant, write `sha256: {found}` in "
            "the section vector_file."
        )
    return read(path, given)


def write(path: Path, vectors: VectorFile, kind: str = "safetensors", hint: str = "", blocks: str = "layers") -> None:
    """Write a vector file. kind: one of `FORMATS`. hint: the model's type, for GGUF. blocks: see `steered.write`.

    Raises `OffcourseError` for vectors that lack a fact, are not finite, or cannot be said in this format.
    """
    path = Path(path)
    vectors.require_finite(path)
    vectors.require_whole(path, "Say it in the `VectorFile`.")
    if kind == "gguf":
        control.write(path, vectors, hint)
    elif kind == "lm-eval":
        steered.write(path, vectors, blocks)
    else:
        own.write(path, vectors)
