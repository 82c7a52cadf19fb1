"""docs/extending.md, done literally in a copy of the checkout: its files, its commands, and what they promise."""

import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import forking
import pandas as pd
import pytest
import yaml
from lab import CHECKOUT, Lab, copy_checkout

from offcourse.analysis.cells import recompute, recompute_point
from offcourse.analysis.verdicts import VERDICTS
from offcourse.plan.rates import A100, rates_path, write_rates
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS

PAGE = CHECKOUT / "docs" / "extending.md"
STUDY = "studies/extended.yaml"
METHODS = {"caa": "CAA", "label_shift": "Label shift"}


class Block(NamedTuple):
    """A fenced block: its language, what its first line says of it, and its text."""

    language: str
    how: str
    path: str
    text: str


def blocks() -> list[Block]:
    found = re.findall(r"^```(\w+)(?: (file|append|after)=(\S+))?\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return [Block(*parts) for parts in found]


def put_after(path: Path, text: str) -> None:
    """Put all lines but the first after the one line of the file that is like the first."""
    before = path.read_text(encoding="utf-8")
    first = text.partition("\n")[0] + "\n"
    assert before.count(first) == 1, f"{path} has {before.count(first)} lines {first!r}"
    path.write_text(before.replace(first, text), encoding="utf-8")


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The lab in which the page was followed, and what each of its commands printed."""
    checkout = copy_checkout(tmp_path_factory.mktemp("extending") / "checkout")
    lab = Lab(checkout, checkout / STUDY, checkout)
    said = {}
    # This machine's rates take half a minute of both cores; tests/workflow/test_plan_of_a_run.py measures them.
    write_rates(rates_path(checkout), A100, {})
    # As in an environment that is active.
    environment = lab.environment | {"PATH": forking.path()}
    for block in blocks():
        if block.language == "sh":
            for command in [block.text] if "<<" in block.text else block.text.splitlines():
                done = subprocess.run(
                    ["bash", "-c", command], cwd=checkout, env=environment, capture_output=True, text=True
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                words, _, study = command.partition(" --configfile ")
                said[words if study in ("", STUDY) else f"{words} {Path(study.strip()).stem}"] = done.stdout
            continue
        path = checkout / block.path
        assert path.exists() == (block.how != "file"), path
        if block.how == "after":
            put_after(path, block.text)
            continue
        with path.open("a", encoding="utf-8") as file:
            file.write(block.text)
    return lab, said


def test_every_block_is_a_file_or_a_command():
    assert PAGE.read_text().count("```") == 2 * len(blocks()) == 44
    assert all(block.path or block.language == "sh" for block in blocks())


def test_status_plan_and_audit_know_the_new_model_task_and_methods(followed):
    lab, said = followed
    states = {(state["step"], state["model"], state["unit"]): state["fresh"] for state in lab.states()}
    for method in METHODS:
        for step in (method, f"{method}_sweep", f"{method}_side_effects"):
            assert states[step, "my-llama", "animal-young"]
            assert step in said["offcourse plan"]
        assert states[f"figure_{method}", "my-llama", ""]
    assert states["table_methods", "", ""] and all(states.values())
    assert re.search(r"\b(\d+) files: \1 intact", said["offcourse audit --all"])
    chain = said['offcourse audit table_methods --row "Label shift" --column steered']
    assert "computed again from its sources: the same" in chain and "label_shift_sweep/animal-young" in chain


# Files that the page touches for each kind of addition, by the words of its heading.
FILES = {
    "A model class": 1,
    "A model": 1,
    "A task": 2,
    "A question set": 2,
    "A steering method": 1,
    "A table": 4,
    "A figure": 4,
}


def test_each_addition_takes_the_files_that_the_design_says():
    """Counted on the page; docs/design.md has the same numbers. A released question set has rows in two tables."""
    design = (CHECKOUT / "docs" / "design.md").read_text()
    sections = PAGE.read_text().split("\n## ")[1:]
    for heading, count in FILES.items():
        [section] = [each for each in sections if each.startswith(f"{heading}:")]
        if heading == "A question set":
            section, released = section.split("A set of the authors' repository", 1)
            assert set(re.findall(r"append=(\S+)", released)) == {"resources/questions.tsv", "resources/sources.tsv"}
        touched = set(re.findall(r"^```\w+ (?:file|append|after)=(\S+)", section, re.M))
        touched |= {"resources/models.tsv"} if "\noffcourse add-model " in section else set()
        assert len(touched) == count, touched
        assert f"| {heading.removeprefix('A ')} | {count} |" in design


def test_a_set_of_the_release_is_planned_without_being_fetched(followed):
    _, said = followed
    assert "wiki was never counted: it is taken to be as large as factor-news" in said["offcourse plan wiki"]


def test_the_added_model_has_the_facts_of_its_folder(followed):
    lab, said = followed
    facts = json.loads((lab.checkout / "results" / "extended" / "my-llama" / "model.json").read_text())
    assert "14 of 14 self-checks passed" in said["offcourse add-model models/my-llama"]
    assert (facts["class"], facts["parameters"], facts["head_dim"]) == ("Llama", 299296, 8)


def test_the_new_class_passed_its_self_checks(followed):
    lab, _ = followed
    facts = json.loads((lab.checkout / "results" / "extended" / "tiny-qwen3" / "model.json").read_text())
    assert facts["class"] == "Qwen3" and facts["row"]["from"] == "resources/classes.tsv"
    assert all(check["passed"] for check in facts["checks"].values())


def test_the_new_table_and_figure_are_shown_and_lead_back(followed):
    lab, said = followed
    results = lab.checkout / "results" / "extended"
    cells = read_parquet(results / "tables" / "table_unsteered.parquet", CELLS)
    assert set(cells["row"]) == {"My Llama", "Tiny Qwen3"} and len(cells) == 4
    for cell in cells.to_dict("records"):
        assert recompute(results, cell) == pytest.approx(cell["value"])
    chain = said['offcourse audit table_unsteered --row "My Llama" --column 0-shot']
    assert "computed again from its sources: the same" in chain
    points = pd.read_parquet(results / "figures" / "figure_unsteered.parquet")
    for point in points.to_dict("records"):
        assert recompute_point(results, point, "accuracy") == pytest.approx(point["accuracy"])
    report = (results / "report.html").read_text()
    assert report.count("Accuracy without a vector") >= 2 and "Mean accuracy over tasks, without examples." in report
    printed = (results / "tables" / "table_unsteered.md").read_text()
    assert all(line.split(" | ")[1].strip(" |") in report for line in printed.splitlines() if line.startswith("| My"))


def test_the_release_has_the_new_table_as_well(followed):
    """Its rule is planned from the released results, of which nothing is fetched here."""
    lab, _ = followed
    plan = lab.snakemake("--dry-run", "published")
    assert plan.returncode == 0, plan.stderr
    planned = plan.stdout + plan.stderr
    assert "rule published_table_unsteered:" in planned
    assert "results/published/tables/table_unsteered.parquet" in planned


def test_the_plan_counts_the_jobs_of_both(followed):
    lab, _ = followed
    planned = json.loads(lab.offcourse("plan", "--rates", "a100", "--json").stdout)
    text = json.dumps(planned)
    for method in METHODS:
        assert f'"{method}"' in text and f'"{method}_sweep"' in text


def test_table_and_figures_have_them_and_lead_back(followed):
    lab, _ = followed
    results = lab.checkout / "results" / "extended"
    cells = read_parquet(results / "tables" / "table_methods.parquet", CELLS)
    assert set(METHODS.values()) < set(cells["row"])
    for cell in cells.to_dict("records"):
        assert recompute(results, cell) == pytest.approx(cell["value"])
    printed = (results / "tables" / "table_methods.md").read_text()
    study = yaml.safe_load((lab.checkout / STUDY).read_text())
    for method, label in METHODS.items():
        assert f"| {label} |" in printed
        points = pd.read_parquet(results / "figures" / f"figure_{method}" / "my-llama.parquet")
        assert set(points["strength"]) == set(study[method]["strengths"])
        assert len(points) == points["layer"].nunique() * len(study[method]["strengths"])
        for point in points.to_dict("records"):
            assert recompute_point(results, point, "accuracy") == point["accuracy"]


def test_the_report_shows_them(followed):
    lab, _ = followed
    report = (lab.checkout / "results" / "extended" / "report.html").read_text()
    for said in ("My Llama", "Animal → Young", "Steering methods compared", "Label shift: accuracy by layer"):
        assert said in report
    for said in ("CAA: accuracy by layer", "contrastive activation addition", "caa.pairs", "label_shift.strengths"):
        assert said in report


def test_snakemakes_report_has_their_captions(followed, tmp_path):
    lab, _ = followed
    done = lab.snakemake("--report", str(tmp_path / "report.html"))
    assert done.returncode == 0, done.stdout + done.stderr
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in ("for my-llama by layer, a line per strength", "beside function vectors, on the same words"):
        assert said in html
    for name in ("figure_caa", "figure_label_shift", "table_methods"):
        assert name in html


def test_an_edit_of_the_module_makes_only_its_own_results_stale(followed):
    lab, _ = followed
    module = lab.checkout / "src" / "offcourse" / "steering" / "label_shift.py"
    before = module.read_text()
    try:
        module.write_text(before.replace("true.mean(0) - shuffled.mean(0)", "true.mean(0) - 2 * shuffled.mean(0)"))
        stale = {state["step"] for state in lab.states() if not state["fresh"]}
    finally:
        module.write_text(before)
    behind = {"table_methods", "certainty", "figure_label_shift", "report", "ro_crate", "verdicts", "figure_gain_harm"}
    assert stale == {"label_shift", "label_shift_sweep", "label_shift_side_effects"} | behind


def test_every_method_of_the_study_has_a_verdict_and_a_point(followed):
    lab, said = followed
    results = lab.checkout / "results" / "extended"
    table = read_parquet(results / "tables" / "verdicts.parquet", VERDICTS)
    assert {(row.model, row.method) for row in table.itertuples()} == {
        ("my-llama", label) for label in METHODS.values()
    }
    rebuilt = table.set_index("method")["draws"].groupby(level=0).first()
    assert rebuilt.to_dict() == {"CAA": 2, "Label shift": 1}
    assert table.set_index("method")["control"].notna().groupby(level=0).all().to_dict() == {
        "CAA": True,
        "Label shift": False,
    }
    points = pd.read_parquet(results / "figures" / "figure_gain_harm.parquet")
    assert len(points) == 2
    for point in points.to_dict("records"):
        assert recompute_point(results, point, "unsteered") == pytest.approx(point["unsteered"])
    compared = table.set_index("method").groupby(level=0).first()
    assert compared["precision"].to_dict() == {"CAA": "float32", "Label shift": ""}
    assert compared.loc["CAA", "bfloat16"] >= 0 and compared.loc["CAA", "precision_cosine"] > 0.9
    for step in ("caa_draws", "caa_precisions", "caa_controls", "label_shift_side_effects"):
        assert step in said["offcourse plan"]
    report = (results / "report.html").read_text()
    assert "Gain against harm" in report and "Verdicts on steering methods" in report
