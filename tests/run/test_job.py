"""Steps on a real prepared model folder, one task at a time."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.methods import prompts
from offcourse.models.fetch import prepare
from offcourse.run import job
from offcourse.run.context import StepContext
from offcourse.run.job import run_step
from offcourse.schemas.function_vectors import FV_SWEEP
from offcourse.schemas.io import read_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.study.config import load_study

MODEL, TASK = "tiny-llama", "present-past"
SETTINGS = {"shots": 2, "trials": 2, "n_heads": [2, 4, 64], "strengths": [1], "test_items": 3}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("study")
    registry, layout = Registry.load(), Layout("one", base)
    prepare(registry.model(MODEL), registry, layout.model_folder(MODEL), layout.downloads)
    return base


def study(**changes):
    return load_study({"study": "one", "models": [MODEL], "tasks": [TASK], "function_vectors": SETTINGS} | changes)


def run(base, the_study, until="fv_sweep"):
    layout = Layout(the_study.study, base)
    for name in list(STEPS)[: list(STEPS).index(until) + 1]:
        run_step(name, the_study, Registry.load(), layout, MODEL, threads=1)
    return layout


def test_a_head_count_above_the_models_is_skipped_and_said_so(base, capsys):
    layout = run(base, study())
    assert "tiny-llama: n_heads 64 is skipped, the model has 16 heads" in capsys.readouterr().err
    vectors = load_file(layout.artefact("function_vectors", ".safetensors", MODEL, TASK))
    assert set(vectors) == {"n_heads=2", "n_heads=4"}
    sweep = read_parquet(layout.artefact("fv_sweep", ".parquet", MODEL, TASK), FV_SWEEP)
    assert set(sweep["n_heads"]) == {2, 4}
    assert len(sweep) == 2 * 1 * 4 * 3


def test_a_grid_above_the_models_heads_is_one_message_of_the_step_too(base):
    """The registry is asked first (tests/study); this is for a model whose row does not say how many heads it has."""
    large = study(study="large", function_vectors=SETTINGS | {"n_heads": [17, 64]})
    with pytest.raises(OffcourseError, match=r"tiny-llama has 16 heads .* every number in the grid \(17, 64\)"):
        run(base, large, until="function_vectors")


def test_a_damaged_result_that_a_step_reads_is_named(base):
    layout = run(base, study(study="damaged"), until="head_means")
    means = layout.artefact("head_means", ".safetensors", MODEL, TASK)
    means.write_bytes(means.read_bytes()[:-1])
    with pytest.raises(OffcourseError, match=r"head_means/present-past\.safetensors cannot be read .* Delete it"):
        run_step("cie", study(study="damaged"), Registry.load(), layout, MODEL, threads=1)


def test_a_model_that_changes_while_a_step_computes_gives_no_result(base, tmp_path, monkeypatch):
    """The code of the step is the real one; the weights are written to after it has read them."""
    layout = Layout("one", tmp_path)
    shutil.copytree(Layout("one", base).model_folder(MODEL), layout.model_folder(MODEL))
    run_step("prompts", study(), Registry.load(), layout, MODEL)
    weights, compute = layout.model_folder(MODEL) / "model.safetensors", job.compute
    before = weights.read_bytes()

    def disturbed(*given):
        found = compute(*given)
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        return found

    monkeypatch.setattr(job, "compute", disturbed)
    with pytest.raises(OffcourseError, match=r"model\.safetensors was written to, moved or replaced while this job"):
        run_step("icl", study(), Registry.load(), layout, MODEL, threads=1)
    assert not layout.artefact("icl", ".parquet", MODEL, TASK).exists()
    assert [json.loads(path.read_text())["parts"]["step"] for path in layout.store.rglob("*.json")] == ["prompts"]
    with pytest.raises(OffcourseError, match=r"model\.safetensors is missing or is not the file that was prepared"):
        run_step("icl", study(), Registry.load(), layout, MODEL, threads=1)


def test_the_record_names_the_shard_and_its_parts(base):
    layout = run(base, study(), until="icl")
    record = json.loads(layout.record("icl", MODEL, TASK).read_text())
    artefact = layout.artefact("icl", ".parquet", MODEL, TASK)
    assert record["outputs"] == {artefact.relative_to(layout.base).as_posix(): sha256(artefact)}
    assert record["parts"]["dtype"] == "float32"
    assert set(record["parts"]["packages"]) >= {"torch", "transformers"}
    assert (layout.store / record["key"][:2] / f"{record['key']}.parquet").exists()


def test_the_read_position_changes_the_mean_of_a_model_that_gets_a_bos(base):
    """`head_read_position`: with a BOS in front, the published code reads the token before the last."""
    coded = run(base, study(study="coded"), until="head_means")
    last = run(base, study(study="last", protocol={"head_read_position": "last"}), until="head_means")
    frames = [read_parquet(layout.artefact("prompts", ".parquet", MODEL, TASK), PROMPTS) for layout in (coded, last)]
    means = [frame[frame["kind"] == "head_mean"] for frame in frames]
    lengths = means[0]["token_ids"].map(len)
    assert list(means[0]["read_position"]) == list(lengths - 2)
    assert list(means[1]["read_position"]) == list(lengths - 1)
    found = [load_file(layout.artefact("head_means", ".safetensors", MODEL, TASK))["mean"] for layout in (coded, last)]
    assert np.abs(found[0] - found[1]).max() > 1e-2
    # What the switch does not touch is the same text, tokens and baselines.
    pd.testing.assert_series_equal(frames[0]["text"], frames[1]["text"])


def test_an_answer_without_a_token_is_named(base, tmp_path):
    """A tokenizer that knows no accents, asked for French."""
    layout = Layout("one", base)
    folder = layout.model_folder(MODEL)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tokens = json.loads((folder / "tokenizer.json").read_text())
    the_study = study()
    context = StepContext(STEPS["prompts"], the_study, Registry.load(), layout, MODEL)
    task = Registry.load().task(TASK)
    target = int(prompts.compute(context, task)["target_id"].iloc[0])
    word = next(token for token, index in tokens["model"]["vocab"].items() if index == target)
    poor = Layout("one", tmp_path)
    poor.model_folder(MODEL).mkdir(parents=True)
    shutil.copy(folder / "config.json", poor.model_folder(MODEL))
    (poor.model_folder(MODEL) / "tokenizer.json").write_text(json.dumps(tokens))
    (poor.model_folder(MODEL) / "tokenizer_config.json").write_text(json.dumps(config | {"unk_token": word}))
    with pytest.raises(
        OffcourseError, match="tiny-llama: the tokenizer has no token for the answers of task present-past"
    ):
        prompts.compute(StepContext(STEPS["prompts"], the_study, Registry.load(), poor, MODEL), task)
