"""A report about the made-up study."""

from pathlib import Path

from offcourse.present import (
    contents,
    figure_shots,
    figure_sweep,
    report,
    table_certainty,
    table_facts,
    table_steering,
    tables,
)

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
    listed = [figure for figure in contents.figures(MODELS, TASKS) if figure["figure"] in ("figure17", "figure11")]
    for figure in listed:
        stem = (study / figure["svg"]).with_suffix("")
        if figure["figure"] == "figure17":
            figure_sweep.draw(study, figure["model"], figure["task"], stem)
        else:
            figure_shots.draw(study, MODELS, TASKS, stem)
    tables.table3(study, MODELS, TASKS, "maximum", study / "tables")
    table_facts.write(study, MODELS, study / "tables")
    table_steering.write(study, study / "tables", (MODELS, TASKS), ((), ()), ())
    table_certainty.write(study / "tables", study, (MODELS, TASKS), None, None, {})
    out = study / "report.html"
    report.write(study, STUDY, listed, contents.tables(), MODELS, out)
    first = out.read_bytes()
    report.write(study, STUDY, listed, contents.tables(), MODELS, out)
    assert out.read_bytes() == first
    return out, first.decode()
