"""Neutral passages: short texts about no task, on which side effects of steering are measured."""

from pathlib import Path

from offcourse.data.names import RESOURCES
from offcourse.data.tsv import read_tsv
from offcourse.errors import OffcourseError

# Relative to `resources`. We wrote the passages for this project.
PASSAGES = "passages/neutral.tsv"


def neutral(count: int | None = None, resources: Path = RESOURCES) -> list[tuple[str, str]]:
    """The first `count` passages (all of them if None), each as (beginning, continuation).

    The continuation follows the beginning behind one space. Raises `OffcourseError` for a file without these columns,
    with an empty cell, with a passage twice, or with fewer passages.
    """
    path = resources / PASSAGES
    frame = read_tsv(path)
    columns = ["beginning", "continuation"]
    if list(frame.columns) != columns or (frame == "").any(axis=None):
        raise OffcourseError(f"{path}: expected the columns {' and '.join(columns)}, and no empty cell.")
    if (twice := frame.duplicated()).any():
        raise OffcourseError(f"{path}, line {2 + int(twice.argmax())}: this passage stands there twice. Keep one.")
    if count is not None and count > len(frame):
        raise OffcourseError(f"{path} has {len(frame)} passages, fewer than the {count} that the study asks for.")
    return list(frame[:count].itertuples(index=False, name=None))
