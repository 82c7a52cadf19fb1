"""The authors' results through the real Snakemake, from a reduced release: a few models of each kind."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from lab import Lab, copy_checkout, jobs
from marks import needs_mirror

from offcourse.analysis.cells import plotted, recompute, recompute_point
from offcourse.archive import manifest, paths
from offcourse.audit.lineage import same
from offcourse.data.names import ARCHIVE, RESOURCES
from offcourse.data.registry import Registry
from offcourse.graph.release import Release
from offcourse.layout import Layout
from offcourse.published.figures import CIE_FIGURES

pytestmark = needs_mirror
SWEEPS = ("gptj-6b", "falcon3-7b", "mistral3-7b")  # with the pages that the paper shows, and its last pair
VECTORS = ("gptj-6b", "falcon3-7b", "llama2-7b", "llama2i-7b")  # with a pair before and after post-training
SCORES = "Qwen/Qwen2-7B"
STORE = [f"published_{group}" for group in ("function_vectors", "task_vectors", "dola", "readings", "cie")]
ORIGINAL = ("--config", "original=1")
NOTHING = "Nothing to be done"


def wanted(release: Release) -> Iterator[str]:
    """The files of the reduced release."""
    named = {source.spec for source in release.registry.sources.values() if source.kind == "release"}
    named |= {path for name in VECTORS for path in paths.vector_paths(name).values()} | {paths.MEANS}
    named |= {paths.cie_path(release.registry.model(name).release_name) for name in CIE_FIGURES}
    runs = [run for run in release.runs if run.model == SCORES]
    named |= {path for run in runs for path in (run.path, run.layers_path)}
    folders = (*(f"{paths.PAGES}/{name}/" for name in SWEEPS), "figures/logit_lens/")
    yield from (path for path in release.manifest if path in named or path.startswith(folders))


@pytest.fixture(scope="module")
def reduced(tmp_path_factory) -> Path:
    """A folder with `resources`, whose manifest is short, and `mirror`, which has the files of it."""
    folder = tmp_path_factory.mktemp("reduced")
    resources = shutil.copytree(RESOURCES, folder / "resources", ignore=shutil.ignore_patterns("downloads"))
    release = Release(Layout("published"))
    rows = [release.manifest[path] for path in wanted(release)]
    lines = ["path\tbytes\tsha256", *(f"{row.path}\t{row.bytes}\t{row.sha256}" for row in rows)]
    (resources / manifest.MANIFEST).write_text("\n".join(lines) + "\n")
    manifest.fetch_release(resources, folder)
    (folder / "mirror").mkdir()
    (folder / "release").rename(folder / "mirror" / Registry.load().sources[ARCHIVE].file)
    return folder


@pytest.fixture(scope="module")
def environment(reduced) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFCOURSE_RESOURCES", str(reduced / "resources"))
        patch.setenv("OFFCOURSE_MIRROR", str(reduced / "mirror"))
        yield


@pytest.fixture(scope="module")
def made(environment, tmp_path_factory) -> Lab:
    """A folder in which the release was made into tables, figures and a report."""
    lab = Lab(tmp_path_factory.mktemp("published"))
    done = lab.snakemake("published", *ORIGINAL)
    assert done.returncode == 0, done.stderr
    return lab


def wrong(lab: Lab, *what: str) -> list[dict]:
    """What an audit finds wrong."""
    return [file for file in json.loads(lab.offcourse("audit", *what, "--json").stdout)["files"] if file["why"]]


def test_the_release_becomes_tables_figures_and_a_report(made):
    results = made.folder / "results" / "published"
    for number in range(1, 13):
        assert {path.suffix for path in results.glob(f"tables/table{number}.*")} == {".parquet", ".csv", ".md", ".tex"}
    figures = ["figure3", "figure11", "figure13", "figure14", "figure15", "figure16"]
    figures += ["figure17/gpt-j-6b_country-capital", "figure18/falcon-3-7b", "figure9/gpt-j-6b"]
    figures += [f"figure{number}/truthfulqa-mc" for number in (2, 6, 7, 8)]
    for name in figures:
        assert {path.suffix for path in results.glob(f"figures/{name}.*")} == {".svg", ".png", ".parquet"}, name
    cells = pd.read_parquet(results / "comparison.parquet").set_index(["table", "row", "column"])
    assert cells.loc[("table4", "qwen2-7b (truthfulqa)", "MC1 0-50%"), "verdict"] == "equal at the printed precision"
    assert cells.loc[("table4", "llama-7b (truthfulqa)", "MC1 0-50%"), "verdict"] == "cannot be made"
    assert "Figures 9 and 10" in (results / "report.html").read_text(encoding="utf-8")
    again = made.snakemake("published", *ORIGINAL)
    assert again.returncode == 0 and NOTHING in again.stderr + again.stdout


def test_every_number_of_the_release_goes_back_to_released_files(made):
    assert wrong(made, "--all", "--published") == []
    cell = "--row", "FV search", "--column", "0.90", "--published", "--json"
    chain = json.loads(made.offcourse("audit", "table3", *cell).stdout)
    assert chain["agrees"] and chain["intact"] and len(chain["sources"]) == 2 * 3 * 9
    data = [each["files"] for known in chain["artefacts"].values() for each in known["data"]]
    assert any(path.endswith("falcon3-7b_antonym_full.pdf") for path in data)
    results = made.folder / "results" / "published"
    seen = set()
    for path in (*results.glob("tables/table*.parquet"), *results.glob("figures/**/*.parquet")):
        rows = pd.read_parquet(path)
        if len(rows) > 60:
            rows = rows.sample(60, random_state=0)
        for row in rows.to_dict("records"):
            if "unit" in row:
                assert same(row.get("text", row["value"]), recompute(results, row)), (path.name, row)
            for column in () if "unit" in row else plotted(row):
                assert same(row[column], recompute_point(results, row, column)), (path.name, row, column)
                seen.add(column)
    assert {"mean", "scaled", "shade", "value", "accuracy", "change"} <= seen


def states(lab: Lab) -> dict[str, tuple[int, str]]:
    """By rule that is not fresh: how many of its files are not there, and what status says."""
    done = lab.offcourse("status", "--published", "--json")
    found = json.loads(done.stdout)["states"]
    assert done.returncode == (0 if all(state["fresh"] for state in found) else 1)
    assert [state["rule"] for state in found if state["rule"] in STORE] == STORE
    return {s["rule"]: (s["files"] - s["there"], "; ".join(s["why"])) for s in found if not s["fresh"]}


def test_status_says_of_each_rule_what_is_missing_and_what_changed(made, tmp_path):
    shutil.copytree(made.folder / "results", tmp_path / "copy" / "results")
    copy = Lab(tmp_path / "copy", checkout=copy_checkout(tmp_path / "checkout"))
    assert states(copy) == {}
    results = copy.folder / "results" / "published"
    (results / "figures" / "figure11.png").unlink()
    table = results / "tables" / "table11.csv"
    table.write_text(table.read_text() + "\n")
    assert states(copy) == {
        "published_figures": (1, "results/published/figures/figure11.png is missing"),
        "published_tables_facts": (
            0,
            "results/published/tables/table11.csv is damaged or edited (delete what is to be made again)",
        ),
        "published_report": (0, "follows published_tables_facts; follows published_figures"),
    }
    sheet = copy.checkout / "src" / "offcourse" / "report" / "report.css"
    sheet.write_text(sheet.read_text() + "/* another */\n")
    assert "; parameter template: " in states(copy)["published_report"][1]
    module = copy.checkout / "src" / "offcourse" / "archive" / "task_vectors.py"
    signature = "def _csv(content: bytes, name: str)"
    assert signature in module.read_text()
    module.write_text(module.read_text().replace(signature, "def _csv(content: bytes, name: str, unused=1)"))
    found = states(copy)
    assert found["published_task_vectors"] == (0, "code of offcourse.archive.task_vectors")
    assert found["published_table3"][1].startswith("follows published_task_vectors")
    assert set(STORE) & set(found) == {"published_task_vectors"}
    shutil.rmtree(results)
    assert set(states(copy).values()) <= {(count, "not made yet") for count in range(1, 2000)}


def test_another_page_of_the_sweep_is_one_command_away(made):
    page = "results/published/figures/figure17/falcon-3-7b_antonym.svg"
    drawn = made.snakemake(page, *ORIGINAL)
    assert drawn.returncode == 0 and (made.folder / page).exists(), drawn.stderr
    assert wrong(made, "figure17/falcon-3-7b_antonym", "--published") == []
    none = made.snakemake("results/published/figures/figure17/falcon-3-7b_antonyms.svg", *ORIGINAL)
    assert none.returncode and "expected {model}_{task}" in none.stderr


def test_a_file_that_is_changed_afterwards_stops_what_reads_it(made):
    spec = paths.vector_paths("gptj-6b")["layers"]
    path = made.folder / "resources" / "downloads" / "release" / spec
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    states = {file["path"]: file["state"] for file in wrong(made, "table3", "--published")}
    assert states[path.relative_to(made.folder).as_posix()] == "tampered"
    stopped = made.snakemake("published_store", "--forcerun", "published_task_vectors", *ORIGINAL)
    assert stopped.returncode and f"{spec} has the sha256" in stopped.stderr and "Traceback" not in stopped.stderr
    path.write_bytes(content)


@pytest.fixture
def lab(environment, tmp_path) -> Lab:
    return Lab(tmp_path)


def test_a_release_that_is_altered_or_incomplete_stops_the_run_before_anything_else(lab, reduced, monkeypatch):
    mirror = lab.folder / "mirror"
    shutil.copytree(reduced / "mirror", mirror, copy_function=os.link)
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(mirror))
    path = mirror / Registry.load().sources[ARCHIVE].file / paths.MEANS
    content = path.read_bytes()
    path.unlink()
    missing = lab.snakemake("published", *ORIGINAL)
    assert missing.returncode and f"lacks 1 of the {manifest_length(reduced)} released files" in missing.stderr
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    altered = lab.snakemake("published", *ORIGINAL)
    assert altered.returncode and f"{paths.MEANS} has the sha256" in altered.stderr and "not kept" in altered.stderr
    # What needs no released file may run.
    free = {"fetch_release", "published_models", "published_tables_facts"}
    assert {rule for rule, _ in jobs(altered.stdout + altered.stderr)} <= free


def manifest_length(reduced: Path) -> int:
    return len((reduced / "resources" / manifest.MANIFEST).read_text().splitlines()) - 1


def test_the_numbers_that_travel_with_the_repository_need_no_network_and_are_the_same(made, reduced, monkeypatch):
    monkeypatch.delenv("OFFCOURSE_MIRROR")
    lab = Lab(made.folder.parent / "unpacked")
    done = lab.snakemake("published_store")
    assert done.returncode == 0 and not (lab.folder / "resources" / "downloads" / "release").exists(), done.stderr
    tables = [path.relative_to(made.folder) for path in made.folder.glob("results/published/*/*/*.parquet")]
    tables = [path for path in tables if path.parts[2] != "figures"]
    assert len(tables) > 90
    for path in tables:
        assert (lab.folder / path).read_bytes() == (made.folder / path).read_bytes(), path
    said = lab.offcourse("audit", "--all", "--published").stdout
    assert "resources/released" in said
    assert "converted from the authors' files" in made.offcourse("audit", "--all", "--published").stdout
