"""A folder of any class loads, and is the model that was saved."""

import oracles
import pytest
import torch
from transformers import AutoModelForCausalLM

from offcourse.check_gpu.subjects import configuration
from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.registry import Registry
from offcourse.engine import Engine
from offcourse.errors import OffcourseError
from offcourse.models.load import _places, load
from offcourse.plan.compute_site import NODES
from offcourse.plan.jobs import plan
from offcourse.study.config import load_study

IDS = [0, 5, 17, 4, 90, 33, 21]


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_saved_model_loads_and_reads_the_same(tiny, name, tmp_path):
    model = tiny(name)
    model.module.save_pretrained(tmp_path)
    loaded = load(tmp_path, name, "float32")
    expected = oracles.logits(model, IDS)[-1].softmax(-1)
    target = int(expected.argmax())
    found = Engine(loaded).read([IDS], [target])
    assert float(found.probability[0]) == pytest.approx(float(expected[target]), rel=1e-4)
    torch.testing.assert_close(oracles.logits(loaded, IDS)[-1].softmax(-1), expected)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_loads_in_half_precision(tiny, name, dtype, tmp_path):
    tiny(name).module.save_pretrained(tmp_path)
    loaded = load(tmp_path, name, dtype)
    assert loaded.module.dtype == getattr(torch, dtype)
    assert Engine(loaded).read([IDS], [7]).probability.isfinite().all()


@pytest.mark.parametrize("room", [{0: 60_000, "cpu": 10**9}, {0: 60_000}, {0: 40_000, 1: 40_000, "cpu": 10**9}])
def test_a_model_that_fits_no_gpu_stops_with_its_size(tiny, room, tmp_path):
    tiny("Llama").module.save_pretrained(tmp_path)
    size = sum(parameter.numel() * 4 for parameter in tiny("Llama").module.parameters()) / 1e9
    with pytest.raises(OffcourseError, match=f"does not fit: {size:.3g} GB of weights in float32.*numerics.*allow"):
        load(tmp_path, "Llama", "float32", max_memory=room)


@pytest.mark.parametrize("name", ["Llama", "GPTJ", "Gemma2"])
def test_where_it_is_allowed_the_rest_waits_on_disk_and_no_number_changes(tiny, name, tmp_path):
    model = tiny(name)
    model.module.save_pretrained(tmp_path)
    half = sum(parameter.numel() * 4 for parameter in model.module.parameters()) // 2
    loaded = load(tmp_path, name, "float32", offload=True, max_memory={"cpu": half})
    assert any(parameter.is_meta for parameter in loaded.module.parameters())
    expected = oracles.logits(model, IDS)[-1].softmax(-1)
    target = int(expected.argmax())
    found = Engine(loaded).read([IDS], [target])
    assert float(found.probability[0]) == pytest.approx(float(expected[target]), rel=1e-4)


@pytest.mark.parametrize("name", ["llama-2-70b", "llama-3-70b", "qwen2-72b"])
def test_the_largest_models_are_placed_on_the_two_cards_that_the_plan_gives_them(name, tmp_path):
    """Whole blocks are placed, so that the cards' shares are not equal; by shapes, since no card is needed for that."""
    row, card = Registry.load(locked=False).model(name), NODES["gpu_memory"] * 1e9
    study = load_study({"study": "s", "models": [name], "tasks": ["antonym"]})
    [planned] = [job for job in plan(study, Registry.load(locked=False)) if job.name == "cie"]
    beside = planned.memory - 2 * row.parameters / 2
    config = configuration(row)
    places = _places(tmp_path, config, "bfloat16", False, {0: int(card), 1: int(card)})
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    held = dict.fromkeys(places.values(), 0)
    for parameter, tensor in module.named_parameters():
        [place] = {device for part, device in places.items() if f"{parameter}.".startswith(f"{part}.")}
        held[place] += tensor.numel() * tensor.element_size()
    assert planned.cards == len(held) == 2 and sum(held.values()) == 2 * row.parameters
    assert max(held.values()) + beside < 0.95 * card
