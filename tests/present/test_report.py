import re
import subprocess
import sys
from pathlib import Path

import pytest

from offcourse.errors import OffcourseError
from offcourse.present import contents, figure_shots, figure_sweep, report, tables

MODELS, TASKS = ["tiny-0.1b", "middle-27b"], ["antonym", "country-capital", "present-past"]
STUDY = {
    "study": "made <up>",
    "models": MODELS,
    "tasks": TASKS,
    "methods": ["function_vectors"],
    "protocol": "as_published",
    "function_vectors": {"n_heads": [2, 16, 64], "trials": 5},
    "dola": {"alphas": [0.1]},
    "logit_lens": {"limit": None},
    "resources": {"gpus": 8},
}


@pytest.fixture(scope="module")
def page(study) -> tuple[Path, str]:
    """A report of the sweep pages and Figure 11, beside the study it is about."""
    listed = [figure for figure in contents.figures(MODELS, TASKS) if figure["figure"] in ("figure17", "figure11")]
    for figure in listed:
        stem = (study / figure["svg"]).with_suffix("")
        if figure["figure"] == "figure17":
            figure_sweep.draw(study, figure["model"], figure["task"], stem)
        else:
            figure_shots.draw(study, MODELS, TASKS, stem)
    tables.table3(study, MODELS, TASKS, "maximum", study / "tables")
    out = study / "report.html"
    report.write(study, STUDY, listed, contents.tables(), MODELS, out)
    first = out.read_bytes()
    report.write(study, STUDY, listed, contents.tables(), MODELS, out)
    assert out.read_bytes() == first
    return out, first.decode()


def test_it_needs_no_network_and_its_links_lead_somewhere(page):
    out, html = page
    assert "http:" not in html
    assert "https:" not in html
    links = re.findall(r'(?:href|src)="([^"]+)"', html)
    assert len(links) > 20
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in html
        elif not link.startswith("data:image/"):
            assert (out.parent / link).is_file()


def test_every_picture_has_a_text(page):
    images = re.findall(r"<img [^>]*>", page[1])
    assert len(images) == 2 * 2 + 1
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)


def test_the_best_and_the_worst_task_of_each_model_are_shown(page, study, share):
    for model, layers in (("tiny-0.1b", 6), ("middle-27b", 8)):
        peak = {}
        for task in TASKS:
            rows = report.read_parquet(study / f"figures/figure17/{model}_{task}.parquet", figure_sweep.NUMBERS)
            assert len(rows) == 9 * layers
            peak[task] = rows["accuracy"].max() / share(study, f"{model}/icl/{task}.parquet", shots=5)
        best, worst = max(peak, key=peak.get), min(peak, key=peak.get)
        assert f"{model}, best recovered task: {report.task_label(best)}" in page[1]
        assert f"{model}, worst recovered task: {report.task_label(worst)}" in page[1]
        (other,) = set(TASKS) - {best, worst}
        assert f"{model}: {report.task_label(other)}</a> {100 * peak[other]:.0f}%" in page[1]


def test_table_models_and_settings_are_there(page, study):
    html = page[1]
    for line in (study / "tables" / "table3.csv").read_text().splitlines()[1:]:
        assert all(f">{cell}<" in html for cell in line.split(","))
    assert "Tiny 0.1b" in html
    assert "2 of 2 passed" in html
    assert "made &lt;up&gt;" in html
    assert "<td>2, 16, 64</td>" in html


def test_settings_leave_out_the_site_and_methods_that_are_not_run():
    keys = dict(report.settings(STUDY))
    assert keys["function_vectors.n_heads"] == "2, 16, 64"
    assert not [key for key in keys if key.startswith(("resources", "dola", "logit_lens"))]


def test_a_missing_picture_is_named(study):
    figures = [{**contents.figures(MODELS, TASKS)[-1], "svg": "figures/none.svg"}]
    with pytest.raises(OffcourseError, match=r"figures/none\.svg"):
        report.write(study, STUDY, figures, [], MODELS, study / "other.html")
    assert not (study / "other.html").exists()


def test_contents_list_every_file_once():
    figures = contents.figures(MODELS, TASKS)
    paths = [figure["svg"] for figure in figures]
    assert len(paths) == len(set(paths)) == 6 + 2 + 4
    assert "figures/figure17/tiny-0.1b_present-past.svg" in paths
    assert "figures/figure9/middle-27b.svg" in paths
    assert paths[-4:] == [f"figures/figure{number}.svg" for number in (11, 13, 14, 15)]


def test_contents_import_nothing_heavy():
    code = (
        "import sys, offcourse.present.contents; "
        "print([name for name in ('pandas', 'numpy', 'matplotlib', 'pandera') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_figure_module_imports_another():
    """Editing one figure redraws that one only."""
    folder = Path(contents.__file__).parent
    modules = sorted(path.stem for path in folder.glob("figure_*.py"))
    assert len(modules) == 9
    for module in modules:
        code = (folder / f"{module}.py").read_text()
        assert not [
            other for other in (*modules, "contents", "tables", "report") if re.search(rf"import .*\b{other}\b", code)
        ]
