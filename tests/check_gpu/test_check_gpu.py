"""The check of a GPU, run on the CPU with narrow models, and without the packages that a GPU image lacks."""

import json
import os
import subprocess
import sys

import pytest
import torch
from lab import CHECKOUT

from offcourse.check_gpu import machine
from offcourse.check_gpu.page import Findings, markdown
from offcourse.check_gpu.subjects import WHOLE, WIDTHS, _rows, build, configuration, subjects
from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.models import shapes
from offcourse.plan.rates import rates_path, read_rates

LACKING = ("pandera", "pydantic", "pandas", "grimp", "snakemake", "pooch", "rocrate", "statsmodels")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A folder whose `sitecustomize` makes the workflow's packages unimportable, as on a GPU image.

    It also lets few and small products measure the machine: tests/workflow/test_plan_of_a_run.py has the full measure.
    """
    folder = tmp_path_factory.mktemp("image")
    text = f"import sys\nfor name in {LACKING!r}:\n    sys.modules[name] = None\n"
    text += "from offcourse.plan import machine\nmachine.REPEATS = 3\n"
    text += "machine.MATRICES['cpu'], machine.LOADED['cpu'] = 2, 1 << 22\n"
    (folder / "sitecustomize.py").write_text(text)
    return folder


def test_the_check_runs_on_an_image_without_the_workflows_packages(image, tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{image}:{CHECKOUT / 'src'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "offcourse.check_gpu", "--directory", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["go"] and found["against"] == []
    classes = {(row["model"].split(",")[0], row["dtype"]) for row in found["exact"]}
    assert classes >= {(name, dtype) for name in WIDTHS for dtype in ("float32", "bfloat16", "float16")}
    assert (WHOLE, "bfloat16") in classes
    passes = {
        "rows of edits",
        "rows of several prompts",
        "a forest of prompts",
        "edits of every token",
        "DoLa's layers",
    }
    assert {row["pass"] for row in found["memory"]} == passes
    assert all(row["times_faster"] > 1 for row in found["speed"])
    assert read_rates(rates_path(tmp_path)).device == "cpu"
    page = (tmp_path / "results" / "check-gpu.md").read_text(encoding="utf-8")
    assert "**Go.**" in page and "no GPU" in page


def test_the_table_is_read_as_the_registry_reads_it():
    registry, rows = Registry.load(), _rows()
    for name in (*WIDTHS, WHOLE):
        known, row = registry.model(name), rows[name]
        for fact in ("architecture", "layers", "heads", "kv_heads", "head_dim", "width", "mlp_width", "vocabulary"):
            assert getattr(row, fact) == getattr(known, fact)
        assert row.tied_embeddings == known.tied_embeddings


def test_every_class_is_checked_once():
    assert sorted(subject.row.architecture for subject in subjects(tiny=False)) == sorted(ARCHITECTURES)


@pytest.mark.parametrize("subject", subjects(tiny=False), ids=lambda subject: subject.row.name)
def test_models_have_the_real_widths(subject):
    """On the meta device, which allocates nothing: as many parameters as the row's shape says."""
    import transformers

    with torch.device("meta"):
        name = ARCHITECTURES[subject.row.architecture].causal_lm
        module = getattr(transformers, name)._from_config(configuration(subject.row))
    assert sum(parameter.numel() for parameter in module.parameters()) == shapes.parameters(subject.row)


def test_the_same_seed_gives_the_same_model():
    [row] = [subject.row for subject in subjects(tiny=True) if subject.row.architecture == "Qwen2"]
    one, again, other = (build(row, "float32", "cpu", seed).module.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def findings(**more) -> Findings:
    return Findings({"device": "a card", "packages": {"torch": "2.11"}}, **more)


def row(**more) -> dict:
    return {
        "model": "m",
        "dtype": "float16",
        "check": "c",
        "passed": True,
        "error": 1.0,
        "floor": 0.5,
        "limit": 2.0,
    } | more


def test_go_needs_every_check_to_pass():
    assert findings(exact=[row()]).against() == []
    wrong = findings(exact=[row(), row(passed=False, error=3.0)])
    assert wrong.against() == ["m in float16: c: error 3.0e+00, allowed 2.0e+00"]
    assert "**Not yet.**" in markdown(wrong) and "* m in float16" in markdown(wrong)


def test_an_error_that_is_not_finite_is_against_and_null_in_json():
    found = findings(exact=[row(passed=False, error=float("inf"))])
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert not document["go"] and document["exact"][0]["error"] is None
    assert "error inf" in document["against"][0]


def test_a_pass_that_takes_more_than_planned_is_against():
    memory = [
        {"model": "m", "pass": "rows", "measured": 2e9, "planned": 1e9},
        {"model": "m", "pass": "forest", "measured": 1e9, "planned": 2e9},
        {"model": "m", "pass": "other", "measured": None, "planned": 1e9},
    ]
    assert findings(memory=memory).against() == ["m, rows: 2000 MB beside the weights, planned 1000 MB"]


def test_a_model_that_does_not_fit_is_named():
    found = findings(refused=["big in float32: its 40.0 GB and a pass do not fit the card"])
    assert not found.document()["go"]
    assert "its 40.0 GB" in markdown(found)


def test_a_driver_that_torch_cannot_use_is_said(monkeypatch, tmp_path):
    """The real reason of this build of torch, which has no CUDA, on a machine that has a driver."""
    if torch.cuda.is_available():
        pytest.skip("this machine's GPU can be used")
    version = tmp_path / "version"
    version.write_text("NVRM version")
    monkeypatch.setattr(machine, "DRIVER", version)
    with pytest.raises(OffcourseError, match="torch .* cannot use its GPU"):
        machine.device()
