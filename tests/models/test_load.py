"""A folder of any class loads, and is the model that was saved."""

import oracles
import pytest
import torch

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine
from offcourse.errors import OffcourseError
from offcourse.models.load import load

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
