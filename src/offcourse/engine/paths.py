"""The path of a model: rows of edits beside a prompt where its class allows them, else whole forwards (plain)."""

from pathlib import Path

from offcourse.data.architectures import path_of
from offcourse.engine.plain import PlainEngine
from offcourse.engine.run import Engine
from offcourse.errors import OffcourseError
from offcourse.models.load import load
from offcourse.models.plain import load_plain


def engine_of(
    folder: Path,
    architecture: str,
    dtype: str,
    offload: bool = False,
    max_rows: int | str = "auto",
    attention: str = "auto",
    logits_dtype: str = "model",
) -> Engine:
    """The engine on a prepared model folder, on the path of its class in resources/classes.tsv.

    A class of no table takes the plain path when the engine refuses its structure, attention or masks; why is then in
    `PlainEngine.why`. Arguments and errors are those of `models.load.load` and `Engine`.
    """
    if path_of(architecture) == "plain":
        return PlainEngine(load_plain(folder, architecture, dtype, offload), max_rows, logits_dtype)
    try:
        return Engine(load(folder, architecture, dtype, offload), max_rows, attention, logits_dtype)
    except OffcourseError as refused:
        if path_of(architecture):
            raise
        why = str(refused)
    # A folder that cannot be loaded at all is refused once more, with the same message.
    return PlainEngine(load_plain(folder, architecture, dtype, offload), max_rows, logits_dtype, why)
