"""The plan of a vector file: the passes and operations that its real steps spend on a tiny model."""

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from offcourse.data.passages import neutral
from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.models.tokenizer import Tokenizer
from offcourse.plan import passes, steering_costs
from offcourse.plan.costs import work
from offcourse.plan.jobs import plan
from offcourse.plan.rates import A100
from offcourse.run.job import compute, run_step
from offcourse.run.plain_context import context_of
from offcourse.schemas.io import read_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.study.config import load_study
from offcourse.vectors import files
from offcourse.vectors.facts import VectorFile

REGISTRY, TASK, PASSAGES = Registry.load(), "antonym", 12
ROW = REGISTRY.model("tiny-llama")


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = Layout("one", tmp_path_factory.mktemp("planned"))
    prepare(ROW, REGISTRY, layout.model_folder(ROW.name), layout.downloads)
    return layout


def study(base, blocks, **facts):
    """A study with a vector file below `base`."""
    said = {"operation": "add", "site": "residual", "positions": "all", "together": False, "model": ROW.identity}
    numbers = {block: np.full(ROW.width, block + 1, np.float32) for block in blocks}
    files.write(base / "v.safetensors", VectorFile(numbers, **said | facts))
    section = {"file": "v.safetensors", "sha256": sha256(base / "v.safetensors"), "strengths": [1, 20]}
    return load_study(
        {
            "study": "one",
            "models": [ROW.name],
            "tasks": [TASK],
            "methods": ["function_vectors", "vector_file"],
            "numerics": {"attention": "eager"},
            "function_vectors": {"shots": 2, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 20},
            "vector_file": section | {"passages": PASSAGES, "precisions": ["bfloat16"]},
        }
    )


def spent(step, asked, layout) -> tuple[int, int]:
    """(operations of matrix products, block passes) of a step that runs for real."""
    context, calls = context_of(STEPS[step], asked, REGISTRY, layout, ROW.name, 1), []
    for block in context.engine.model.blocks:
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    with FlopCounterMode(display=False) as counter:
        compute(STEPS[step], context, REGISTRY.task(TASK))
    return counter.get_total_flops(), len(calls)


@pytest.mark.parametrize(("blocks", "positions"), [((1, 3), "all"), ((2,), "last")])
def test_a_vector_file_costs_what_its_steps_spend(layout, monkeypatch, blocks, positions):
    asked = study(layout.base, blocks, positions=positions)
    for step in ("prompts", "icl", "vector_file", "vector_file_sweep"):
        run_step(step, steering_costs.placed(asked, layout.base), REGISTRY, layout, ROW.name, threads=1)
    # The plan's lengths are those of other tokenizers.
    prompts = read_parquet(layout.artefact("prompts", ".parquet", ROW.name, TASK), PROMPTS)
    query = prompts[prompts["kind"] == "query"]["token_ids"].map(len).mean()
    encode = Tokenizer(layout.model_folder(ROW.name)).encode
    beginnings = [len(encode(one)) for one, _ in neutral(PASSAGES)]
    texts = [len(encode(f"{one} {two}")) for one, two in neutral(PASSAGES)]
    for module in (passes, steering_costs):
        monkeypatch.setattr(module, "FV_QUERY", query)
    monkeypatch.setattr(steering_costs, "PASSAGE", np.mean(texts))
    monkeypatch.setattr(steering_costs, "CONTINUATION", np.mean(texts) - np.mean(beginnings))
    here = steering_costs.placed(asked, layout.base)
    for step in ("vector_file", "vector_file_sweep", "vector_file_side_effects"):
        operations, calls = spent(step, asked, layout)
        planned = work(step, here, ROW, REGISTRY.task(TASK), 512, 512)
        assert planned.flops(ROW) == pytest.approx(operations, rel=0.12), step
        assert planned.block_passes == pytest.approx(calls, rel=0.1), step
        assert bool(operations) == (step != "vector_file")


def test_the_plan_finds_the_file_from_the_study_s_folder(layout, tmp_path):
    """Two blocks at every token cost less than four, and building costs a load alone."""
    (tmp_path / "four").mkdir()
    (tmp_path / "two").mkdir()
    jobs = {}
    for name, blocks in (("two", (2, 3)), ("four", (0, 1, 2, 3))):
        asked = study(tmp_path / name, blocks)
        jobs[name] = {job.name: job for job in plan(asked, REGISTRY, A100, tmp_path / name)}
    two, four = (jobs[name]["vector_file_sweep"].flops for name in ("two", "four"))
    assert 1.5 < four / two < 5
    assert jobs["two"]["vector_file"].flops == 0 and jobs["two"]["vector_file"].load_seconds > 0
