"""Word lists of the tasks: the project's own (`embedded`) or the authors' (`release`), each checked before use."""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from offcourse.data.cells import problem, same_word
from offcourse.data.dataset import PAIRS, dataset
from offcourse.data.names import RESOURCES
from offcourse.data.release_files import release_file, release_source
from offcourse.data.rows import Task
from offcourse.data.tsv import read_tsv
from offcourse.errors import OffcourseError, did_you_mean

if TYPE_CHECKING:
    import datasets

Pairs = list[tuple[str, str]]


def load_pairs(
    task: Task,
    data: str,
    resources: Path = RESOURCES,
    downloads: Path = Path("downloads"),
    method: str = "function_vectors",
) -> Pairs:
    """The (input, output) pairs of a task in file order, see `word_dataset`."""
    words = word_dataset(task, data, resources, downloads, method)
    return list(zip(words["input"], words["output"], strict=True))


def word_dataset(
    task: Task,
    data: str,
    resources: Path = RESOURCES,
    downloads: Path = Path("downloads"),
    method: str = "function_vectors",
) -> "datasets.Dataset":
    """The word list of a task in file order, with the columns input and output.

    data: `embedded`, two columns of a file in `resources/words`; or `release`, the authors' list byte for byte, taken
    from the folder OFFCOURSE_MIRROR or the network and kept below `downloads/release`.
    method: the authors have one list per method; an embedded list serves both methods.
    Raises `OffcourseError` for a file that is missing, damaged or not UTF-8. In an embedded list an empty, padded or
    repeated entry, or an entry that `cells` refuses, is an error too. The authors' lists are taken as they are.
    """
    if data == "release":
        path = release_file(release_list(task, method), resources, downloads)
        rows = json.loads(path.read_text(encoding="utf-8"))
        # Lists for task vectors are mappings, those for function vectors are lists of records.
        pairs = list(rows.items()) if isinstance(rows, dict) else [(row["input"], row["output"]) for row in rows]
    else:
        path = Path(resources) / "words" / task.words
        pairs = own_pairs(task, path)
    return dataset((dict(zip(PAIRS, pair, strict=True)) for pair in pairs), PAIRS, path)


def word_list_sha256(
    task: Task,
    data: str,
    resources: Path = RESOURCES,
    method: str = "function_vectors",
) -> str:
    """A digest that changes exactly when the pairs of this task change.

    data `release`: the file's pinned sha256, known without a download. `embedded`: the sha256 of the task's two
    columns, since several tasks share a file.
    """
    if data == "release":
        return release_source(release_list(task, method), resources).sha256
    # Without the library `datasets`: every command that knows the state of a study asks for this digest.
    pairs = own_pairs(task, Path(resources) / "words" / task.words)
    return hashlib.sha256("".join(f"{word}\t{answer}\n" for word, answer in pairs).encode()).hexdigest()


def own_pairs(task: Task, path: Path) -> Pairs:
    """The pairs of a word list of this project. Keys hold the pairs (`word_list_sha256`), not this function's code."""
    table = read_tsv(path)
    for column in (task.input_column, task.output_column):
        if column not in table:
            raise OffcourseError(f"{path} has no column {column!r} (task {task.name}); {did_you_mean(column, table)}")
    pairs = list(zip(table[task.input_column], table[task.output_column], strict=True))
    first_line: dict[str, int] = {}
    for line, pair in enumerate(pairs, start=2):
        for column, word in zip((task.input_column, task.output_column), pair, strict=True):
            if wrong := problem(word, str(path)):
                raise OffcourseError(f"{path}, line {line}: the entry in column {column!r} {wrong}")
        key = same_word(pair[0])
        if key in first_line:
            raise OffcourseError(
                f"{path}, line {line}: {pair[0]!r} in column {task.input_column!r} was already on line "
                f"{first_line[key]}; keep one of the two"
            )
        first_line[key] = line
    return pairs


def split_sizes(rows: int) -> tuple[int, int, int]:
    """Sizes of the train, valid and test parts of a list of `rows` pairs, as scikit-learn rounds them."""
    held_out = math.ceil(0.3 * rows)
    valid = math.ceil(0.3 * held_out)
    return rows - held_out, valid, held_out - valid


def require_enough(task: Task, pairs: Iterable, shots: int) -> None:
    """Raise `OffcourseError` unless the split of `pairs` has a demonstration for each shot, a query and a test word."""
    has = len(list(pairs))
    needs = next(n for n in range(2, 2 * shots + 10) if split_sizes(n)[0] >= shots and min(split_sizes(n)) >= 1)
    if has < needs:
        raise OffcourseError(
            f"too few words in {task.words} for task {task.name}: it has {has} pairs, {shots} shots need at least "
            f"{needs} (70 % of them are demonstrations). Lower function_vectors.shots or use a longer list."
        )


def release_list(task: Task, method: str = "function_vectors") -> str:
    """Path of the authors' list in their repository. Raises `OffcourseError` for a task without a released list."""
    path = task.releases[method]
    if not path:
        raise OffcourseError(
            f"the authors released no word list for {method.replace('_', ' ')} of task {task.name}; use data: "
            "embedded, or leave the task out"
        )
    return path
