"""The authors' function-vector sweeps as tables, read from their pages (see `digitise`)."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from offcourse.archive.digitise import FIVE, GRID, ZERO, DigitisedPage, read_means, read_page
from offcourse.archive.paths import MEANS, page_path
from offcourse.data.rows import Model, Task
from offcourse.data.tasks import split_sizes

EVALUATED = 50  # items of a task, or all of its test words (footnote 5)


@dataclass(frozen=True)
class Sweep:
    """The sweep of one model and task. sweep, shots: tables of schema `PUBLISHED_FV_SWEEP` and `PUBLISHED_ICL`.

    calibration: how the page's scale was found. page: from the page alone. means: with the means of Figure 11. open:
    not found, and counts are null.
    candidates: the (0-shot, 5-shot) counts that agree with the page. missing: (n_heads, strength) that are not drawn.
    """

    sweep: pd.DataFrame
    shots: pd.DataFrame
    calibration: str
    candidates: list[tuple[int, int]]
    missing: list[tuple[int, float]]


def evaluated(words: int) -> int:
    """The number of evaluated items of a task with `words` word pairs, as in the authors' code."""
    return min(EVALUATED, split_sizes(words)[2])


def read_sweeps(
    read: Callable[[str], bytes], release_name: str, tasks: Sequence[Task], model: Model | None
) -> dict[str, Sweep]:
    """{task: sweep} of a model. read: path of a released file -> its content.

    model: the model's row of the registry; None for a model without a row, whose number of layers is read from the
    page. Raises `OffcourseError` as `read_page` does.
    """
    pages = {}
    for task in tasks:
        path = page_path(release_name, task.name)
        words = json.loads(read(task.release))
        pages[task.name] = read_page(read(path), evaluated(len(words)), model and model.layers, path)
    chosen = {name: next(iter(page.hits)) if len(page.hits) == 1 else None for name, page in pages.items()}
    open_pages = [name for name, pair in chosen.items() if pair is None]
    settled = _by_means(pages, read_means(read(MEANS), MEANS), model) if open_pages and model else {}
    found = {}
    for name, page in pages.items():
        how = "page" if chosen[name] else "means" if name in settled else "open"
        found[name] = _tables(page, chosen[name] or settled.get(name), how)
    return found


def _by_means(
    pages: Mapping[str, DigitisedPage], means: Mapping[str, Mapping[str, float]], model: Model
) -> dict[str, tuple[int, int]]:
    """{task: (0-shot, 5-shot) counts} whose means over the tasks agree with Figure 11; {} unless one choice agrees."""
    if model.short_label not in means:
        return {}
    wanted = means[model.short_label]
    agreeing = []
    for choice in itertools.product(*(page.hits for page in pages.values())):
        shares = [
            (zero / page.items, five / page.items) for (zero, five), page in zip(choice, pages.values(), strict=True)
        ]
        mean = [sum(column) / len(shares) for column in zip(*shares, strict=True)]
        if all(abs(got - wanted[label]) < GRID for got, label in zip(mean, (ZERO, FIVE), strict=True)):
            agreeing.append(dict(zip(pages, choice, strict=True)))
    return agreeing[0] if len(agreeing) == 1 else {}


def _tables(page: DigitisedPage, pair: tuple[int, int] | None, calibration: str) -> Sweep:
    hits = page.hits[pair] if pair else [[pd.NA] * len(each) for each in next(iter(page.hits.values()))]
    rows = [
        (panel.n_heads, panel.strength, layer, count)
        for panel, counts in zip(page.panels, hits, strict=True)
        for layer, count in enumerate(counts)
    ]
    sweep = pd.DataFrame(rows, columns=["n_heads", "strength", "layer", "hits"])
    sweep = sweep.astype({"hits": "Int64"}).sort_values(["n_heads", "strength", "layer"], ignore_index=True)
    sweep = sweep.assign(items=page.items, calibration=calibration)
    shots = pd.DataFrame({"shots": [0, 5], "hits": pd.array(pair or [pd.NA, pd.NA], "Int64"), "items": page.items})
    missing = sorted((panel.n_heads, panel.strength) for panel in page.missing)
    return Sweep(sweep, shots, calibration, list(page.hits), missing)
