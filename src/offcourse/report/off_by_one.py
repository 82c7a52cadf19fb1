"""What the released code did differently when it read heads, and what that moves: for the report and docs/findings.md.

The sentences are made from the tracked tables (`claims.findings`), so that they change with the numbers.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from offcourse.analysis.off_by_one import BREAKS, EARLY, EARLY_HEADS, EARLY_MEANS, LAST, SILENT
from offcourse.claims.findings import Findings
from offcourse.claims.verdicts import read_claims
from offcourse.study.labels import task_label

TITLE = "What the released code did differently, and what it moves"
NOTE = "read one token early"
# Tables and figures with numbers of function vectors, which are built from what is read.
TOUCHED = ("certainty", "table3", "table_methods", "figure1", "figure3", "figure5", "figure9")
TOUCHED += ("figure13", "figure14", "figure15", "figure17")
RUN_COLUMNS = ("Model", "Task", "Seed", "Items", "Few-shot", "Last token", "One early", "Difference", "p (Holm)")
RUN_COLUMNS += ("Heads early", "Means early", "One token early")
RUNS_NOTE = (
    "Accuracies are of the best setting of the grid, with Wilson's 95% interval. The interval of a difference is a "
    "bootstrap over items in pairs that chooses both settings anew in every resample, so it can lie to one side of the "
    "difference, or begin at it; the verdicts rest on p."
)


def paragraphs(findings: Findings) -> list[tuple[str, str]]:
    """Heading and text: what was done, the comparison, the test, and what neither settles."""
    counts = {bos: findings.count(bos) for bos in (True, False)}
    return [
        (
            "What was done",
            "A function vector is built from mean outputs of attention heads over prompts. Where the tokenizer adds a "
            "BOS (beginning-of-sequence) token by itself, the released code reads these outputs at the second-to-last "
            "token of a prompt, and does everything else at the last: it labels tokens without the BOS and holds the "
            "labels against tokens "
            f"with it. That is so for {counts[True]} of the {sum(counts.values())} released models (which tokenizers "
            "add a BOS was typed by hand for these models, not checked).",
        ),
        (
            "Comparison between models",
            f"In the released results, the {counts[True]} models that are read one token early recover "
            f"{_share(findings.mean(True))} of few-shot accuracy at their best setting, averaged over tasks and "
            f"models; the other {counts[False]} recover {_share(findings.mean(False))}. {_claims(findings)} The two "
            "groups "
            "are different models (Llama, Mistral, Amber and Gemma 2 against GPT-J, Pythia, Qwen, OLMo and Falcon 3), "
            "so "
            "the comparison alone does not say why they differ.",
        ),
        ("Test on the same models, which is causal", _test(findings)),
        (
            "What only a rerun settles",
            "The test is on models of 0.1 to 0.6 billion parameters from 4-bit to 8-bit files, with a smaller grid, "
            "and released models that are read one token early still recover about half. So the size of the effect "
            "does not carry over. How much of the difference between the released models is due to the token that is "
            f"read, only a rerun of the {counts[True]} models at both tokens settles: `studies/paper.yaml` has it, as "
            "the control `read_position`.",
        ),
    ]


def _claims(findings: Findings) -> str:
    """Which verdicts differ between the groups, as the release's table of switches has them."""
    words = {claim.name: claim.claim for claim in read_claims()}
    differ = []
    for text in findings.by_bos["claims"]:
        for judged in filter(None, text.split("; ")):
            name, _, sides = judged.partition(": ")
            one, other = (side.rsplit(" (", 1)[0] for side in sides.split(", "))
            if one != other:
                differ.append(
                    f"“{words[name].rstrip('.')}” {one} on the models read one token early and {other} on the others"
                )
    if not differ:
        return "Every claim about function vectors in Table 3 has one verdict on both groups."
    return f"Of the claims about function vectors in Table 3, these get different verdicts: {'; '.join(differ)}."


def _test(findings: Findings) -> str:
    if findings.runs.empty:
        return (
            "Not run for this version yet: `make CONFIG=studies/off-by-one.yaml` reads three models that the authors "
            "did not run at both tokens, everything else equal, and `make findings` puts the numbers here."
        )
    runs = by_run(findings.runs)
    telling = [run for run in runs if run[LAST].verdict != SILENT]
    what = (
        f"{findings.runs['model'].nunique()} models that the authors did not run were read at both tokens, everything "
        f"else equal ({len(runs)} runs: a model, a task and a seed of the build prompts each). "
    )
    if not telling:
        return what + "In none of them does the vector work at the last token, so that the test says nothing."
    broken = {
        vector: sum(run[vector].verdict == BREAKS for run in telling) for vector in (EARLY, EARLY_HEADS, EARLY_MEANS)
    }
    ends = {vector: [run[vector].accuracy for run in telling] for vector in (LAST, EARLY)}
    spans = {vector: f"{min(values):.2f} to {max(values):.2f}" for vector, values in ends.items()}
    return what + (
        f"In {len(telling)} runs, on {findings.telling['model'].nunique()} of the models, the vector works at the last "
        f"token, and reading one token early breaks it in {broken[EARLY]} of them (paired permutation tests, Holm's "
        f"correction): accuracy is {spans[LAST]} at the last token and {spans[EARLY]} one token early. Reading only "
        f"the means early breaks it in {broken[EARLY_MEANS]}, choosing only the heads early in {broken[EARLY_HEADS]}. "
        f"Where the vector does not work at the last token either ({len(runs) - len(telling)} runs), the test says "
        "nothing. Two seeds of one model and task share their items, so they are no independent evidence."
    )


def by_run(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of every run by their vector."""
    runs = frame.groupby(["model", "task", "seed"], sort=False)
    return [{row.vector: row for row in mine.itertuples()} for _, mine in runs]


def run_rows(frame: pd.DataFrame) -> list[list[str]]:
    """A line of texts per run, under `RUN_COLUMNS`."""
    rows = []
    for run in by_run(frame):
        last, early = run[LAST], run[EARLY]
        halves = [
            f"{_share(run[half].accuracy)} (p {_p(run[half].p_holm)})" if half in run else "–"
            for half in (EARLY_HEADS, EARLY_MEANS)
        ]
        rows.append(
            [
                last.label,
                task_label(last.task),
                str(last.seed),
                str(last.items),
                _share(last.few_shot),
                *(f"{_share(row.accuracy)} [{row.low:.2f}, {row.high:.2f}]" for row in (last, early)),
                f"{early.difference:.2f} [{early.difference_low:.2f}, {early.difference_high:.2f}]",
                _p(early.p_holm),
                *halves,
                # The part after the colon is the same in every such row, so a note says it once.
                early.verdict.split(":")[0],
            ]
        )
    return rows


def as_markdown(findings: Findings) -> str:
    """The finding as the made part of docs/findings.md: the paragraphs, the runs, and the claims on either group."""
    said = [f"**{heading}.** {text}\n" for heading, text in paragraphs(findings)]
    runs = _table(RUN_COLUMNS, run_rows(findings.runs))
    split = [
        [
            row.row,
            row.column,
            f"{row.before:.1f} % [{row.before_low:.0f}, {row.before_high:.0f}]",
            f"{row.after:.1f} % [{row.after_low:.0f}, {row.after_high:.0f}]",
            row.claims or "–",
        ]
        for row in findings.by_bos.itertuples()
    ]
    [change] = findings.by_bos["change"].unique()
    columns = ("Table 3", "at least", "with BOS", "without", "claims of resources/claims.tsv that rest on it")
    parts = ["## The test, run by run\n", runs, f"{RUNS_NOTE}\n", f"## The release, {change}\n", _table(columns, split)]
    return "\n".join([*said, *parts])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def section(findings: Findings, own: pd.DataFrame | None, early: Sequence[str], models: int) -> dict[str, Any]:
    """What the report shows. own: the runs of its study, None without the control `read_position`.

    early: labels of the models whose heads its study reads one token early. models: how many it has.
    """
    runs = findings.runs if own is None else own
    here = (
        f"In this study heads are {NOTE} for {len(early)} of {models} models: {', '.join(early)}."
        if early
        else "In this study the heads of every model are read at the last token."
    )
    return {
        "title": TITLE,
        "paragraphs": paragraphs(findings),
        "here": here,
        "of": models,
        "released": f"{findings.count(True)} of the {findings.count(True) + findings.count(False)} released models",
        "whose": "the study off-by-one" if own is None else "this study",
        "columns": RUN_COLUMNS,
        "rows": run_rows(runs),
        "note": RUNS_NOTE,
    }


def _share(value: float) -> str:
    return f"{value:.2f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
