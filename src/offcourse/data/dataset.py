"""Word lists and question sets as `datasets.Dataset`s: files of this checkout, of the release, and sets of the hub.

`datasets` takes about a second to import. So it is imported where a list is made, and keys and plans, which need the
rows of tracked files and nothing else, read them without it.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offcourse.data.endpoint import clean_log, require_endpoint, without_password
from offcourse.errors import OffcourseError
from offcourse.files import known_sha256, sha256, write_whole

if TYPE_CHECKING:
    from datasets import Dataset

# Columns of a list; "text" is a string, "texts" a list of strings.
PAIRS = {"input": "text", "output": "text"}
QUESTIONS = {"text": "text", "best": "text", "true": "texts", "false": "texts"}
# owner/name@commit/configuration/split. A branch or tag is no pin, since it moves.
HUB_SET = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})/([\w.-]+)/([\w.-]+)")


def dataset(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], path: Path) -> "Dataset":
    """Rows that were read from `path`, in their order, as a dataset in memory. Nothing is written to a cache.

    Raises `OffcourseError` naming the file for a text that is no Unicode, such as half of a surrogate pair in JSON.
    """
    from datasets import Dataset, Features, List, Value

    kinds = {"text": Value("string"), "texts": List(Value("string"))}
    features = Features({name: kinds[kind] for name, kind in columns.items()})
    rows = list(rows)
    try:
        return Dataset.from_dict({name: [row[name] for row in rows] for name in columns}, features=features)
    except UnicodeEncodeError as error:
        raise OffcourseError(
            f"{path} holds a text with half of a surrogate pair ({error.object!a}, sign number {error.start + 1}), "
            "which no tokenizer can read; correct the text"
        ) from error


@dataclass(frozen=True)
class HubSet:
    """A question set of the hub: repo (owner/name), commit, configuration and split."""

    repo: str
    commit: str
    config: str
    split: str

    @classmethod
    def of(cls, spec: str) -> "HubSet":
        """The set that a cell of questions.tsv names. Raises `ValueError` for a cell of another form."""
        return cls(*HUB_SET.fullmatch(spec).groups())

    def path(self, downloads: Path) -> Path:
        """Where the set is kept after its download."""
        return Path(downloads) / "hub" / self.repo / self.commit / self.config / f"{self.split}.parquet"


def hub_file(spec: str, downloads: Path) -> Path:
    """Path of a set of the hub, which is fetched at its commit if it is not there.

    Raises `OffcourseError` for a set that cannot be had, and for a kept file that was changed after its download.
    """
    wanted = HubSet.of(spec)
    path = wanted.path(downloads)
    if not (path.exists() and _digest(path).exists()):
        _fetch(wanted, path)
    if not is_kept(path):
        raise OffcourseError(
            f"{path} is not the file that was downloaded: it was changed or damaged. Delete it and run again to fetch "
            "it anew."
        )
    return path


def is_kept(path: Path) -> bool:
    """Whether the file of a set of the hub is there and has the sha256 that it had after its download."""
    there = path.exists() and _digest(path).exists()
    return there and _digest(path).read_text(encoding="utf-8").strip() == known_sha256(path)


def _digest(path: Path) -> Path:
    return path.with_suffix(".sha256")


def hub_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a kept set of the hub."""
    import pyarrow.parquet
    from datasets import Dataset

    return Dataset(pyarrow.parquet.read_table(path)).to_list()


def _fetch(wanted: HubSet, path: Path) -> None:
    require_endpoint()
    from datasets import load_dataset

    clean_log()
    what = f"the question set {wanted.repo} at commit {wanted.commit}"
    try:
        # The parquet file is what a study reads, so that the library's second copy of the rows is not kept.
        with tempfile.TemporaryDirectory(prefix="offcourse-hub-") as cache:
            more = {"split": wanted.split, "revision": wanted.commit, "cache_dir": cache}
            write_whole(path, load_dataset(wanted.repo, wanted.config, **more).to_parquet)
    except (OSError, ValueError, RuntimeError) as error:
        offline = [name for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE") if os.environ.get(name, "0") != "0"]
        advice = (
            f"Unset {offline[0]}" if offline else "Check the network and the cell `file` of the set in questions.tsv"
        )
        reason = without_password(" ".join(str(error).split()) or type(error).__name__)
        raise OffcourseError(
            f"cannot fetch {what}, configuration {wanted.config}, split {wanted.split} ({reason}). "
            f"{advice}, and run again."
        ) from None  # a traceback would show the client's own message, with the address in it
    write_whole(_digest(path), lambda temporary: temporary.write_text(sha256(path) + "\n", encoding="utf-8"))
