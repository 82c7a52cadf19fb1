"""A changed cell of a tracked table, file of a model or order of a grid makes exactly its readers anew (`Lab.plan`)."""

import json
from pathlib import Path

import pytest
import yaml
from lab import SMOKE, Lab, copy_checkout, named_by, reasons

from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.graph.products import PRODUCTS, products_of
from offcourse.layout import Layout
from offcourse.models.manifest import MANIFEST, digest_of
from offcourse.study.config import read_study

MODEL = "tiny-llama"
REPORT = {("report", ""), ("ro_crate", "")}


@pytest.fixture
def edited(lab, tmp_path) -> Lab:
    """The finished study, run from a copy of the checkout that may be edited."""
    checkout = copy_checkout(tmp_path / "checkout")
    return Lab(lab.folder, checkout / "studies" / "smoke.yaml", checkout)


def set_cell(lab: Lab, table: str, row: str, column: str, value: str) -> None:
    path = lab.checkout / "resources" / table
    header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    [found] = [cells for cells in rows if cells[0] == row]
    assert found[header.index(column)] != value
    found[header.index(column)] = value
    path.write_text("".join("\t".join(cells) + "\n" for cells in (header, *rows)), encoding="utf-8")


def readers(column: str) -> set[tuple[str, str]]:
    """The tables and figures that declare a column of a tracked table, and what follows them."""
    there = products_of(read_study(SMOKE), Registry.load())
    found = {rule for rule, product in there.items() if column in product.columns and rule != "report"}
    return {(rule, MODEL if PRODUCTS[rule].per_model else "") for rule in found} | REPORT


def test_the_group_of_a_task_redraws_what_shows_groups(edited):
    set_cell(edited, "tasks.tsv", "antonym", "group", "factual")
    plan = edited.plan()
    assert plan == readers("tasks.group")
    assert ("figure_heads", "") in plan  # Figure 5


def test_a_model_s_labels_and_methods_load_no_model(edited):
    set_cell(edited, "models.tsv", MODEL, "short_label", "T")
    set_cell(edited, "models.tsv", MODEL, "methods", "dola")
    assert named_by(edited.states()) == set()
    set_cell(edited, "models.tsv", MODEL, "label", "Tiny")
    plan = edited.plan()
    assert plan == readers("models.label") and ("check_model", MODEL) not in plan


def test_when_an_answer_counts_is_read_by_the_steps_that_judge_answers(edited):
    set_cell(edited, "tasks.tsv", "antonym", "task_vector_match", "prefix")
    plan, states = edited.plan_and_states()
    stale = reasons(states)
    assert {("prompts", MODEL), ("task_vectors", MODEL)} <= plan
    assert not {("check_model", MODEL), ("dola", MODEL), ("readings", MODEL)} & plan
    assert {unit for step, _, unit in stale if step in ("prompts", "tv_icl", "tv_sweep")} == {"antonym"}


def test_a_claim_is_read_where_claims_are_judged(edited):
    set_cell(edited, "claims.tsv", "fv-default", "high", "40")
    assert edited.plan() == {("sensitivity", ""), *REPORT}


def test_a_newer_tokenizer_makes_prompts_and_what_follows(lab):
    folder = lab.folder / "resources" / "downloads" / "models" / MODEL
    path, manifest = folder / "tokenizer.json", folder / MANIFEST
    known = json.loads(path.read_text(encoding="utf-8"))
    known["model"]["merges"] = known["model"]["merges"][:-300]
    path.write_text(json.dumps(known), encoding="utf-8")
    noted = json.loads(manifest.read_text())
    noted["files"]["tokenizer.json"] = sha256(path)
    # As if the model had been prepared so: the study's copy of the manifest says the same.
    for written in (manifest, Layout("smoke", lab.folder).receipt(MODEL)):
        written.write_text(json.dumps(noted | {"digest": digest_of(noted["files"])}), encoding="utf-8")
    planned, states = lab.plan_and_states()
    assert {("prompts", MODEL), ("dola", MODEL), ("readings", MODEL), ("icl", MODEL)} <= planned
    assert any(why.startswith("tokenizer") for why in reasons(states)["prompts", MODEL, "antonym"])
    done = lab.snakemake(f"results/smoke/{MODEL}/prompts/antonym.parquet")
    assert done.returncode == 0, done.stderr
    log = (lab.results / "logs" / "prompts" / f"{MODEL}.log").read_text()
    assert "prompts tiny-llama antonym: computed" in log


def test_the_order_of_a_grid_changes_nothing(lab, tmp_path):
    config = yaml.safe_load(SMOKE.read_text())
    for section, key in (("function_vectors", "n_heads"), ("function_vectors", "strengths"), ("dola", "alphas")):
        config[section][key] = config[section][key][::-1]
    path = Path(tmp_path / "study.yaml")
    path.write_text(yaml.safe_dump(config))
    assert Lab(lab.folder, path).plan() == set()


def test_other_drawing_packages_draw_figures_again_and_nothing_else(lab, tmp_path):
    """Each alone, as `status` has it, then both."""
    drawn = {rule for rule, product in PRODUCTS.items() if product.figures}
    both = []
    for package in ("matplotlib", "seaborn"):
        folder = tmp_path / package
        metadata = folder / f"{package}-99.9.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.9\n")
        both.append(folder)
        stale = {rule for rule, _ in named_by(Lab(lab.folder, packages=[folder]).states())}
        assert stale - drawn <= {"report", "ro_crate"} and "figure_heads" in stale
    planned = {rule for rule, _ in Lab(lab.folder, packages=both).plan()}
    assert planned - drawn <= {"report", "ro_crate"} and "figure_heads" in planned
