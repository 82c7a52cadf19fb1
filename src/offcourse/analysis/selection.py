"""Where the best setting is chosen, and on which items it is reported (protocol switch `selection`).

same_items: both on all items, as published. What is best by chance on these very items then counts as better.
halves: chosen on one half of the items and reported on the other, for `HALVINGS` halvings in both directions. So every
item is reported once per halving, in a setting that was chosen without it.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from offcourse.data.draws import keyed_generator
from offcourse.errors import OffcourseError

HALVINGS = 20
SEED = 0

Setting = TypeVar("Setting")
# Masks of the items: chosen on, reported on.
Direction = tuple[np.ndarray, np.ndarray]


def repetitions(selection: str, unit: str, items: int) -> list[list[Direction]]:
    """The directions of each repetition; those of one repetition report every item once.

    unit: name of the task or question set. It keys the halvings, with their number and nothing of the study: models and
    studies share them. Of an odd number of items one half has one more.

    Raises `OffcourseError` when there is nothing to halve.
    """
    if selection == "same_items":
        everything = np.ones(items, bool)
        return [[(everything, everything)]]
    if items < 2:
        raise OffcourseError(
            f"{unit}: protocol selection: halves needs at least two items to choose on one and report on the other, "
            f"but the study has {items}. Raise its limit, or use selection: same_items."
        )
    halvings = []
    for halving in range(HALVINGS):
        half = keyed_generator(SEED, unit, "halving", halving).permutation(items) < items // 2
        halvings.append([(half, ~half), (~half, half)])
    return halvings


def chosen(repeated: Sequence[Sequence[Direction]], choose: Callable[[np.ndarray], Setting]) -> list[Setting]:
    """The settings that `choose` takes, one per direction; it is given the mask of the items to choose on."""
    return [choose(chosen_on) for directions in repeated for chosen_on, _ in directions]


def reported(
    repeated: Sequence[Sequence[Direction]],
    choose: Callable[[np.ndarray], Setting],
    values: Callable[[Setting], np.ndarray],
) -> np.ndarray:
    """[repetitions, items]: the value of each item in the setting that was chosen for it.

    values: [items], the values of all items in one setting. The mean over everything is the number of a table.
    """
    rows = []
    for directions in repeated:
        row = np.full(len(directions[0][0]), np.nan)
        for chosen_on, reported_on in directions:
            row[reported_on] = values(choose(chosen_on))[reported_on]
        rows.append(row)
    return np.stack(rows)


def weights(
    repeated: Sequence[Sequence[Direction]], choose: Callable[[np.ndarray], Setting]
) -> dict[Setting, list[int]]:
    """How often each item is reported in each setting that is chosen, over all repetitions: [items] by setting."""
    found: dict[Setting, np.ndarray] = {}
    for directions in repeated:
        for chosen_on, reported_on in directions:
            found.setdefault(choose(chosen_on), np.zeros(len(chosen_on), int))[reported_on] += 1
    return {setting: counts.tolist() for setting, counts in found.items()}


def best_accuracy(hits: np.ndarray, repeated: Sequence[Sequence[Direction]]) -> float:
    """Accuracy of the best row of `hits` [settings, items]; the first of equals is best."""
    return float(reported(repeated, lambda chosen_on: hits[:, chosen_on].sum(1).argmax(), hits.__getitem__).mean())


def note(selection: str, what: str) -> str:
    """A sentence for the reader of a table; `what` names what was chosen, in the plural."""
    if selection == "same_items":
        return f"{what} are chosen on the items that they are reported on, as in the paper."
    return (
        f"{what} are chosen on one half of the items and reported on the other, averaged over {HALVINGS} halvings in "
        "both directions (protocol selection: halves)."
    )
