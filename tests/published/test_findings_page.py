"""`make findings`: the page says what the tables say, and the tables of the release are what the release gives."""

import numpy as np
import pandas as pd
import pytest
from lab import CHECKOUT
from scipy.stats import t

from offcourse.analysis.view import Results
from offcourse.archive.sweep import read_sweeps
from offcourse.claims.findings import FOLDER, peak_recoveries, read_findings
from offcourse.claims.verdicts import read_claims
from offcourse.data.names import RESOURCES
from offcourse.errors import OffcourseError
from offcourse.graph.products import FV, PRODUCTS
from offcourse.graph.release import Release, results_of_release, write_models
from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published import bench, packed
from offcourse.published.convert import SCHEMAS
from offcourse.published.findings import BEGIN, BENCH, END, README_PAGE, README_PICTURE, write_finding, write_page
from offcourse.report.off_by_one import as_markdown
from offcourse.schemas.io import write_parquet
from offcourse.tables.sensitivity import Turned, split_by_bos


def test_the_page_is_what_the_tables_say(tmp_path):
    page = CHECKOUT / "docs" / "findings.md"
    copy = tmp_path / "findings.md"
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    write_page(copy, RESOURCES)
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8"), "run `make findings`"


def test_only_the_part_between_the_marks_changes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nwhat stood here\n{END}\nafter\n", encoding="utf-8")
    write_page(page, RESOURCES)
    made = page.read_text(encoding="utf-8")
    assert made.startswith(f"before\n{BEGIN}\n") and made.endswith(f"{END}\nafter\n") and "what stood here" not in made
    assert as_markdown(read_findings(RESOURCES / FOLDER)) in made


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing to fill\n", encoding="utf-8")
    with pytest.raises(OffcourseError, match="lacks the marks"):
        write_page(page, RESOURCES)
    assert page.read_text(encoding="utf-8") == "nothing to fill\n"


def test_every_released_model_stands_with_what_its_tokenizer_adds(tmp_path):
    found = read_findings(RESOURCES / FOLDER).recovery.set_index("model")
    covered = results_of_release(Release(Layout(NAME, tmp_path)))
    assert found["adds_bos"].to_dict() == dict(covered.adds_bos)
    assert found["label"].to_dict() == {name: covered.registry.model(name).label for name in found.index}


def test_peak_recovery_is_eq_7_of_the_released_pages(release):
    """Of three models, one of them with an unfinished page, from the counts that the pages draw."""
    found = read_findings(RESOURCES / FOLDER).recovery.set_index("model")
    for model in ("llama-2-70b", "gpt-j-6b", "gemma-2-9b-it"):
        row = release.registry.model(model)
        sweeps = read_sweeps(release.read, row.release_name, release.sweep_tasks(row.release_name), row)
        shares = np.array([each.sweep["hits"].max() / each.shots["hits"][1] for each in sweeps.values()], float)
        half = t.ppf(0.975, len(shares) - 1) * shares.std(ddof=1) / np.sqrt(len(shares))
        expected = [len(shares), shares.mean(), shares.mean() - half, shares.mean() + half]
        assert found.loc[model, ["tasks", "recovery", "low", "high"]].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Results:
    """The released function vectors as results, unpacked from what travels with the repository."""
    release = Release(Layout(NAME, tmp_path_factory.mktemp("unpacked")))
    for name in release.names("function_vectors"):
        for made in packed.tables(release, "function_vectors", name):
            path = release.layout.artefact(made.step, ".parquet", release.folder(name), made.unit)
            write_parquet(path, made.frame, SCHEMAS[made.step])
    write_models(release)
    return results_of_release(release)


def written_again(name, frame, folder) -> str:
    """A table of findings as `make findings` writes it."""
    write_finding(folder / name, frame)
    return (folder / name).read_text(encoding="utf-8")


def tracked(name) -> str:
    return (RESOURCES / FOLDER / name).read_text(encoding="utf-8")


def test_the_tracked_peak_recoveries_are_what_the_release_gives(unpacked, tmp_path):
    models, tasks = unpacked.scopes[FV]
    labels = {model: unpacked.registry.model(model).label for model in models}
    found = peak_recoveries(unpacked.folder, labels, tasks, unpacked.adds_bos)
    name = "peak-recovery.tsv"
    assert written_again(name, found, tmp_path) == tracked(name), "run `make published findings`"


def test_the_tracked_split_by_bos_is_what_the_release_gives(unpacked, tmp_path):
    """With the claims of today, so that a rule that decides otherwise is seen."""
    view = PRODUCTS["sensitivity"].view(unpacked)
    claims = read_claims(view.tracked("claims.tsv").parent)
    found = split_by_bos(Turned(view).pairs(view.protocol), unpacked.adds_bos, claims, checked=False)
    name = "by-bos.tsv"
    assert written_again(name, found, tmp_path) == tracked(name), "run `make published findings`"


def test_the_readmes_picture_is_a_page_of_the_default_study():
    """`make findings` copies the page that the study drew."""
    page = CHECKOUT / README_PAGE
    if not page.exists():
        pytest.skip(f"{README_PAGE} is not here: run make, the default study")
    assert page.read_bytes() == (CHECKOUT / "docs" / README_PICTURE).read_bytes(), "run make findings"


def test_methods_are_side_by_side_with_intervals_and_with_counts_of_their_verdicts(tmp_path):
    steered = [("CAA", "steered", 0.25, 4, 0.1, 0.5), ("Function vectors", "steered", 0.5, 4, 0.25, 0.75)]
    others = [(row, "few-shot", 0.8, 4, 0.7, 0.9) for row, *_ in steered]
    reached = [("CAA", "0.90", 0.0, 4, 0.0, 49.0), ("Function vectors", "0.90", 75.0, 4, 0.0, 100.0)]
    counts = [("CAA (count)", "0.90", 0.0, 4, np.nan, np.nan)]
    changes = [("DoLa, m (q)", f"MC{k} change", -0.004, 24, -0.1, 0.1) for k in (1, 2, 3)]
    columns = ["row", "column", "value", "n", "ci_low", "ci_high"]
    verdicts = {
        "verdicts": [("CAA", "works"), ("CAA", "no better than luck"), ("CAA", "no better than luck")],
        "verdicts_function_vectors": [("Function vectors", "no better than prompting")] * 4,
        "verdicts_task_vectors": [("Task vectors", "works")],
    }
    for name, rows in (("table_methods", [*steered, *others, *reached, *counts]), ("table_methods_questions", changes)):
        pd.DataFrame(rows, columns=columns).to_parquet(tmp_path / f"{name}.parquet")
    for name, rows in verdicts.items():
        pd.DataFrame(rows, columns=["method", "verdict"]).to_parquet(tmp_path / f"{name}.parquet")
    asked = pd.DataFrame([("m", "DoLa", "q", "no better than luck"), ("m", "DoLa", "other", "works")])
    asked.columns = ["model", "method", "on", "verdict"]
    asked.to_parquet(tmp_path / "verdicts_questions.parquet")
    lines = bench.as_markdown(tmp_path).splitlines()
    assert lines[2:4] == [
        "| CAA | 0.25 [0.10, 0.50] | 0.80 | 0 of 4 | no better than luck (2); works (1) |",
        "| Function vectors | 0.50 [0.25, 0.75] | 0.80 | 3 of 4 | no better than prompting (4) |",
    ]
    assert lines[4:] == [
        "",
        "| method, on 24 questions | MC1 change | MC2 change | MC3 change | verdict |",
        "| --- | ---: | ---: | ---: | --- |",
        "| DoLa, m (q) |" + " 0.00 [\N{MINUS SIGN}0.10, 0.10] |" * 3 + " no better than luck |",
    ]
    (tmp_path / "verdicts.parquet").unlink()
    with pytest.raises(OffcourseError, match=r"verdicts\.parquet is not the table that was expected"):
        bench.as_markdown(tmp_path)


def test_the_readmes_tables_of_methods_are_those_of_the_bench_study():
    if not (CHECKOUT / BENCH).exists():
        pytest.skip(f"{BENCH} is not here: run make CONFIG=studies/bench.yaml")
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    made = bench.as_markdown(CHECKOUT / BENCH)
    assert made == text.partition(BEGIN)[2].partition(END)[0].strip("\n"), "run make findings"
