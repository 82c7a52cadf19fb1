"""Writing the report: one HTML file that needs no network."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from offcourse.analysis import steering_summary as judged
from offcourse.analysis.results import read_model
from offcourse.analysis.sources import PERCENT
from offcourse.analysis.view import ResultsView
from offcourse.claims.findings import FOLDER, read_findings
from offcourse.claims.sensitivity import BOS, SENSITIVITY
from offcourse.data.names import STEERING
from offcourse.data.prompts import reads_early
from offcourse.data.targets import COMMON, is_common
from offcourse.files import write_whole
from offcourse.report import claims as report_claims
from offcourse.report import methods as report_methods
from offcourse.report import off_by_one, pictures, short
from offcourse.report.templates import environment_of
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS, FACT_CELLS, OFF_BY_ONE
from offcourse.steering import steering
from offcourse.study.labels import Labels, task_label
from offcourse.study.protocol import Protocol
from offcourse.tables import writing

# The question that the report gives for each method.
QUESTIONS = {
    "function_vectors": "How much of what a model learns from examples in its prompt does a function vector give back "
    "without them?",
    "task_vectors": "How much does a task vector give back?",
    "dola": "Is a model more truthful when its last layer is contrasted with an earlier one (DoLa)?",
    "logit_lens": "At which layer does a model come to prefer its answer, and which layers change little?",
    **{name: steering(name).question for name in STEERING},
}
METHODS = tuple(QUESTIONS)
# (path of a result per model and unit, its content, methods of which a study must have one).
FILES = (
    ("prompts/{task}", "every prompt, as text and token ids", ("function_vectors", "task_vectors")),
    ("icl/{task}", "hit or miss by number of shots and item", ("function_vectors",)),
    ("cie/{task}", "causal indirect effect by trial, layer and head", ("function_vectors",)),
    ("fv_sweep/{task}", "hit or miss by number of heads, strength, layer and item", ("function_vectors",)),
    ("fv_controls/{task}", "hit or miss with control vectors, if the study has controls", ("function_vectors",)),
    ("tv_icl/{task}", "hit or miss without a task vector by number of shots and item", ("task_vectors",)),
    ("tv_sweep/{task}", "hit or miss with a task vector by split, layer and item", ("task_vectors",)),
    ("dola/{questions}", "score of every answer by bucket, alpha and variant", ("dola",)),
    ("logit_lens/{questions}", "probabilities by question and layer", ("logit_lens",)),
    ("apathy/{questions}", "apathy of both sub-layers by question and layer", ("logit_lens",)),
    *((f"{name}_sweep/{{task}}", "hit or miss by strength, layer and item", (name,)) for name in STEERING),
    *(
        (f"{name}_side_effects/{{task}}", "neutral passages and other tasks with steering and without", (name,))
        for name in STEERING
    ),
    *(
        (f"{name}_answers/{{questions}}", "score of every answer by strength and layer", (name,))
        for name in STEERING
        if steering(name).on_questions
    ),
)
# Settings with a default that depends on other settings; the report shows them only if the study sets them.
OPTIONAL = ("models", "tasks", "dtype", "large")


def write(
    view: ResultsView,
    study: Mapping[str, Any] | None,
    figures: Sequence[Mapping[str, Any]],
    tables: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    out: Path,
    audits: Mapping[str, Mapping[str, str]] | None = None,
    comparison: pd.DataFrame | None = None,
    released: Path | None = None,
    made: Sequence[Mapping[str, Any]] = (),
    budget: int = pictures.BUDGET,
) -> None:
    """Write the report of a study to `out`; of the authors' release alone if `study` is None.

    figures, tables: entries of `graph.catalogue`; their paths are relative to the folder of `view`, the report's links
        to them are relative to `out`. Of the sweep pages, the best and the worst recovered task of each model are shown
        and the others are linked.
    audits: {id of a table or figure: `command` that audits it, fingerprint of its `code`, its `state` now}.
    comparison: the printed numbers beside the release's and the study's (`report.claims.COMPARED`). released: folder of
        the release's results. Both are None if the release was not fetched.
    made: the entries `made` of the study's records. budget: bytes of pictures in the page.
    """
    out, audits = Path(out), audits or {}
    environment = environment_of(Path(__file__).parent)
    environment.filters["groupby_run"] = lambda rows, key: [
        (name, list(group)) for name, group in groupby(rows, key=lambda row: row[key])
    ]
    labels = view.labels()
    environment.filters |= {
        "task_name": labels.unit,
        "model_label": labels.model,
        "row_label": labels.row,
        "alt_text": lambda picture: _alt(picture, labels),
        "marked": _marked,
        "claims_linked": _claims_linked,
    }
    steered, early = _steered(view), _early(view, study, models)
    columns, compared = report_claims.comparison_rows(comparison, study is not None)
    claims = report_claims.claim_rows(view, tables, figures, released, audits, study is not None)
    section = _off_by_one(view, study, early, models)
    findings = read_findings(view.tracked(FOLDER)) if section else None
    facts = [_model(view, model) for model in models]
    random = sum(model.get("source") == "random" for model in facts) if study else 0
    own = study is not None and study["study"] != "default"
    configfile = f"results/{study['study']}/ro-crate/study.yaml" if own else ""
    page = environment.get_template("report.html.j2").render(
        configfile=configfile,
        study=study,
        questions=[QUESTIONS[method] for method in study.get("methods", METHODS)] if study else [],
        settings=settings(study) if study else [],
        methods=report_methods.paragraphs(study) if study else [],
        versions=report_methods.versions(made),
        models=facts,
        off_by_one=section,
        early=[labels.model(name) for name in early],
        early_names=early,
        short=short.answers(
            claims,
            steered,
            findings,
            [labels.model(name) for name in early],
            section["of"] if section else len(models),
            study is not None,
            audits,
            random,
            configfile,
        ),
        contents=short.contents(_parts(study, section, steered, view, tables, figures, compared)),
        note=off_by_one.NOTE,
        touched=off_by_one.TOUCHED,
        claims=claims,
        claims_summary=report_claims.summary(claims, study is not None),
        sides=[side for side in report_claims.SIDES.items() if study or side[0] != "ours"],
        compared_by=columns,
        compared=compared,
        steered=steered,
        common=COMMON,
        certainty=_printed(view, "certainty"),
        verdicts=[
            (name, short.NAMES[name], text, _printed(view, name))
            for name, text in short.VERDICTS.items()
            if f"tables/{name}.csv" in view
        ],
        switches=_switches(view),
        summaries=_summaries(steered),
        tables=[_table(view, table, out, labels) for table in tables],
        figures=pictures.figures(view, figures, out, budget),
        task_label=task_label,
        audits=audits,
        files=files(study) if study else [],
    )
    write_whole(out, lambda path: path.write_text(page, encoding="utf-8"))


def _alt(picture: Mapping[str, Any], labels: Labels) -> str:
    """The text in the place of a picture, with the labels of what it shows."""
    text = picture["alt"]
    for part, label in (("model", labels.model), ("task", labels.unit), ("questions", labels.unit)):
        if picture[part]:
            text = text.replace(f"{{{part}}}", label(picture[part]))
    return text


def _marked(text: str) -> Markup:
    """A text whose commands stand between backticks, as HTML."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else Markup("{}").format(part)
        for number, part in enumerate(parts)
    )


def _claims_linked(text: str) -> Markup:
    """Verdicts as tables/sensitivity has them (`name: verdict`), each name a link to its claim on the page."""
    parts = [part.partition(":") for part in text.split("; ") if part]
    linked = [
        Markup('<a href="#claim-{}">{}</a>{}').format(name, name, colon + verdict) if colon else Markup.escape(name)
        for name, colon, verdict in parts
    ]
    return Markup("; ").join(linked)


def _parts(
    study: Mapping[str, Any] | None,
    section: Mapping[str, Any] | None,
    steered: Sequence[Mapping[str, Any]],
    view: ResultsView,
    tables: Sequence[Mapping[str, Any]],
    figures: Sequence[Mapping[str, Any]],
    compared: Sequence[Sequence[str]],
) -> list[tuple[str, str]]:
    """(id, title) of every part of the page, in its order."""
    found = [("off-by-one", off_by_one.TITLE)] if section else []
    found.append(("claims", ""))
    found += [("steering", "")] if steered else []
    found += [(name, "") for name in (*short.VERDICTS, "certainty", "sensitivity") if f"tables/{name}.csv" in view]
    found += [(table["id"], table["title"]) for table in tables]
    drawn = {each["figure"]: each["title"] for each in figures if each["figure"] != "figure_off_by_one"}
    found += [*drawn.items(), *([("comparison", "")] if compared else [])]
    return found + [(name, "") for name in ("models", "methods", "settings", "numbers") if study]


def files(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(path, content) of the study's results per model."""
    own = set(study.get("methods", METHODS))
    return [(f"{{model}}/{path}.parquet", text) for path, text, methods in FILES if own & set(methods)]


def _steered(view: ResultsView) -> list[dict[str, Any]]:
    """The rows of tables/steering_summary.parquet, each with two more entries; [] if the study lacks the table.

    recovery: steered / few-shot accuracy. common: whether too many of the task's answers begin with one token.
    """
    path = "tables/steering_summary.parquet"
    if path not in view:
        return []
    rows = read_parquet(view / path, judged.SUMMARY).to_dict("records")
    return [
        row
        | {
            "recovery": row["steered"] / row["few_shot"] if row["few_shot"] > 0 else math.nan,
            "common": is_common(row["chance"], row["items"]),
        }
        for row in rows
    ]


def _early(view: ResultsView, study: Mapping[str, Any] | None, models: Sequence[str]) -> list[str]:
    """The models whose heads are read one token early, of those with function vectors."""
    if study is None:
        return [name for name, adds_bos in (view.known("adds_bos") or {}).items() if reads_early("as_coded", adds_bos)]
    if "function_vectors" not in study.get("methods", METHODS):
        return []
    of_vectors = study["function_vectors"].get("models") or models
    position = Protocol.parse(study["protocol"]).head_read_position
    return [name for name in models if name in of_vectors and reads_early(position, read_model(view, name)["adds_bos"])]


def _off_by_one(
    view: ResultsView, study: Mapping[str, Any] | None, early: Sequence[str], models: Sequence[str]
) -> dict[str, Any] | None:
    """The section on what reading one token early moves; none in a study without function vectors."""
    if study and "function_vectors" not in study.get("methods", METHODS):
        return None
    path, findings = "tables/off_by_one.parquet", read_findings(view.tracked(FOLDER))
    own = read_parquet(view / path, OFF_BY_ONE) if path in view else None
    if study is None:
        return off_by_one.section(findings, own, early, len(view.known("adds_bos") or ()))
    labels = [view.cell("models", "label", name) for name in early]
    return off_by_one.section(findings, own, labels, len(study["function_vectors"].get("models") or models))


def _printed(view: ResultsView, name: str) -> dict[str, Any] | None:
    """`columns`, `rows` and `notes` of a printed table without LaTeX form; None if the study lacks the table."""
    if f"tables/{name}.csv" not in view:
        return None
    path = view / f"tables/{name}.csv"
    form = writing.read_csv(path)
    lines = path.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    notes = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    # Beyond a thousandth the digits of a p-value say more than its model of chance can.
    for name in (name for name in form if name.startswith("p (")):
        form[name] = ["< 0.001" if text and float(text) < 0.001 else text for text in form[name]]
    return {"columns": list(form.columns), "rows": form.to_numpy().tolist(), "notes": notes}


def _switches(view: ResultsView) -> list[dict[str, Any]]:
    """tables/sensitivity.parquet by switch and change, what all rows of a group share said once; [] without the table.

    claims: those that every row with a number of a table repeats. `claims` of a row: those of the row alone.
    """
    path = "tables/sensitivity.parquet"
    if path not in view:
        return []
    rows, groups = read_parquet(view / path, SENSITIVITY).to_dict("records"), []
    for (switch, change), mine in groupby(rows, key=lambda row: (row["switch"], row["change"])):
        mine = list(mine)
        notes, said = list(dict.fromkeys(row["note"] for row in mine)), [row["claims"] for row in mine]
        shared = {text for text in said if text and said.count(text) > 1}
        known = [row for row in mine if row["row"]]
        groups.append(
            {
                "switch": switch,
                "change": change,
                "note": "; ".join(filter(None, notes)),
                # This group holds some models against the others, so that nothing was before or after.
                "sides": ("with BOS", "without") if any(BOS in note for note in notes) else (),
                "claims": [text for text in dict.fromkeys(said) if text in shared],
                "rows": [row | {"claims": "" if row["claims"] in shared else row["claims"]} for row in known],
            }
        )
    return groups


def _summaries(steered: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per model and method: number of tasks, tasks that the method works on, and its layers in % of the depth."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in steered:
        key = row["model"], row["method"]
        new = {"model": key[0], "method": key[1], "of": 0, "works": [], "harms": [], "depths": []}
        one = found.setdefault(key, new)
        one["of"] += 1
        if row["verdict"] in (judged.WORKS, judged.HARMS):
            one[row["verdict"]].append(row["on"])
        if row["verdict"] == judged.WORKS and not math.isnan(row["layer"]):
            one["depths"].append(round(100 * row["layer"] / row["layers"]))
    order = list(dict.fromkeys(row["model"] for row in steered))
    return sorted(found.values(), key=lambda one: order.index(one["model"]))


def settings(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The study's keys and values as text, nested keys joined by a dot.

    The section `resources`, which describes a machine, and settings of methods that are not run are left out.
    """
    hidden = {"resources", *METHODS} - set(study.get("methods", METHODS))
    lines = []
    for key, value in study.items():
        if key in hidden:
            continue
        if isinstance(value, Mapping):
            said = {inner: item for inner, item in value.items() if item is not None or inner not in OPTIONAL}
            lines += [(f"{key}.{inner}", _text(item)) for inner, item in said.items()]
        else:
            lines.append((key, _text(value)))
    return lines


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    return "not set" if value is None else str(value)


def _model(view: ResultsView, model: str) -> dict[str, Any]:
    """The model's facts, and the names of self-checks that the model passed and failed."""
    facts = read_model(view, model) | {"label": view.cell("models", "label", model)}
    checks = facts["checks"].items()
    return {
        **facts,
        "passed": [name for name, check in checks if check["passed"]],
        "failed": [name for name, check in checks if not check["passed"]],
    }


def _table(view: ResultsView, table: Mapping[str, Any], out: Path, labels: Labels) -> dict[str, Any]:
    """What the page shows of a table of the catalogue: its cells with their intervals, and its notes with labels."""
    path = view / table["parquet"]
    cells = read_parquet(path, CELLS, FACT_CELLS)
    own = table["id"] == "table3"
    form = writing.read_csv(path.with_suffix(".csv"))
    form = form.set_index(form.columns[0])
    known = cells[cells["unit"] == PERCENT] if own else cells
    known = known.set_index(["row", "column"])
    rows = [
        (row, [(form.loc[row, column], _interval(known, row, column)) for column in form.columns]) for row in form.index
    ]
    lines = path.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    return {
        **table,
        "columns": [f"≥ {column}" if own else column for column in form.columns],
        "rows": rows,
        "notes": [report_claims.labelled(line.removeprefix("- "), labels) for line in lines if line.startswith("- ")],
        "links": {suffix: pictures.link(path.with_suffix(f".{suffix}"), out) for suffix in writing.SUFFIXES},
    }


def _interval(cells: pd.DataFrame, row: str, column: str) -> str:
    """The 95 % interval of a cell as text; "" for a cell without an interval."""
    if (row, column) not in cells.index:
        return ""
    cell = cells.loc[(row, column)]
    places = writing.digits(cell["n"], 3)
    ends = "{:.0f}–{:.0f}%" if cell["unit"].startswith("%") else f"{{:.{places}f}}–{{:.{places}f}}"
    return "" if pd.isna(cell["ci_low"]) else ends.format(cell["ci_low"], cell["ci_high"])
