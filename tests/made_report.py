"""A report about the made-up study."""

from pathlib import Path

from views import draw, view_of, write

from offcourse.graph import catalogue
from offcourse.report import page

MODELS, TASKS = ["tiny-0.1b", "middle-27b"], ["antonym", "country-capital", "present-past"]
STUDY = {
    "study": "made <up>",
    "models": MODELS,
    "tasks": TASKS,
    "methods": ["function_vectors"],
    "protocol": "as_published",
    "function_vectors": {
        "n_heads": [2, 16, 64],
        "strengths": [1.0, 4.0],
        "trials": 5,
        "shots": 10,
        "test_items": 50,
        "controls": [],
    },
    "dola": {"alphas": [0.1]},
    "logit_lens": {"limit": None},
    "resources": {"gpus": 8},
}


def write_report(study: Path) -> tuple[Path, str]:
    """Write a report of the sweep pages and Figure 11, beside the study it is about."""
    listed = [figure for figure in catalogue.figures(MODELS, TASKS) if figure["figure"] in ("figure17", "figure11")]
    for figure in listed:
        stem = (study / figure["svg"]).with_suffix("")
        draw(figure["figure"], study, stem, model=figure["model"], task=figure["task"], fv=(MODELS, TASKS))
    for rule in ("table3", "tables_facts", "steering_summary", "certainty"):
        write(rule, study, study / "tables", fv=(MODELS, TASKS))
    view = view_of("report", study, fv=(MODELS, TASKS))
    out = study / "report.html"
    page.write(view, STUDY, listed, catalogue.tables(), MODELS, out)
    first = out.read_bytes()
    page.write(view, STUDY, listed, catalogue.tables(), MODELS, out)
    assert out.read_bytes() == first
    return out, first.decode()
