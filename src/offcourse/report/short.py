"""The first screen of a report: claims, numbers, what reading one token early does, how sure that is, how to check it.

Below it stand the contents by question: which parts of the page answer which.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from offcourse.analysis.off_by_one import BREAKS, EARLY
from offcourse.claims import verdicts
from offcourse.claims.findings import Findings

# What each table of verdicts shows, by its name.
_ALONE = (
    " Harm is not measured there, so no verdict says that a method works. Settings are chosen without the items that "
    "they are reported on."
)
VERDICTS = {
    "verdicts": "What each method gains on items that had no part in the choice of its setting, beside luck and "
    "prompting, and what it costs elsewhere.",
    "verdicts_function_vectors": f"Function vectors beside luck and prompting.{_ALONE}",
    "verdicts_task_vectors": "Task vectors beside no vector and demonstrations, on prompts of their own. Harm is not "
    "measured there, so no verdict says that a method works.",
    "verdicts_questions": f"What steering changes on question sets, beside an instruction.{_ALONE}",
}
# Question and the sections, tables and figures that answer it, in the page's order.
CONTENTS = (
    ("What did the released code do differently?", ("off-by-one",)),
    ("Which claims of the paper hold?", ("claims", "comparison")),
    (
        "What steers each model, and how sure is that?",
        ("steering", *VERDICTS, "figure_gain_harm", "certainty", "table_methods_questions", "figure1"),
    ),
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
    "verdicts": "Verdicts on steering methods",
    "verdicts_function_vectors": "Verdicts on function vectors",
    "verdicts_task_vectors": "Verdicts on task vectors",
    "verdicts_questions": "Verdicts on question sets",
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
        found.append(("What reading one token early does", _shift(findings, early, models)))
    found.append(("How sure that is", _sure(claims, findings, models, study)))
    flag = "" if study else " --published"
    own = f", and add `--configfile {configfile}`" if configfile else ""
    run = f" Run them in the checkout where the study ran, after `source .venv/bin/activate`{own}." if study else ""
    shown = "table3" if "table3" in audits else next(iter(audits), "report")
    cell = ' With `--row "FV search" --column 0.90` it also computes one number again.' if shown == "table3" else ""
    found.append(
        (
            "How to check",
            f"`offcourse audit {shown}{flag}` hashes every file behind {_named(shown)} again.{cell} "
            f"`offcourse audit --all{flag}` checks the whole page. Each table and figure names its own command.{run}",
        )
    )
    return found


def _named(part: str) -> str:
    """A table or figure as a sentence names it."""
    number = part.removeprefix("table")
    return f"Table {number}" if number.isdigit() else f"`{part}`"


def _claimed(claims: Sequence[Mapping[str, Any]]) -> str:
    literal = Counter(row["literal"] for row in claims)
    return (
        "Steering methods are unreliable: what steers one model or task fails on another. "
        f"This project takes {len(claims)} claims from the paper. Of the paper’s own models, by the numbers "
        f"that its authors released, {literal[verdicts.TRUE]} claims are true and {literal[verdicts.FALSE]} are not; "
        "for "
        f"{literal[verdicts.NO_DATA]} there is no number."
    )


def _own(claims: Sequence[Mapping[str, Any]], steered: Sequence[Mapping[str, Any]], models: int, study: bool) -> str:
    side = "ours" if study else "release"
    judged = Counter(row["verdicts"][side] for row in claims)
    said = ", ".join(f"“{word}” for {judged[word]}" for word in verdicts.VERDICTS if judged[word])
    parts = []
    for method in dict.fromkeys(row["method"] for row in steered):
        mine = [row for row in steered if row["method"] == method]
        works = sum(row["verdict"] == "works" for row in mine)
        parts.append(f"{method} {works} of {len(mine)}")
    pairs = (
        f"A method steers a pair of a model and a task if accuracy rises beyond chance: {', '.join(parts)} pairs. "
        if parts
        else ""
    )
    where = f"By the {_many(models)} here" if study else "By the authors’ released results"
    return f"{pairs}Does a claim carry over to models that the paper did not run? {where}: {said} claims."


def _many(models: int) -> str:
    return "one model" if models == 1 else f"{models} models"


def _of_random(random: int, models: int) -> str:
    """A warning of numbers that say nothing about any model that someone uses."""
    if not random:
        return ""
    which = "The model here has" if random == models == 1 else f"{random} of the {models} models here have"
    return f" {which} random weights, learned from nothing: the numbers only show that everything runs."


def _shift(findings: Findings, early: Sequence[str], models: int) -> str:
    counts = {bos: findings.count(bos) for bos in (True, False)}
    here = (
        f" In this study heads are read early for {len(early)} of {models} models: {', '.join(early)}." if early else ""
    )
    return (
        "To build a function vector, the authors’ code reads attention heads one token early where the tokenizer "
        f"adds a BOS (beginning-of-sequence) token: for {counts[True]} of the {sum(counts.values())} models in their "
        "results. "
        f"The best function vectors of these models give back {findings.mean(True):.2f} of few-shot accuracy on "
        f"average, those of the other {counts[False]} models {findings.mean(False):.2f}.{_tested(findings)}{here}"
    )


def _tested(findings: Findings) -> str:
    """What the test on the same models found, as far as it says anything."""
    telling = findings.telling[findings.telling["vector"] == EARLY]
    if telling.empty:
        return ""
    broken = int((telling["verdict"] == BREAKS).sum())
    return (
        f" In a test on {findings.runs['model'].nunique()} small models that the authors did not run, reading early "
        f"breaks {broken} of the {len(telling)} function vectors that work at the last token."
    )


def _sure(claims: Sequence[Mapping[str, Any]], findings: Findings | None, models: int, study: bool) -> str:
    parts = []
    if findings is not None:
        parts.append(
            "The two groups in the release are different models, so their difference alone proves no cause. "
            f"{_causal(findings)} How much of the difference the early token explains, only a rerun of the "
            f"{findings.count(True)} models at both tokens settles."
        )
    few = sum(row["verdicts"]["ours"] == verdicts.TOO_FEW for row in claims) if study else 0
    if few:
        parts.append(
            f"{_many(models).capitalize()} here {'is' if models == 1 else 'are'} too few to judge {few} of the "
            f"{len(claims)} claims for models in general."
        )
    parts.append("A verdict needs the whole 95 % interval of its number.")
    return " ".join(parts)


def _causal(findings: Findings) -> str:
    """On how many models the test rests: those with a function vector that works at the last token."""
    if findings.runs.empty:
        return "The test that reads the same models at both tokens is not run yet."
    models, telling = (frame["model"].nunique() for frame in (findings.runs, findings.telling))
    silent = (
        f", and only {telling} of them {'has' if telling == 1 else 'have'} a function vector that works at the last "
        "token"
        if telling < models
        else ""
    )
    return (
        "The test reads the same models at both tokens with everything else equal, so it shows a cause; but its "
        f"{models} models are small{silent}."
    )
