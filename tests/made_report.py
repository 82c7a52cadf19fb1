"""A report about the made-up study."""

from pathlib import Path

from offcourse.figures import shots, sweep
from offcourse.graph import catalogue
from offcourse.report import page
from offcourse.tables import certainty, model_facts, steering_summary, table3

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
        if figure["figure"] == "figure17":
            sweep.draw(study, figure["model"], figure["task"], stem)
        else:
            shots.draw(study, MODELS, TASKS, stem)
    table3.table3(study, MODELS, TASKS, "maximum", study / "tables")
    model_facts.write(study, MODELS, study / "tables")
    steering_summary.write(study, study / "tables", (MODELS, TASKS), ((), ()), ())
    certainty.write(study / "tables", study, (MODELS, TASKS), None, None, {})
    out = study / "report.html"
    page.write(study, STUDY, listed, catalogue.tables(), MODELS, out)
    first = out.read_bytes()
    page.write(study, STUDY, listed, catalogue.tables(), MODELS, out)
    assert out.read_bytes() == first
    return out, first.decode()
