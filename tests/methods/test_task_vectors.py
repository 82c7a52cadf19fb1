"""Task vectors against one plain forward per prompt, layer and item, on all nine classes."""

import json

import numpy as np
import pytest
import torch
from oracles import logits, plain_hidden_states, residual_edited
from safetensors.numpy import load_file

from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.registry import Registry
from offcourse.engine import Engine
from offcourse.engine.attention import uninstalled
from offcourse.layout import Layout
from offcourse.methods.answers import is_right
from offcourse.methods.tv_sweep import sweep
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.run.job import run_step, run_steps
from offcourse.schemas import prompts as prompt_schema
from offcourse.schemas.function_vectors import ICL
from offcourse.schemas.io import read_parquet
from offcourse.schemas.task_vectors import TV_SWEEP
from offcourse.study.config import load_study

PROMPTS = [[0, *((11 * i) % 500 + 2 for i in range(n))] for n in (24, 7, 24)]
PROMPTS[2][:18] = PROMPTS[0][:18]
QUERY = [0, 5, 90, 33]
MODEL, TASKS = "tiny-llama", ["present-past", "country-capital"]
SETTINGS = {"shots": 2, "dummy_queries": 2, "dev_items": 2, "test_items": 3, "baseline_items": 4}


@torch.inference_mode()
def block_outputs(model, ids) -> torch.Tensor:
    """[layers, width]: the last position after every block, the last one by a hook (transformers norms it)."""
    seen = []
    hook = model.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0][0, -1].clone()))
    try:
        hidden, _ = plain_hidden_states(model, ids)
    finally:
        hook.remove()
    return torch.stack([*(states[-1] for states in hidden[1:]), seen[0]])


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("max_rows", [9, 1000])
def test_residuals_and_predictions_equal_plain_forwards(tiny, name, max_rows):
    model = tiny(name)
    engine = Engine(model, max_rows)
    found = engine.capture_residuals(PROMPTS)
    expected = torch.stack([block_outputs(model, ids) for ids in PROMPTS])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert engine.predict(PROMPTS).tolist() == [int(logits(model, ids)[-1].argmax()) for ids in PROMPTS]
    for vector in found:
        plain = [residual_edited(model, QUERY, layer, vector[layer], replace=True) for layer in range(model.layers)]
        [said] = sweep(engine, [QUERY], vector[None])
        assert said.tolist() == [int(values.argmax()) for values in plain]


def test_the_vector_of_another_layer_would_be_seen(tiny):
    """The vectors' order by layer matters to the predictions that the test above compares."""
    model = tiny("Llama")
    vector = torch.stack([block_outputs(model, ids) for ids in PROMPTS])[1]
    engine = Engine(model)
    own, turned = sweep(engine, [QUERY] * 2, torch.stack([vector, vector.flip(0)]))
    assert own.tolist() != turned.tolist()


@pytest.mark.parametrize(
    ("task", "predicted", "expected", "right"),
    [
        ("antonym", " small", " small", True),
        ("antonym", "small\nexample", " small", True),
        ("antonym", " tiny", " small", False),
        ("antonym", "\n", " small", False),
        ("country-capital", "P", "Paris", True),
        ("country-capital", "Paris-", "Paris", True),
        ("country-capital", " ", "Paris", False),
        ("country-capital", "p", "Paris", False),
        ("french-english", " dog", " dog", True),
        ("french-english", " hound", " dog", False),
    ],
)
def test_when_an_answer_is_right(task, predicted, expected, right):
    assert is_right(Registry.load().task(task), predicted, expected) is right


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Every step of task vectors on a prepared folder."""
    base = tmp_path_factory.mktemp("study")
    registry, layout = Registry.load(), Layout("one", base)
    prepare(registry.model(MODEL), registry, layout.model_folder(MODEL), layout.downloads)
    study = load_study(
        {"study": "one", "models": [MODEL], "tasks": TASKS, "methods": ["task_vectors"], "task_vectors": SETTINGS}
    )
    run_step("prompts", study, registry, layout, MODEL)
    run_steps(["tv_icl", "task_vectors", "tv_sweep"], study, registry, layout, MODEL, threads=1)
    return layout


@pytest.mark.parametrize("task", TASKS)
def test_the_steps_equal_a_loop_over_plain_forwards(done, task):
    prompts = read_parquet(done.artefact("prompts", ".parquet", MODEL, task), prompt_schema.PROMPTS)
    assert set(prompts["kind"]) == set(prompt_schema.TASK_VECTOR_PROMPTS)
    model = load(done.model_folder(MODEL), "Llama", "float32")
    from offcourse.models.tokenizer import Tokenizer

    tokenizer, row = Tokenizer(done.model_folder(MODEL)), Registry.load().task(task)

    def right(values, target):
        return is_right(row, tokenizer.decode([int(values.argmax())]), target)

    with uninstalled(model):
        icl = read_parquet(done.artefact("tv_icl", ".parquet", MODEL, task), ICL)
        plain = prompts[prompts["kind"].isin(["tv_baseline", "tv_icl"])]
        assert list(icl["hit"]) == [right(logits(model, p.token_ids)[-1], p.target) for p in plain.itertuples()]
        assert icl.groupby("shots").size().to_dict() == {0: 4, 2: 3}
        vectors = load_file(done.artefact("task_vectors", ".safetensors", MODEL, task))
        sweep_file = done.artefact("tv_sweep", ".parquet", MODEL, task)
        found = read_parquet(sweep_file, TV_SWEEP).set_index(["split", "layer", "item"])["hit"]
        for split, items in (("dev", 2), ("test", 3)):
            dummies = prompts[prompts["kind"] == f"tv_{split}_dummy"]
            queries = prompts[prompts["kind"] == f"tv_{split}_query"].set_index("index")
            assert vectors[split].shape == (items, model.layers, model.width)
            for item in range(items):
                mine = dummies[dummies["index"] == item]
                mean = torch.stack([block_outputs(model, ids) for ids in mine["token_ids"]]).mean(0)
                np.testing.assert_allclose(vectors[split][item], mean, rtol=1e-4, atol=1e-4)
                query = queries.loc[item]
                for layer in range(model.layers):
                    values = residual_edited(model, query["token_ids"], layer, mean[layer], replace=True)
                    assert found[split, layer, item] == right(values, query["target"])


def test_a_record_names_what_the_prompts_depend_on(done):
    parts = json.loads(done.record("prompts", MODEL, TASKS[0]).read_text())["parts"]
    assert list(parts["inputs"]) == ["words of task_vectors"]
    assert not [key for key in parts["parameters"] if key.startswith("function_vectors.")]
