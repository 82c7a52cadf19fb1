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
    columns = list(read_tsv(file))
    if len(columns) != 2:
        raise OffcourseError(
            f"{file} has the columns {', '.join(columns)}; expected two, an input and its answer. Nothing was written."
        )
    name = name or re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._")
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
    check_row("tasks.tsv", task)
    pairs = own_pairs(task, file)
    if len(pairs) < FEWEST:
        raise OffcourseError(
            f"{file} has {len(pairs)} pairs; ten demonstrations and a few evaluated words take at least {FEWEST}. "
            "Nothing was written."
        )
    demonstrations, *others = split_sizes(len(pairs))
    sizes = f"{len(pairs)} pairs: {demonstrations} for demonstrations, {sum(others)} held out."
    return task, f"resources/tasks.tsv, a new row:\n{shown(task)}\n{sizes}"


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
