"""How often the interval of a verdict's difference misses the true difference, by the number of items.

`python tests/analysis/few_items.py` prints the table of docs/statistics.md. Each item is gained, lost or left as it is,
with probabilities that are the same for all items. Beside it is the bootstrap over items alone.
"""

import numpy as np

from offcourse.analysis import inference
from offcourse.analysis.verdicts import difference

ITEMS = (4, 10, 20, 40, 100)
# (items that are gained, items that are lost): shares whose difference is 0.1, the smallest that counts.
SHARES = ((0.1, 0.0), (0.15, 0.05), (0.2, 0.1))


def missed(items: int, shares: tuple[float, float], repetitions: int = 1000) -> tuple[float, float]:
    """Shares of repetitions in which the interval does not hold the true difference: the bootstrap's, the verdict's."""
    gained, lost = shares
    random, truth, found = np.random.default_rng([items, round(100 * gained)]), gained - lost, np.zeros(2)
    for _ in range(repetitions):
        values = random.choice([1.0, -1.0, 0.0], items, p=[gained, lost, 1 - gained - lost])
        alone, whole = inference.over_items(values, "few", (-1.0, 1.0)), difference(values, "few")
        found += [not alone.low <= truth <= alone.high, not whole.low <= truth <= whole.high]
    return tuple(found / repetitions)


if __name__ == "__main__":
    for items in ITEMS:
        cells = [missed(items, shares) for shares in SHARES]
        print(f"| {items} |", " | ".join(f"{100 * alone:.1f} / {100 * whole:.1f}" for alone, whole in cells), "|")
