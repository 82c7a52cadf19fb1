"""A row of tasks.tsv from a list of word pairs of the user's own."""

import re
import shutil
from pathlib import Path

from offcourse.data.registry import Registry, append_row, cells_of, check_row, shown
from offcourse.data.rows import Task
from offcourse.data.tasks import own_pairs, split_sizes
from offcourse.data.tsv import read_tsv
from offcourse.errors import OffcourseError
from offcourse.files import write_whole

# Fewer pairs leave less than ten demonstrations (docs/extending.md).
FEWEST = 20


def draft_task(file: Path, registry: Registry, name: str, label: str, group: str, match: str) -> tuple[Task, str]:
    """(row of tasks.tsv for a list of word pairs, the row and its sizes in words).

    Raises `OffcourseError` for a file that is no such list, a name that is taken, and a cell that the table refuses.
    """
    columns = _columns(file)
    name = name or _name_from(file)
    task = Task(
        name=name,
        label=label or name.replace("-", " ").title(),
        group=group,
        words=f"{name}.tsv",
        input_column=columns[0],
        output_column=columns[1],
        release="",
        task_vector_release="",
        task_vector_match=match,
        description=f"{columns[0]} to {columns[1]}",
    )
    if name in registry.names_of_tasks:
        raise OffcourseError(
            f"resources/tasks.tsv has a task {name!r} already; choose another --name. Nothing was written."
        )
    if other := next((row.name for row in registry.tasks.values() if row.label == task.label), ""):
        raise OffcourseError(
            f"the label {task.label!r} is the one of task {other!r}, so that tables could not tell them apart; choose "
            "another --label. Nothing was written."
        )
    check_row("tasks.tsv", task)
    pairs = own_pairs(task, file)
    if len(pairs) < FEWEST:
        raise OffcourseError(
            f"{file} has {len(pairs)} pairs; ten demonstrations and a few evaluated words take at least {FEWEST}. Its "
            f"first line ({columns[0]}, {columns[1]}) is read as the names of the columns. Nothing was written."
        )
    if len({answer for _, answer in pairs}) == 1:
        raise OffcourseError(
            f"{file}: every answer is {pairs[0][1]!r}, so that a model could give it without reading the input. "
            "Nothing was written."
        )
    demonstrations, *others = split_sizes(len(pairs))
    sizes = f"{len(pairs)} pairs: {demonstrations} for demonstrations, {sum(others)} held out."
    return task, f"resources/tasks.tsv, a new row:\n{shown(task)}\n{sizes}"


def _columns(file: Path) -> list[str]:
    """The names of the two columns. Raises `OffcourseError` for a file that is no table of two columns."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "there is no such file"
        raise OffcourseError(
            f"{file}: {what}; expected a list of word pairs, two columns with a header. Nothing was written."
        )
    if not file.read_bytes().strip():
        raise OffcourseError(
            f"{file} is empty; expected a list of word pairs, two columns with a header. Nothing was written."
        )
    columns = list(read_tsv(file))
    if len(columns) != 2:
        tabs = " Columns are separated by tabs, not by commas." if len(columns) == 1 and "," in columns[0] else ""
        raise OffcourseError(
            f"{file} has {len(columns)} column{'' if len(columns) == 1 else 's'} ({', '.join(columns)}); expected two, "
            f"an input and its answer.{tabs} Nothing was written."
        )
    if columns[0] == columns[1]:
        raise OffcourseError(
            f"{file}: both columns are named {columns[0]!r}; name the input and the answer. Nothing was written."
        )
    return columns


def _name_from(file: Path) -> str:
    """A task's name from its file's. Raises `OffcourseError` for letters that a name cannot have."""
    if re.search(r"[^A-Za-z0-9._ -]", file.stem) or not re.search(r"[A-Za-z0-9]", file.stem) or file.stem[0] == ".":
        raise OffcourseError(
            f"{file.name} gives no name for the task, which is of lower-case letters, digits and hyphens; choose one "
            "with --name. Nothing was written."
        )
    return re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._")


def write_task(task: Task, file: Path, resources: Path) -> None:
    """Copy the list of pairs into `resources`/words and append the row.

    Raises `OffcourseError` if another file has the copy's name.
    """
    words = resources / "words" / task.words
    if words.exists() and words.resolve() != Path(file).resolve():
        raise OffcourseError(f"there is a file {words} already; choose another --name. Nothing was written.")
    if words.resolve() != Path(file).resolve():
        write_whole(words, lambda temporary: shutil.copyfile(file, temporary))
    append_row(resources / "tasks.tsv", cells_of(task))
