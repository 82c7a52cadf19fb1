"""What the torture test makes of its outcomes: what to print, and the table of docs/provenance.md."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from offcourse.files import write_between

BEGIN, END = "<!-- made by make torture: begin -->", "<!-- made by make torture: end -->"
Outcomes = list[dict[str, Any]]
# What each part does, for the table.
WHAT = {
    "malformed": "spoiled input",
    "tamper": "one byte of a file of a finished study changed",
    "forge": "a result changed with its record, or with its record and shard",
    "kill": "all processes of the smoke study killed at a random moment, and the study run on",
}
EXPECTED = {
    "malformed": "refused by one message that names it, or harmless; no traceback, no hang, nothing executed",
    "tamper": "found by `audit --all` and by `status`; mended by the next run",
    "forge": "found by `audit --all` and by `status`; mended by the next run",
    "kill": "the results of an undisturbed run; nothing left over",
}


def summary(part: str, outcomes: Outcomes, seconds: float) -> str:
    """What to print of a part: every fault, then how many cases there were."""
    wrong = [f"{each['kind']}: {each['name']}: {fault}" for each in outcomes for fault in each["faults"]]
    faulty = sum(bool(each["faults"]) for each in outcomes)
    slowest = max((each.get("seconds", 0) for each in outcomes), default=0)
    codes = Counter(each.get("code") for each in outcomes)
    counts = f"{len(outcomes)} cases, {faulty} with faults, exit codes {dict(codes)}"
    return "\n".join([*wrong, f"{part}: {counts}, slowest {slowest:.1f} s, {seconds:.0f} s"])


def table(found: dict[str, Outcomes]) -> str:
    """The table of docs/provenance.md: a row per part and kind."""
    lines = ["| what is done | to | expected | cases | as expected |", "|---|---|---|---:|---:|"]
    for part, outcomes in found.items():
        by_kind: dict[str, Outcomes] = {}
        for each in outcomes:
            by_kind.setdefault(each["kind"] if part in ("malformed", "forge") else "", []).append(each)
        for kind, some in by_kind.items():
            to = kind or ", ".join(dict.fromkeys(each["name"] for each in some) if part == "tamper" else ["the study"])
            right = sum(not each["faults"] for each in some)
            lines.append(f"| {WHAT[part]} | {to} | {EXPECTED[part]} | {len(some)} | {right} |")
    return "\n".join(lines)


def _latest(before: Outcomes, now: Outcomes) -> Outcomes:
    """The last outcome of each case."""
    last = {(each["kind"], each["name"]): each for each in [*before, *now]}
    return [*last.values()]


def keep(found: dict[str, Outcomes], kept: Path) -> dict[str, Outcomes]:
    """Put `found` into the file `kept`, in the place of earlier outcomes of these cases; all that the file has now."""
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    found = {part: _latest(before.get(part, []), found.get(part, [])) for part in WHAT if part in before | found}
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def write_docs(found: dict[str, Outcomes], page: Path) -> None:
    """Put the table between its two marks. Raises `OffcourseError` when the page has none."""
    write_between(page, BEGIN, END, table(found))
