"""The first screen of a report: what is claimed and found, what the shift does, how sure that is, how to check it.

Below it stand the contents by question: which parts of the page answer which.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from offcourse.analysis.off_by_one import BREAKS, EARLY
from offcourse.claims import verdicts
from offcourse.claims.findings import Findings

# Question and the sections, tables and figures that answer it, in the page's order.
CONTENTS = (
    ("What did the released code do differently?", ("off-by-one",)),
    ("Which claims of the paper hold?", ("claims", "comparison")),
    ("What steers each model, and how sure is that?", ("steering", "certainty", "figure1")),
    ("How much do function and task vectors give back?", ("table3", "figure3", "table_methods")),
    (
        "On what does a function vector depend?",
        ("figure5", "figure17", "figure9", "figure11", "figure13", "figure14", "figure15"),
    ),
    ("And a task vector?", ("figure18", "figure16")),
    ("Does DoLa make a model more truthful?", tuple(f"table{number}" for number in (1, 2, 4, 5, 6, 7, 8, 9, 10))),
    ("At which layer does an answer appear?", ("figure2", "figure8")),
    ("What does each choice of the protocol move?", ("sensitivity",)),
    ("How was this made?", ("models", "table11", "table12", "methods", "settings", "numbers")),
)
REST = "What else is here?"
NAMES = {
    "off-by-one": "One token early",
    "claims": "Claims",
    "comparison": "Printed numbers",
    "steering": "What steers each model",
    "certainty": "How sure the best is",
    "sensitivity": "Protocol switches",
    "models": "Models",
    "methods": "Methods",
    "settings": "Settings",
    "numbers": "Files",
}


def contents(parts: Sequence[tuple[str, str]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(question, [(id, name)]) of what a page has. parts: (id, title) of everything on it, in its order."""
    left = {part: NAMES.get(part) or title.split(".")[0] for part, title in parts}
    found = []
    for question, answers in CONTENTS:
        wanted = [each for each in answers if each in left]
        if wanted:
            found.append((question, [(each, left.pop(each)) for each in wanted]))
    return [*found, (REST, list(left.items()))] if left else found


def answers(
    claims: Sequence[Mapping[str, Any]],
    steered: Sequence[Mapping[str, Any]],
    findings: Findings | None,
    early: Sequence[str],
    models: int,
    study: bool,
    audits: Collection[str],
    random: int = 0,
    configfile: str = "",
) -> list[tuple[str, str]]:
    """(question, text) of the first screen; a command stands between backticks.

    claims: from `report.claims.claim_rows`. steered: rows of tables/steering_summary. findings: None for a study
    without function vectors. early: labels of the models whose heads are read one token early, of `models`.
    random: how many of the models have random weights. configfile: what commands on another study than the default
    one name.
    """
    found = [
        ("What the paper claims", _claimed(claims)),
        ("What the data here say", _own(claims, steered, models, study) + _of_random(random, models)),
    ]
    if findings is not None:
        found.append(("What the shift does", _shift(findings, early, models)))
    found.append(("How sure that is", _sure(claims, findings, models, study)))
    flag = "" if study else " --published"
    run = (
        f" Run them where the study ran{f', with `--configfile {configfile}`' if configfile else ''}." if study else ""
    )
    shown = "table3" if "table3" in audits else next(iter(audits), "report")
    cell = ' and one number by `--row "FV search" --column 0.90`' if shown == "table3" else ""
    found.append(
        (
            "How to check",
            f"`offcourse audit {shown}{flag}` hashes every file behind a table again{cell}; "
            f"`offcourse audit --all{flag}` checks the whole page. Each table and figure names its own command.{run}",
        )
    )
    return found


def _claimed(claims: Sequence[Mapping[str, Any]]) -> str:
    literal = Counter(row["literal"] for row in claims)
    return (
        "Steering methods are unreliable: what steers one model or task fails on another. "
        f"{len(claims)} single claims are taken from the paper; of its own models {literal[verdicts.TRUE]} are true by "
        f"the released numbers, {literal[verdicts.FALSE]} are not, and for {literal[verdicts.NO_DATA]} there is no "
        "number."
    )


def _own(claims: Sequence[Mapping[str, Any]], steered: Sequence[Mapping[str, Any]], models: int, study: bool) -> str:
    side = "ours" if study else "release"
    judged = Counter(row["verdicts"][side] for row in claims)
    said = ", ".join(f"{word} {judged[word]}" for word in verdicts.VERDICTS if judged[word])
    parts = []
    for method in dict.fromkeys(row["method"] for row in steered):
        mine = [row for row in steered if row["method"] == method]
        works = sum(row["verdict"] == "works" for row in mine)
        parts.append(f"{method} {works} of {len(mine)}")
    pairs = f"Pairs of a model and a task that a method steers: {', '.join(parts)}. " if parts else ""
    where = f"on {models} model{'' if models == 1 else 's'}" if study else "in the authors’ released results"
    return f"{pairs}The claims, carried over to other models, {where}: {said}."


def _of_random(random: int, models: int) -> str:
    """A warning of numbers that say nothing about any model that someone uses."""
    if not random:
        return ""
    which = "The model here has" if random == models == 1 else f"{random} of the {models} models here have"
    return f" {which} random weights, learned from nothing: the numbers only show that everything runs."


def _shift(findings: Findings, early: Sequence[str], models: int) -> str:
    counts = {bos: findings.count(bos) for bos in (True, False)}
    here = f" Here heads of {len(early)} of {models} models are read so." if early else ""
    return (
        f"In {counts[True]} of the {sum(counts.values())} released models attention heads are read one token early. At "
        f"their best these recover {findings.mean(True):.2f} of few-shot accuracy by a function vector, the other "
        f"{counts[False]} recover {findings.mean(False):.2f}.{_tested(findings)}{here}"
    )


def _tested(findings: Findings) -> str:
    """What the test on the same models found, as far as it says anything."""
    telling = findings.telling[findings.telling["vector"] == EARLY]
    if telling.empty:
        return ""
    broken = int((telling["verdict"] == BREAKS).sum())
    return (
        f" On small models that the shift never touched, reading one token early breaks {broken} of the "
        f"{len(telling)} function vectors that work at the last token."
    )


def _sure(claims: Sequence[Mapping[str, Any]], findings: Findings | None, models: int, study: bool) -> str:
    parts = []
    if findings is not None:
        tested = (
            "the test on the same models is not run yet"
            if findings.runs.empty
            else (f"the test on the same models is on {findings.runs['model'].nunique()} small ones")
        )
        parts.append(
            f"The two groups are different models, so that they alone prove no cause; {tested}, and the size of the "
            "effect only a rerun at both tokens settles."
        )
    few = sum(row["verdicts"]["ours"] == verdicts.TOO_FEW for row in claims) if study else 0
    if few:
        parts.append(
            f"{few} claims are too few to say: {models} model{'s say' if models > 1 else ' says'} nothing about others."
        )
    parts.append("Numbers stand with their 95 % interval where they have one, and a verdict needs the whole interval.")
    return " ".join(parts)
