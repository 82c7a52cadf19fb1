"""Files that the workflow writes: their schemas, and reading and writing them whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from offcourse.errors import OffcourseError


def _columns(**columns: pa.Column) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


FUNCTION_VECTOR_PROMPTS = ("head_mean", "cie", "icl", "query")
TASK_VECTOR_PROMPTS = ("tv_baseline", "tv_icl", "tv_test_dummy", "tv_test_query", "tv_dev_dummy", "tv_dev_query")
PROMPT_KINDS = (*FUNCTION_VECTOR_PROMPTS, *TASK_VECTOR_PROMPTS)

PROMPTS = _columns(
    kind=pa.Column(str, pa.Check.isin(PROMPT_KINDS)),
    index=pa.Column(int, pa.Check.ge(0)),
    shots=pa.Column(int, pa.Check.ge(0)),
    text=pa.Column(str),
    token_ids=pa.Column(object),
    read_position=pa.Column(int, pa.Check.ge(0)),
    target_id=pa.Column(int, pa.Check.ge(0)),
    target=pa.Column(str),
)
ICL = _columns(
    shots=pa.Column(int, pa.Check.ge(0)),
    item=pa.Column(int, pa.Check.ge(0)),
    hit=pa.Column(bool),
)
CIE = _columns(
    trial=pa.Column(int, pa.Check.ge(0)),
    layer=pa.Column(int, pa.Check.ge(0)),
    head=pa.Column(int, pa.Check.ge(0)),
    effect=pa.Column("float32", pa.Check.in_range(-1.0, 1.0)),
)
FV_SWEEP = _columns(
    n_heads=pa.Column(int, pa.Check.gt(0)),
    strength=pa.Column(float),
    layer=pa.Column(int, pa.Check.ge(0)),
    item=pa.Column(int, pa.Check.ge(0)),
    hit=pa.Column(bool),
)
# Of any steering method of `offcourse.steering`.
STEERING_SWEEP = _columns(
    strength=pa.Column(float),
    layer=pa.Column(int, pa.Check.ge(0)),
    item=pa.Column(int, pa.Check.ge(0)),
    hit=pa.Column(bool),
)
# Vectors that should do nothing, and the function vector read at the other position, see `methods.fv_controls`.
NULL_CONTROLS = ("random_direction", "random_heads", "shuffled_labels", "other_task")
READ_POSITION = "read_position"
CONTROLS = (*NULL_CONTROLS, READ_POSITION)
FV_CONTROLS = _columns(
    control=pa.Column(str, pa.Check.isin(CONTROLS)),
    draw=pa.Column(int, pa.Check.ge(0)),
    **FV_SWEEP.columns,
)
TV_SWEEP = _columns(
    split=pa.Column(str, pa.Check.isin(["dev", "test"])),
    layer=pa.Column(int, pa.Check.ge(0)),
    item=pa.Column(int, pa.Check.ge(0)),
    hit=pa.Column(bool),
)
DOLA = _columns(
    question=pa.Column(int, pa.Check.ge(0)),
    answer=pa.Column(int, pa.Check.ge(0)),
    kind=pa.Column(str, pa.Check.isin(["best", "true", "false"])),
    tokens=pa.Column(int, pa.Check.gt(0)),
    bucket=pa.Column(str),
    alpha=pa.Column(float, pa.Check.in_range(0.0, 1.0)),
    variant=pa.Column(str, pa.Check.isin(["softmax", "no_softmax", "length_bias", "base"])),
    score=pa.Column(float),
    masked_tokens=pa.Column(int, pa.Check.ge(0)),
)
LOGIT_LENS = _columns(
    question=pa.Column(int, pa.Check.ge(0)),
    layer=pa.Column(int, pa.Check.ge(0)),
    top=pa.Column("float32", pa.Check.in_range(0.0, 1.0001)),
    correct=pa.Column("float32", pa.Check.in_range(0.0, 1.0001)),
    incorrect=pa.Column("float32", pa.Check.in_range(0.0, 1.0001)),
    predicted=pa.Column("float32", pa.Check.in_range(0.0, 1.0001)),
)
APATHY = _columns(
    question=pa.Column(int, pa.Check.ge(0)),
    layer=pa.Column(int, pa.Check.ge(0)),
    mha=pa.Column("float32"),
    mlp=pa.Column("float32"),
)
# Released results (results/published/): counts where the items are not known, and what was not released is null.
PUBLISHED_DOLA = DOLA.update_columns(
    {name: {"dtype": "Int64", "nullable": True} for name in ("tokens", "masked_tokens")}
)
# Means over questions, read back from drawings; see `published.lens_pages`.
LENS_MEANS = _columns(
    layer=pa.Column(int, pa.Check.ge(0)),
    line=pa.Column(str, pa.Check.isin(["top", "correct", "incorrect"])),
    mean=pa.Column(float, pa.Check.in_range(-1e-5, 1.00001)),
    ci_low=pa.Column(float),
    ci_high=pa.Column(float),
    n=pa.Column(int, pa.Check.gt(0)),
)
APATHY_MEANS = _columns(
    layer=pa.Column(int, pa.Check.ge(0)),
    line=pa.Column(str, pa.Check.isin(["mha", "mlp", "top"])),
    scaled=pa.Column(float, pa.Check.in_range(-0.1, 1.1)),
    n=pa.Column(int, pa.Check.gt(0)),
    calibration=pa.Column(str, pa.Check.isin(["ticks", "range"])),
)
# Of the mean over trials only its place between the smallest (0) and the largest (1) of the task was drawn, as a shade;
# `effect` is null where no scale was. See `published.cie_pages`.
CIE_SHADES = _columns(
    layer=pa.Column(int, pa.Check.ge(0)),
    head=pa.Column(int, pa.Check.ge(0)),
    shade=pa.Column(float, pa.Check.in_range(0.0, 1.0)),
    effect=pa.Column(float, pa.Check.in_range(-1.0, 1.0), nullable=True),
    trials=pa.Column(int, pa.Check.gt(0)),
)
PREMATURE_LAYERS = _columns(
    bucket=pa.Column(str),
    alpha=pa.Column(float, pa.Check.in_range(0.0, 1.0)),
    variant=pa.Column(str, pa.Check.isin(["softmax", "no_softmax"])),
    layer=pa.Column(int, pa.Check.ge(0)),
    tokens=pa.Column(int, pa.Check.ge(0)),
)
_COUNTS = {"hits": pa.Column("Int64", pa.Check.ge(0), nullable=True), "items": pa.Column(int, pa.Check.gt(0))}
PUBLISHED_FV_SWEEP = _columns(
    n_heads=pa.Column(int, pa.Check.gt(0)),
    strength=pa.Column(float),
    layer=pa.Column(int, pa.Check.ge(0)),
    **_COUNTS,
    calibration=pa.Column(str, pa.Check.isin(["page", "means", "open"])),
)
PUBLISHED_TV_SWEEP = _columns(
    split=pa.Column(str, pa.Check.isin(["dev", "test"])),
    layer=pa.Column(int, pa.Check.ge(0)),
    **_COUNTS,
)
PUBLISHED_ICL = _columns(shots=pa.Column(int, pa.Check.ge(0)), **_COUNTS)
CELLS = _columns(
    row=pa.Column(str),
    column=pa.Column(str),
    value=pa.Column(float, nullable=True),
    n=pa.Column(int, pa.Check.ge(0)),
    ci_low=pa.Column(float, nullable=True),
    ci_high=pa.Column(float, nullable=True),
    unit=pa.Column(str),
    sources=pa.Column(str),
)
# Of Tables 11 and 12, whose cells may be texts: `text` is the cell as it is printed, `value` its number if it is one.
FACT_CELLS = _columns(**CELLS.columns, text=pa.Column(str))

# How sure the best of each grid is, see `present.table_certainty`.
CERTAINTY = _columns(
    method=pa.Column(str),
    model=pa.Column(str),
    on=pa.Column(str),
    items=pa.Column(int, pa.Check.gt(0)),
    settings=pa.Column(int, pa.Check.gt(0)),
    **{
        name: pa.Column(float, nullable=True)
        for name in (
            *("without", "few_shot", "best", "best_low", "best_high", "held_out", "held_out_low", "held_out_high"),
            *("by_luck", "by_luck_high", "p", "p_holm", *NULL_CONTROLS),
        )
    },
)


def cells(rows: list[tuple]) -> pd.DataFrame:
    """Rows as a table of schema `CELLS`, also when there are none."""
    types = {name: column.dtype.type for name, column in CELLS.columns.items()}
    return pd.DataFrame(rows, columns=list(CELLS.columns)).astype(types)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# What the system answers when a disk is full, over its quota or read-only, or a folder is not the user's.
_REFUSALS = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM")}


def refusal(error: Exception) -> str | None:
    """Why the disk took no file (full, read-only, not permitted), or None if `error` is about something else.

    safetensors, tokenizers and the hub's client write in Rust; their own errors tell it in their text.
    """
    if isinstance(error, OffcourseError):
        return None
    number = getattr(error, "errno", None)
    if number is None and (said := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(said[1])
    return os.strerror(number) if number in _REFUSALS else None


@contextlib.contextmanager
def writing(where: str) -> Iterator[None]:
    """Turn what the disk refuses inside the block into one `OffcourseError`; `where` follows "cannot write"."""
    try:
        yield
    except Exception as error:
        reason = refusal(error)
        if reason is None and isinstance(error, OSError):
            reason = error.strerror or str(error)
        if reason is None:
            raise
        raise OffcourseError(
            f"cannot write {where}: {reason}. Nothing was changed; make room or permit writing, then run the same "
            "command again."
        ) from error


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: readers see the old file or the new one.

    Raises `OffcourseError` when the disk refuses (full, read-only); nothing is left behind then.
    """
    path = Path(path)
    with writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            # mkstemp makes the file private; results are as readable as anything else the user writes.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_parquet(path: Path, frame: pd.DataFrame, schema: pa.DataFrameSchema) -> None:
    """Check `frame` against `schema` and write it, whole or not at all."""
    checked = schema.validate(frame.reset_index(drop=True))
    write_whole(path, lambda temporary: checked.to_parquet(temporary, index=False, compression="zstd"))


def read_parquet(path: Path, *schemas: pa.DataFrameSchema) -> pd.DataFrame:
    """Read a parquet file of ours and check it: against the first of `schemas` that has its columns and types, else
    against the first.
    """
    try:
        frame = pd.read_parquet(path)
        schema = next((each for each in schemas if _has_columns(each, frame)), schemas[0])
        return schema.validate(frame)
    except (pa.errors.SchemaError, OSError, ValueError) as error:
        raise OffcourseError(
            f"{path} is not the table that was expected ({str(error).splitlines()[0]}). "
            "Delete it and run the workflow again."
        ) from error


def _has_columns(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> bool:
    """Whether a table has the columns of a schema, with nullable numbers exactly where the schema has them."""
    return list(schema.columns) == list(frame.columns) and all(
        (str(column.dtype) == "Int64") == (str(frame[name].dtype) == "Int64") for name, column in schema.columns.items()
    )
