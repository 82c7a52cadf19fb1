"""How often a random direction is called better than luck, by the number of random directions that it is held against.

`python tests/analysis/luck_of_directions.py` prints the table of docs/statistics.md. The method is itself one random
direction, so "better than luck" is always wrong. A direction changes the log odds of every item by a number of its own,
which is largest at one layer, falls off on both sides of it and grows with the strength. Items differ in difficulty.
"""

import numpy as np

from offcourse.analysis import inference
from offcourse.analysis.verdicts import LEVEL, difference, halves, held_out

LAYERS, STRENGTHS, ACCURACY, SPREAD = 30, (0.3, 0.65, 1.0), 0.3, 1.0
UNIT = "luck"


def sweep(random: np.random.Generator, difficulty: np.ndarray, spread: float) -> np.ndarray:
    """[settings, items] hits of one random direction. spread: standard deviation of its largest effect, in log odds."""
    nearness = np.exp(-(((np.arange(LAYERS) - random.integers(LAYERS)) / 6) ** 2))
    effect = random.normal(0, spread) * np.outer(STRENGTHS, nearness).ravel()
    # Settings of one direction share most of what an item's answer depends on.
    noise = random.logistic(size=len(difficulty)) + random.normal(0, 0.3, (len(effect), len(difficulty)))
    return (effect[:, None] + difficulty + noise > 0).astype(float)


def better_than_luck(directions: int, items: int, spread: float = SPREAD, repetitions: int = 1000) -> float:
    """The share of repetitions in which a random direction passes the test against luck and its gain is above 0."""
    random, passed = np.random.default_rng([directions, items]), 0
    for _ in range(repetitions):
        difficulty = np.log(ACCURACY / (1 - ACCURACY)) + random.normal(size=items)
        base = (difficulty + random.logistic(size=items) > 0).astype(float)
        grids = [sweep(random, difficulty, spread) for _ in range(1 + directions)]
        repeated = halves(UNIT, items)
        steered, luck = held_out(grids[0], repeated), held_out(np.concatenate([base[None], *grids[1:]]), repeated)
        gained = difference(steered - base, UNIT).low > 0
        passed += gained and inference.above_zero(steered - luck, UNIT) < LEVEL
    return passed / repetitions


if __name__ == "__main__":
    print("| random directions | 40 items | 200 items |\n|---|---|---|")
    for number in (1, 3, 5, 10, 20):
        shares = [better_than_luck(number, items) for items in (40, 200)]
        print(f"| {number} | {' | '.join(f'{share:.3f}'.lstrip('0') for share in shares)} |", flush=True)
