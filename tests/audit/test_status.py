"""`offcourse status` names stale results of steps and the part that changed, after real changes.

Tables and figures are not made here; tests/workflow/test_invalidation.py tests them.
"""

import dataclasses
import json
import os
import shutil
import subprocess

import pytest
import yaml
from forking import environment, python
from lab import CHECKOUT, SMOKE, Lab, copy_checkout

from offcourse.data.registry import Registry
from offcourse.graph.keys import steps_of
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.run.job import run_step
from offcourse.study.config import load_study

MODEL, TASKS = "tiny-llama", ["antonym", "present-past"]
STUDY = {
    "study": "one",
    "models": [MODEL],
    "tasks": TASKS,
    "function_vectors": {"shots": 1, "trials": 1, "n_heads": [2], "strengths": [1], "test_items": 2},
}
STEPS = ["prompts", "icl", "head_means", "cie", "function_vectors", "fv_sweep"]
EVERYTHING = {(step, task) for step in STEPS for task in TASKS}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder where the model was checked and every step of the study has run."""
    folder = tmp_path_factory.mktemp("done")
    registry, layout, study = Registry.load(), Layout("one", folder), load_study(STUDY)
    assert list(steps_of(study)) == STEPS
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    checked = Lab(folder, folder / "study.yaml").snakemake(f"results/one/{MODEL}/model.json")
    assert checked.returncode == 0, checked.stderr
    for step in STEPS:
        run_step(step, study, registry, layout, MODEL, threads=1)
    return folder


@pytest.fixture
def folder(done, tmp_path):
    """A copy of it."""
    return shutil.copytree(done, tmp_path / "copy")


def status(folder, study=STUDY, path=(), resources=CHECKOUT / "resources"):
    """(exit code, {(step, task): why the result is stale}). path: folders put before Python's own."""
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    places = [str(place) for place in path] + list(filter(None, [os.environ.get("PYTHONPATH")]))
    variables = environment() | {"PYTHONPATH": os.pathsep.join(places), "OFFCOURSE_RESOURCES": str(resources)}
    command = [python(), "-m", "offcourse", "status", "--configfile", "study.yaml", "--json"]
    run = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert "Traceback" not in run.stderr, run.stderr
    states = json.loads(run.stdout)["states"] if run.stdout else []
    return run.returncode, {
        (s["step"], s["unit"]): " ".join(s["why"]) for s in states if not s["fresh"] and s["step"] in STEPS
    }


def test_after_a_run_all_is_fresh(folder):
    assert status(folder)[1] == {}


def test_bad_input_is_exit_code_2(folder):
    assert status(folder, study=STUDY | {"tasks": ["antonyn"]})[0] == 2


def test_a_larger_grid_makes_the_sweep_alone_stale(folder):
    larger = STUDY | {"function_vectors": STUDY["function_vectors"] | {"strengths": [1, 4]}}
    code, why = status(folder, study=larger)
    assert code == 1
    assert set(why) == {("fv_sweep", task) for task in TASKS}
    assert all("strengths" in reason for reason in why.values())


def test_a_changed_module_is_named_by_the_steps_that_reach_it_and_a_comment_by_none(folder, tmp_path):
    source = copy_checkout(tmp_path / "checkout") / "src"
    for name, more in (("icl", "assert True\n"), ("fv_sweep", "UNUSED = 1\n"), ("cie", "# A comment.\n")):
        module = source / "offcourse" / "methods" / f"{name}.py"
        module.write_text(module.read_text() + more)
    code, why = status(folder, path=[source])
    assert code == 1
    assert set(why) == {("icl", task) for task in TASKS}
    assert all("offcourse.methods.icl" in reason for reason in why.values())


def test_a_changed_word_list_makes_its_task_stale_and_no_other(folder, tmp_path):
    resources = shutil.copytree(CHECKOUT / "resources", tmp_path / "resources", ignore=shutil.ignore_patterns("down*"))
    words = resources / "words" / Registry.load().task("antonym").words
    lines = words.read_text(encoding="utf-8").splitlines(keepends=True)
    words.write_text("".join(lines[:-1]), encoding="utf-8")
    code, why = status(folder, resources=resources)
    assert code == 1
    assert set(why) == {(step, "antonym") for step in STEPS}
    assert "words" in why["prompts", "antonym"]
    assert "prompts" in why["icl", "antonym"]


def test_other_weights_make_every_result_stale(folder):
    registry, layout = Registry.load(), Layout("one", folder)
    manifest = layout.model_folder(MODEL) / "manifest.json"
    before = json.loads(manifest.read_text())["digest"]
    shutil.rmtree(manifest.parent)
    other = dataclasses.replace(registry.model(MODEL), revision="1")
    prepare(other, registry, layout.model_folder(MODEL), layout.downloads)
    assert json.loads(manifest.read_text())["digest"] != before
    code, why = status(folder)
    assert code == 1
    assert set(why) == EVERYTHING
    assert "prepare_model" in why["prompts", "antonym"]


def test_another_version_of_a_numerical_package_is_named(folder, tmp_path):
    """Python believes the first record of an installed package that it finds."""
    record = tmp_path / "site" / "scikit_learn-0.0.1.dist-info" / "METADATA"
    record.parent.mkdir(parents=True)
    record.write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 0.0.1\n")
    code, why = status(folder, path=[tmp_path / "site"])
    assert code == 1
    assert "scikit-learn" in why["prompts", "antonym"]
    assert "0.0.1" in why["prompts", "antonym"]


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_lost_result_is_stale_with_what_follows_and_a_damaged_one_is_mended(folder, damage):
    artefact = Layout("one", folder).artefact("cie", ".parquet", MODEL, "antonym")
    if damage == "changed":
        artefact.write_bytes(artefact.read_bytes()[:-1] + b"x")
    else:
        artefact.unlink()
    code, why = status(folder)
    assert code == 1
    if damage == "changed":
        # The store gives it back, so nothing follows.
        assert set(why) == {("cie", "antonym")}
        assert "damaged" in why["cie", "antonym"] and "mends it without computing" in why["cie", "antonym"]
    else:
        assert set(why) == {(step, "antonym") for step in ("cie", "function_vectors", "fv_sweep")}
        assert "not made" in why["cie", "antonym"]
        assert "cie" in why["function_vectors", "antonym"]


def test_one_more_model_makes_the_tables_of_model_facts_stale(finished, tmp_path):
    """They read no result of a step, and a file of each model."""
    study = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    study["models"] = [*study["models"], "smollm2-135m-instruct"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    fresh = {}
    for configfile in (SMOKE, tmp_path / "study.yaml"):
        [state] = [s for s in Lab(finished.folder, configfile).states() if s["step"] == "tables_facts"]
        fresh[configfile] = state["fresh"]
    assert list(fresh.values()) == [True, False]
