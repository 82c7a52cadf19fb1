"""Compute one cell of a table again from the numbers beside this script, and compare: `python recompute.py`.

Offcourse copies this file into capsules as `recompute.py`, so it imports nothing of the package.
"""

import csv
import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).parent


def items(entry):
    """One number per item of an entry of `sources`: hit or miss, or a metric of a question from its answers' scores."""
    with open(HERE / entry["file"], encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and entry["measure"] in rows[0]:
        return [{"True": 1.0, "False": 0.0}.get(row[entry["measure"]]) for row in rows]
    import pandas
    import truthfulness

    scores = pandas.read_csv(HERE / entry["file"], keep_default_na=False)
    how = entry.get("removed", False), entry.get("exact", False)
    return truthfulness.per_question(scores, *how)[entry["measure"]].astype(float).tolist()


def mean(values):
    """Arithmetic mean."""
    return sum(values) / len(values)


def pooled(entries):
    """Mean over groups of entries; an entry with `times` counts each item as often as it was reported."""
    groups = {}
    for entry in entries:
        numbers = items(entry)
        times = entry.get("times", [1] * len(numbers))
        total, count = groups.get(entry["group"], (0.0, 0))
        weighted = sum(number * often for number, often in zip(numbers, times, strict=True))
        groups[entry["group"]] = total + weighted, count + sum(times)
    return mean([total / count for total, count in groups.values()])


def share_of_pairs(cell):
    """Count (or percentage) of model-task pairs that reach few-shot accuracy times the fraction in the column name."""
    pairs = {}
    for entry in cell["sources"]:
        pairs.setdefault(entry["group"], {}).setdefault(entry["role"], []).append(mean(items(entry)))
    reached = sum(
        mean(roles["best"]) >= float(cell["column"]) * mean(roles["few_shot"]) - 1e-9 for roles in pairs.values()
    )
    return reached if cell["unit"] == "pairs" else 100 * reached / len(pairs)


def mcnemar(base, other):
    """Exact two-sided p-value over paired hits."""
    gained = sum(o > b for b, o in zip(base, other, strict=True))
    lost = sum(o < b for b, o in zip(base, other, strict=True))
    n, least = gained + lost, min(gained, lost)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)


def recompute(cell):
    """The value of the cell."""
    if not cell["sources"]:
        return None
    if cell["unit"] in ("% of model-task pairs", "pairs"):
        return share_of_pairs(cell)
    if cell["unit"] == "p-value":
        return mcnemar(*map(items, cell["sources"]))
    if cell["unit"].startswith("change in share"):
        sides = [[entry for entry in cell["sources"] if entry["role"] == role] for role in ("steered", "against")]
        return pooled(sides[0]) - pooled(sides[1])
    value = pooled(cell["sources"])
    return 100 * value if cell["unit"].startswith("%") else value


def main():
    """Print the cell's value computed from the numbers; exit code 1 if it differs from the table's value."""
    cell = json.loads((HERE / "cell.json").read_text(encoding="utf-8"))
    value, said = recompute(cell), cell["value"]
    print(f"{cell['name']}, {cell['row']}, {cell['column']}: {value} {cell['unit']} (the table says {said})")
    agrees = value == said or (None not in (value, said) and math.isclose(value, said, rel_tol=1e-9, abs_tol=1e-9))
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
