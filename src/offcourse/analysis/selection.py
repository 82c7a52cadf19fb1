"""The items on which the best setting is chosen, and the items on which it is reported (protocol switch `selection`).

same_items: both are all items, as published. A setting that is best by chance on these items then counts as better.
halves: a setting is chosen on one half of the items and reported on the other, for `HALVINGS` halvings in both
directions. Every item is then reported once per halving, in a setting that was chosen without this item.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from offcourse.data.draws import keyed_generator
from offcourse.errors import OffcourseError

HALVINGS = 20
SEED = 0

Setting = TypeVar("Setting")
# (mask of the items to choose on, mask of the items to report on).
Direction = tuple[np.ndarray, np.ndarray]


def repetitions(selection: str, unit: str, items: int) -> list[list[Direction]]:
    """The directions of each repetition. The directions of one repetition together report every item once.

    unit: name of the task or question set. Unit and number of the halving are the key of a halving, so models and
    studies share halvings. With an odd number of items, one half has one item more.

    Raises `OffcourseError` when there is nothing to halve.
    """
    if selection == "same_items":
        everything = np.ones(items, bool)
        return [[(everything, everything)]]
    if items < 2:
        raise OffcourseError(
            f"{unit}: protocol selection: halves needs at least two items to choose on one and report on the other, "
            f"but the study has {items}. Raise test_items of its methods (of a question set: dola.limit), use a "
            "longer list, or set selection: same_items in protocol."
        )
    halvings = []
    for halving in range(HALVINGS):
        half = keyed_generator(SEED, unit, "halving", halving).permutation(items) < items // 2
        halvings.append([(half, ~half), (~half, half)])
    return halvings


def chosen(repeated: Sequence[Sequence[Direction]], choose: Callable[[np.ndarray], Setting]) -> list[Setting]:
    """The chosen settings, one per direction. choose: mask of the items to choose on -> setting."""
    return [choose(chosen_on) for directions in repeated for chosen_on, _ in directions]


def reported(
    repeated: Sequence[Sequence[Direction]],
    choose: Callable[[np.ndarray], Setting],
    values: Callable[[Setting], np.ndarray],
) -> np.ndarray:
    """[repetitions, items]: the value of each item in the setting that is reported for this item.

    choose: mask of the items to choose on -> setting. values: setting -> values of all items, [items]. The mean over
    the returned array is the number in a table.
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
    """{chosen setting: how often each item is reported in this setting, over all repetitions}, [items] each."""
    found: dict[Setting, np.ndarray] = {}
    for directions in repeated:
        for chosen_on, reported_on in directions:
            found.setdefault(choose(chosen_on), np.zeros(len(chosen_on), int))[reported_on] += 1
    return {setting: counts.tolist() for setting, counts in found.items()}


def best_accuracy(hits: np.ndarray, repeated: Sequence[Sequence[Direction]]) -> float:
    """The reported accuracy of the best setting. hits: [settings, items]; among equally good ones the first is best."""
    return float(reported(repeated, lambda chosen_on: hits[:, chosen_on].sum(1).argmax(), hits.__getitem__).mean())


def note(selection: str, what: str) -> str:
    """A sentence for the reader of a table. what: the chosen settings, in the plural."""
    if selection == "same_items":
        return f"{what} are chosen on the items that they are reported on, as in the paper."
    return (
        f"{what} are chosen on one half of the items and reported on the other, averaged over {HALVINGS} halvings in "
        "both directions (protocol selection: halves)."
    )
