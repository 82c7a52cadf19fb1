"""What the torture test makes of its outcomes: what to print, and the table of docs/provenance.md."""

from collections import Counter
from typing import Any

Outcomes = list[dict[str, Any]]


def summary(part: str, outcomes: Outcomes, seconds: float) -> str:
    """What to print of a part: every fault, then how many cases there were."""
    wrong = [f"{each['kind']}: {each['name']}: {fault}" for each in outcomes for fault in each["faults"]]
    faulty = sum(bool(each["faults"]) for each in outcomes)
    slowest = max((each.get("seconds", 0) for each in outcomes), default=0)
    codes = Counter(each.get("code") for each in outcomes)
    counts = f"{len(outcomes)} cases, {faulty} with faults, exit codes {dict(codes)}"
    return "\n".join([*wrong, f"{part}: {counts}, slowest {slowest:.1f} s, {seconds:.0f} s"])
