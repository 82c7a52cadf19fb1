"""A model that accelerate spread over devices or offloaded to disk reads as the same model in one place."""

import copy

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.models.load import LanguageModel

IDS = [0, 5, 17, 4, 90, 33, 21, 8, 9, 10]


def readouts(engine):
    model = engine.model
    values = torch.randn(model.layers, model.heads, model.head_dim, generator=torch.Generator().manual_seed(1))
    vectors = torch.randn(5, model.width, generator=torch.Generator().manual_seed(2))
    heads = engine.read_rows(IDS, 7, HeadRows(values))[1].probability
    residual = engine.read_rows(IDS, 7, ResidualRows(vectors, model.layers))[1].probability
    return torch.cat([heads, residual, engine.read([IDS, IDS[:4]], [3, 4]).probability])


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("how", ["dispatched", "offloaded to memory", "offloaded to disk"])
def test_placement_changes_no_number(tiny, name, how, tmp_path):
    whole = tiny(name)
    expected = readouts(Engine(whole))
    module = copy.deepcopy(whole.module)
    if how == "dispatched":
        row = ARCHITECTURES[name]
        places = {child: "cpu" for child, _ in module.named_children()}
        base = row.blocks.split(".")[0]
        places.pop(base)
        places |= {f"{base}.{child}": "cpu" for child, _ in getattr(module, base).named_children()}
        blocks = places.pop(row.blocks)
        places |= {f"{row.blocks}.{i}": blocks for i in range(3)} | {f"{row.blocks}.3": "disk"}
        module = dispatch_model(module, places, main_device="cpu", offload_dir=tmp_path, force_hooks=True)
    elif how == "offloaded to memory":
        module = cpu_offload(module, execution_device="cpu")
    else:
        module = disk_offload(module, tmp_path, execution_device="cpu")
    placed = LanguageModel(module, ARCHITECTURES[name])
    assert any(parameter.is_meta for parameter in module.parameters())
    for max_rows in ("auto", 3):
        torch.testing.assert_close(readouts(Engine(placed, max_rows)), expected, rtol=1e-5, atol=1e-9)
