"""Steering in other precisions on a tiny random model, against models that are loaded in them by hand."""

import dataclasses
import weakref

import pytest
import torch
from safetensors.torch import load_file
from test_caa import after_blocks
from transformers import AutoTokenizer

from offcourse.data.prompts import unevaluated
from offcourse.data.registry import Registry
from offcourse.data.tasks import load_pairs
from offcourse.engine.attention import uninstalled
from offcourse.engine.edit_hooks import hooks_of
from offcourse.engine.edits import Edit
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, dtypes_of, key_parts, numerics_of, steps_of
from offcourse.judge.asked import asked as wanted
from offcourse.layout import Layout
from offcourse.methods.precisions import built
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.provenance.records import read_record
from offcourse.run.job import run_step
from offcourse.run.plain_context import context_of
from offcourse.schemas.function_vectors import STEERING_PRECISIONS, STEERING_SWEEP
from offcourse.schemas.io import read_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.steering import steering
from offcourse.steering.caa import contrasts
from offcourse.study.check import check_study
from offcourse.study.config import load_study

TASKS = ["antonym", "present-past"]
CAA = {"pairs": 4, "shots": 2, "strengths": [3, 60], "precisions": ["float16", "bfloat16"]}
VECTORS = {"demonstrations": 4, "strengths": [0.1, 2], "precisions": ["bfloat16"]}
STUDY = {
    "study": "one",
    "models": ["tiny"],
    "tasks": TASKS,
    "methods": ["function_vectors", "caa", "in_context_vectors"],
    "function_vectors": {"shots": 2, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 6},
    "caa": CAA,
    "in_context_vectors": VECTORS,
}
STEPS_RUN = ("prompts", "caa", "caa_sweep", "in_context_vectors", "in_context_vectors_sweep")
PRECISE = ("caa_precisions", "in_context_vectors_precisions")
# A logit that leads by less than this share of its size can lose its lead to rounding.
CLEAR = {"float32": 1e-4, "bfloat16": 0.02, "float16": 0.004}


@pytest.fixture(scope="module", params=["Llama", "Falcon"])
def made(request, tmp_path_factory):
    """(study, registry, layout) of a class that runs with rows and of one on the plain path."""
    registry, layout = Registry.load(), Layout("one", tmp_path_factory.mktemp(request.param))
    row = dataclasses.replace(registry.model("tiny-llama"), name="tiny", repo=request.param, architecture=request.param)
    registry, study = dataclasses.replace(registry, models={"tiny": row}), load_study(STUDY)
    prepare(row, registry, layout.model_folder("tiny"), layout.downloads)
    for step in (*STEPS_RUN, *PRECISE):
        run_step(step, study, registry, layout, "tiny", threads=1)
    return study, registry, layout, request.param


def table(made, step, schema, task):
    return read_parquet(made[2].artefact(step, ".parquet", "tiny", task), schema)


def vectors_by_hand(made, model, task) -> torch.Tensor:
    """[layers, width]: the mean difference of plain forwards of each text, in the model's precision."""
    words = unevaluated(load_pairs(made[1].task(task), "embedded"), "as_published")
    encode = AutoTokenizer.from_pretrained(made[2].model_folder("tiny"))
    found = [
        after_blocks(model, encode(right).input_ids).float() - after_blocks(model, encode(wrong).input_ids).float()
        for right, wrong in contrasts(task, words, CAA["pairs"], CAA["shots"])
    ]
    return torch.stack(found).mean(0)


# `models.load` loads classes that run with rows.
@pytest.mark.parametrize("made", ["Llama"], indirect=True)
@pytest.mark.parametrize("task", TASKS)
def test_hits_and_cosines_are_those_of_a_model_loaded_by_hand(made, task):
    found = table(made, "caa_precisions", STEERING_PRECISIONS, task)
    own = load_file(made[2].artefact("caa", ".safetensors", "tiny", task))["vectors"]
    prompts = table(made, "prompts", PROMPTS, task)
    prompts = prompts[prompts["kind"] == "query"].set_index("index")
    assert found["precision"].unique().tolist() == ["float32", "bfloat16", "float16"]
    [(strength, layer)] = set(zip(found["strength"], found["layer"], strict=True))
    compared = 0
    for dtype, mine in found.groupby("precision"):
        model = load(made[2].model_folder("tiny"), "Llama", dtype)
        vectors = vectors_by_hand(made, model, task)
        [alike] = mine["cosine"].unique()
        plain = torch.nn.functional.cosine_similarity(vectors[layer].double(), own[layer].double(), dim=0)
        assert alike == pytest.approx(float(plain), abs=2e-4)
        assert alike > 0.99 and (dtype == "float32" or alike < 1 - 1e-9)
        assert mine["item"].tolist() == prompts.index.tolist()
        value = strength * vectors[layer].to(getattr(torch, dtype))
        for row in mine.itertuples():
            ids, target = list(prompts.loc[row.item, "token_ids"]), prompts.loc[row.item, "target_id"]
            handles = hooks_of(model, Edit("residual", "add", "last", {layer: value}), len(ids), len(ids))()
            with uninstalled(model), torch.inference_mode():
                logits = model.module(torch.tensor([ids]), use_cache=False).logits[0, -1].float()
            for handle in handles:
                handle.remove()
            others = logits.clone()
            others[target] = -torch.inf
            lead = float(logits[target] - others.max())
            if abs(lead) > CLEAR[dtype] * float(logits.abs().max()):
                assert row.hit == (lead > 0)
                compared += 1
    assert compared > 0.7 * len(found)


@pytest.mark.parametrize("method", ["caa", "in_context_vectors"])
@pytest.mark.parametrize("task", TASKS)
def test_the_study_s_own_precision_has_its_vectors_and_the_hits_of_its_sweep(made, method, task):
    found = table(made, f"{method}_precisions", STEERING_PRECISIONS, task)
    sweep = table(made, f"{method}_sweep", STEERING_SWEEP, task)
    best = sweep.groupby(["strength", "layer"])["hit"].sum().idxmax()
    assert set(zip(found["strength"], found["layer"], strict=True)) == {best}
    mine = found[found["precision"] == "float32"]
    assert mine.index[0] == 0 and mine["cosine"].unique() == pytest.approx([1.0], abs=1e-12)
    assert mine["hit"].tolist() == sweep[(sweep["strength"] == best[0]) & (sweep["layer"] == best[1])]["hit"].tolist()
    others = found[found["precision"] != "float32"]
    assert len(others) == len(mine) * len(getattr(made[0], method).precisions)
    assert (others["cosine"] < 1 - 1e-9).all() and (others["cosine"] > 0.9).all()


def test_one_model_is_in_memory_at_a_time_and_the_last_one_is_used_first(made):
    context, order, loaded = context_of(STEPS["caa_precisions"], *made[:3], "tiny", 1), [], weakref.WeakSet()
    for _ in range(2):
        for dtype, there in context.in_precisions(["bfloat16", "float16"]):
            assert [module.dtype for module in loaded] in ([], [getattr(torch, dtype)])
            loaded.add(there.engine.model.module)
            assert [module.dtype for module in loaded] == [getattr(torch, dtype)]
            assert (there is context) == (dtype == "float32")
            order.append(dtype)
    assert order == ["float32", "bfloat16", "float16", "float16", "float32", "bfloat16"]
    said = context.numerics()
    assert (said["dtype"], said["precisions"]) == ("float32", ["bfloat16", "float16"])


def test_the_record_names_every_precision(made):
    record = read_record(made[2].record("caa_precisions", "tiny", TASKS[1]))
    assert record["made"]["numerics"]["dtype"] == "float32"
    assert record["made"]["numerics"]["precisions"] == ["bfloat16", "float16"]


def test_the_key_holds_the_precisions_and_what_decides_hits_in_half_precision(made):
    study, registry, layout, _ = made
    step = STEPS["caa_precisions"]
    assert dtypes_of(study, registry, "tiny", step) == ["float32", "bfloat16", "float16"]
    parts = key_parts(step, study, registry, layout, "tiny", TASKS[0])
    # The order in which a study names them changes nothing.
    assert parts["parameters"]["precisions"] == ["bfloat16", "float16"]
    assert {"dtype", "max_rows", "logits_dtype"} <= parts.keys()
    assert "words of function_vectors" in parts["inputs"] and {"caa", "caa_sweep"} <= parts["inputs"].keys()
    assert "logits_dtype" not in numerics_of(study, registry, "tiny", STEPS["caa_sweep"])
    assert "precisions" not in key_parts(STEPS["caa"], study, registry, layout, "tiny", TASKS[0])["parameters"]
    without = load_study(STUDY | {"caa": {key: value for key, value in CAA.items() if key != "precisions"}})
    assert set(steps_of(study)) - set(steps_of(without)) == {"caa_precisions"}
    # A study in half precision that is compared with float32 alone.
    half = load_study(STUDY | {"caa": CAA | {"dtype": "bfloat16", "precisions": ["float32"]}})
    assert numerics_of(half, registry, "tiny", step)["logits_dtype"] == "model"


@pytest.mark.parametrize("made", ["Llama"], indirect=True)
def test_vectors_that_are_not_finite_are_refused_with_the_precision(made):
    """States of a model whose weights are very large do not fit into float16."""
    study, registry, layout, _ = made
    context = context_of(STEPS["caa_precisions"], study, registry, layout, "tiny", 1)
    for dtype, there in context.in_precisions(["float16"]):
        if dtype == "float16":
            with torch.no_grad():
                there.engine.model.blocks[-1].mlp.down_proj.weight.fill_(60_000)
            with pytest.raises(OffcourseError, match=r"caa.precisions: .* not finite in float16, .* 65504. Leave"):
                built(there, registry.task(TASKS[0]), dtype)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"caa": {"precisions": ["float32"]}}, r"caa.precisions: float32 is .* tiny-llama already \(its dtype in res"),
        (
            {"caa": {"precisions": ["bfloat16"], "dtype": "bfloat16"}},
            r"caa.precisions: bfloat16 is the precision that caa has on tiny-llama already \(caa.dtype\), .* Leave bf",
        ),
        (
            {"caa": {"precisions": ["float16"]}, "numerics": {"dtype": "float16"}},
            r"already \(numerics.dtype\), .* or set caa.dtype",
        ),
        (
            {"prompting": {"strengths": [0], "precisions": ["bfloat16"]}},
            r"prompting.precisions cannot be had: prompting changes the prompt",
        ),
    ],
)
def test_a_precision_that_says_nothing_is_refused_by_name(section, said):
    methods = ["function_vectors", *(section.keys() & {"caa", "prompting"})]
    asked = load_study({**STUDY, "models": ["tiny-llama"], "caa": {}, "methods": methods, **section})
    with pytest.raises(OffcourseError, match=said):
        check_study(asked, Registry.load())


@pytest.mark.parametrize("section", [{"draws": 2}, {"precisions": ["bfloat16"]}])
def test_a_method_with_a_score_of_its_own_has_no_draws_and_no_precisions(monkeypatch, section):
    """Both count the answer's first token, which is another measure than the method's own."""
    key = next(iter(section))
    asked = load_study({**STUDY, "models": ["tiny-llama"], "caa": section})
    check_study(asked, Registry.load())
    monkeypatch.setattr(type(steering("caa")), "score", lambda self, context, prompt, rows: None)
    with pytest.raises(OffcourseError, match=rf"caa.{key} cannot be had: caa has a score of its own"):
        check_study(asked, Registry.load())
    judged = wanted("caa", ["tiny-llama"], [], {}, Registry.load())
    assert "draws" not in judged.study()["caa"]
    judged.check(Registry.load())


def test_other_words_than_precisions_are_refused_and_a_study_without_them_is_as_before():
    with pytest.raises(OffcourseError, match=r"caa.precisions.*expected one of"):
        load_study(STUDY | {"caa": {"precisions": ["double"]}})
    study = load_study({key: value for key, value in STUDY.items() if key != "caa"})
    assert study.caa.precisions == [] and study.caa.pairs == 25
    check_study(load_study(STUDY | {"models": ["tiny-llama"]}), Registry.load())
