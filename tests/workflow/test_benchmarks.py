"""Time and memory of every job that runs a model, which change neither plan, status, audit nor a cleaned folder."""

import shutil

import pandas as pd

from offcourse.graph.keys import STEPS
from offcourse.study.config import read_study


def test_every_rule_that_runs_a_model_has_a_benchmark_and_nothing_depends_on_it(lab):
    folder = lab.results / "benchmarks"
    study = read_study(lab.configfile)
    rules = {step.rule for step in STEPS.values() if step.runs_model and set(step.methods) & set(study.methods)}
    expected = {(rule, f"{model}.tsv") for rule in rules | {"check_model"} for model in study.models}
    assert {(path.parent.name, path.name) for path in folder.rglob("*.tsv")} == expected
    for path in folder.rglob("*.tsv"):
        measured = pd.read_csv(path, sep="\t").iloc[0]
        assert measured["s"] > 0 and measured["max_rss"] > 50, path
    audit = lab.offcourse("audit", "--all")
    assert audit.returncode == 0 and audit.stdout.strip().endswith("intact"), audit.stdout
    shutil.rmtree(folder)
    assert lab.plan() == set()


def test_a_folder_is_cleaned_without_cores_and_planned_anew(lab):
    """What Snakemake leaves are logs and benchmarks, and no result."""
    before = lab.plan()
    words = [word for word in lab.command("--delete-all-output") if word not in ("--cores", "2")]
    assert lab._run(words).returncode == 0
    left = {path.relative_to(lab.results).parts[0] for path in lab.results.rglob("*") if path.is_file()}
    assert left == {"logs", "benchmarks"} and before == set()
    planned = {rule for rule, _ in lab.plan()}
    assert {"cie", "table3", "report"} <= planned
