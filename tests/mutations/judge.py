"""Judging the outcomes of the mutation test: results that would not be redone, jobs redone in vain, and the table."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mutations.reasons import REASONS
from offcourse.files import write_between
from offcourse.graph.keys import STEPS

MARKS = {
    "smoke": ("<!-- made by make mutations: begin -->", "<!-- made by make mutations: end -->"),
    "steering": (
        "<!-- made by make mutations (steering): begin -->",
        "<!-- made by make mutations (steering): end -->",
    ),
}
# An inventory of everything, which follows everything.
FOLLOWS = "ro_crate"
# The rule that prepares a model, which makes nothing that the study shows.
PREPARE = "prepare_model"
Job = tuple[str, str]


def job_of(unit: str) -> Job:
    """The (rule, model) that makes a result, "step model unit"."""
    step, model, _ = unit.split(" ")
    return (STEPS[step].rule if step in STEPS else step), model


def moved(outcome: dict[str, Any]) -> set[str]:
    """The results that are otherwise, or new. A package that is said to be another version moves what uses it."""
    users = [unit for unit in outcome["all units"] if unit.split(" ")[0] in outcome["uses"]]
    return {*outcome["units"], *users}


def faults(outcome: dict[str, Any]) -> list[str]:
    """What is wrong: results that would stay, two commands that disagree, jobs too many without a reason."""
    if outcome["crash"]:
        return [f"status ends in a traceback: {outcome['crash'].splitlines()[-1]}"]
    if outcome["not planned"] or outcome["no status"]:
        both = outcome["not planned"] and outcome["no status"]
        if not (both or outcome["refused"]):
            return [f"it cannot be planned: {outcome['not planned'] or outcome['no status']}"]
        return []
    planned = {tuple(job) for job in outcome["planned"]}
    found = [
        f"too few: {unit} moves and is not planned" for unit in sorted(moved(outcome)) if job_of(unit) not in planned
    ]
    if outcome["refused"] and outcome["refusing"] and tuple(outcome["refusing"]) not in planned:
        found.append(f"too few: {' '.join(outcome['refusing'])} refuses and is not planned ({outcome['refused']})")
    for unit in outcome["units"]:
        if unit.split(" ")[0] in STEPS and unit in outcome["all units"] and unit not in outcome["keys"]:
            found.append(f"too few: {unit} moves and has the key of before, so that the store gives the old one back")
    stale = {job_of(unit) for unit in outcome["stale"]}
    # A job of several tasks whose results are all kept is run by Snakemake alone, and computes nothing.
    if stale - planned or (planned - stale and not reason(outcome)):
        apart = sorted(planned ^ stale)
        only = [f"{' '.join(job)} ({'snakemake' if job in planned else 'status'} alone)" for job in apart]
        found.append(f"snakemake -n and status disagree: {', '.join(only)}")
    if too_many(outcome) and not reason(outcome):
        found.append(f"too many without a reason: {_jobs(too_many(outcome))}")
    return found


def too_many(outcome: dict[str, Any]) -> set[Job]:
    """The jobs that are planned for reasons of their own and move nothing."""
    if outcome["refused"]:
        return set()
    moving = {job_of(unit) for unit in moved(outcome)} | followers(outcome)
    return {
        tuple(job)
        for job in outcome["planned"]
        if tuple(job) not in moving and not job[0].startswith((FOLLOWS, PREPARE))
    }


def followers(outcome: dict[str, Any]) -> set[Job]:
    """The jobs that are planned only because one before them runs.

    Snakemake cannot know what that one will give; when nothing in a key is otherwise, the store gives the results back.
    """
    own = {
        job_of(unit) for unit, why in outcome["stale"].items() if not all(each.startswith("follows ") for each in why)
    }
    return {tuple(job) for job in outcome["planned"]} - own


def reason(outcome: dict[str, Any]) -> str:
    """Why jobs that move nothing are planned after this change."""
    return next((text for pattern, text in REASONS.items() if re.search(pattern, outcome["name"])), "")


def summary(outcomes: list[dict[str, Any]], seconds: float) -> str:
    """What to print: a line per change, then the faults."""
    lines = [
        f"{each['name']}: {len(each['planned'])} jobs, {len(moved(each))} results move, {len(too_many(each))} too many"
        + (f", refused: {each['refused'].splitlines()[0][:100]}" if each["refused"] else "")
        for each in outcomes
    ]
    wrong = [f"{each['name']}: {fault}" for each in outcomes for fault in faults(each)]
    return "\n".join([*lines, *wrong, f"{len(outcomes)} changes, {len(wrong)} faults, {seconds:.0f} s"])


def table(outcomes: list[dict[str, Any]]) -> str:
    """The table of docs/provenance.md; changes of one file with the same outcome share a row."""
    rows: dict[tuple, list[str]] = {}
    for each in outcomes:
        many = too_many(each)
        redone = {tuple(job) for job in each["planned"] if not job[0].startswith(FOLLOWS)}
        moving = {job_of(unit) for unit in moved(each)}
        what = "refused, with a message" if each["refused"] else _jobs(redone & moving) or "nothing"
        after = len(redone - moving - many)
        row = (each["where"], what, after, _jobs(many), reason(each) if many else "")
        rows.setdefault(row, []).append(each["what"])
    lines = [
        "| change in | of | made again, and moved | jobs that follow and move nothing | made again for nothing | why |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {where} | {', '.join(names)} | {what} | {after} | {many} | {why} |"
        for (where, what, after, many, why), names in rows.items()
    ]
    return "\n".join(lines)


def _jobs(jobs: Iterable[Job]) -> str:
    """The rules of some jobs in few words."""
    rules = sorted({rule for rule, _ in jobs})
    figures = [rule for rule in rules if rule.startswith("figure_")]
    if len(figures) > 2:
        rules = [rule for rule in rules if rule not in figures] + [f"{len(figures)} figures"]
    return ", ".join(rules)


def write_docs(outcomes: list[dict[str, Any]], page: Path, of: str = "smoke") -> None:
    """Put the table of a study between its two marks. Raises `OffcourseError` when the page has none."""
    write_between(page, *MARKS[of], table(outcomes))
