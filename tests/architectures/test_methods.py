"""Every class through every method: spread over devices, offloaded to disk, and in bfloat16.

That a model on one device in float32 equals the oracles is tested beside each method (`tests/methods`,
`test_engine.py`).
"""

import copy

import oracles
import pandas as pd
import pytest
import torch
from accelerate import disk_offload, dispatch_model

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.methods.cie import head_effects
from offcourse.methods.dola import Answer, scores
from offcourse.methods.fv_sweep import sweep as fv_sweep
from offcourse.methods.readings import apathy, lens
from offcourse.methods.tv_sweep import sweep as tv_sweep
from offcourse.models.load import LanguageModel
from offcourse.models.random import random_model

# Longer than the tiny models' sliding window of 16.
LONG = [0, *((7 * i) % 500 + 2 for i in range(25))]
PROMPTS = [LONG, LONG[:9], [*LONG[:20], 44, 45]]
TARGET = 81
STRENGTHS = torch.tensor([[0.01], [30], [1000]])
# Largest and mean difference of a log-probability from the float32 model's. bfloat16 keeps 8 bits: the plain model
# itself moves by up to 0.12 nats on these prompts.
BFLOAT16 = {"largest": 0.2, "mean": 0.08}
HITS_ALIKE = 0.9
DOLA = {
    "alphas": [0.0, 0.5],
    "length_bias": 3.0,
    "length_bias (protocol)": "subtracted",
    "dola_divergence": "mean_kl",
    "dola_premature_norm": "none",
    "dola_mask": "constant",
    "score_dtype": "float64",
}


def vectors(model) -> torch.Tensor:
    return torch.randn(3, model.width, generator=torch.Generator().manual_seed(2))


def head_values(model) -> torch.Tensor:
    shape = model.layers, model.heads, model.head_dim
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def asked(targets: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"token_ids": PROMPTS, "target_id": targets})


def everything(engine: Engine) -> dict[str, torch.Tensor]:
    """The numbers that each method gets from the engine, computed by the method's own functions."""
    model = engine.model
    residuals = engine.capture_residuals(PROMPTS)
    strange = torch.randn(model.layers, model.width, generator=torch.Generator().manual_seed(3)) * 100
    answers = [
        Answer(0, index, "best" if index == 0 else "false", (*LONG[:18], *tail), 17)
        for index, tail in enumerate([(5, 6, 7), (5, 9), (200,)])
    ]
    readings = list(engine.readings(PROMPTS))
    letters = [(10, [11, 12]), (40, [41]), (7, [8, 9])]
    lenses = [lens(engine, part, letters[part.prompts]).arrived().flatten(0, 1) for part in readings]
    moved = [apathy(part).arrived().flatten(0, 1) for part in readings]
    dola = [part.frame for part in scores(engine, answers, {"0-50": [0, 2], "50-100": [2, 3]}, DOLA)]
    return {
        "icl": engine.read(PROMPTS, [TARGET, 4, 300]).probability,
        "head_means": engine.capture_heads(PROMPTS, [len(ids) - 1 for ids in PROMPTS]),
        "cie": head_effects(engine, asked([TARGET, 4, 300]), head_values(model), False)[0],
        # From what changes nothing to what drowns the residual stream of every class.
        "fv_sweep": fv_sweep(engine, asked(engine.predict(PROMPTS).tolist()), vectors(model) * STRENGTHS).float(),
        "task_vectors": residuals,
        "tv_sweep": torch.cat(list(tv_sweep(engine, [LONG[:6]] * 4, torch.stack([*residuals, strange])))).float(),
        "dola": torch.tensor(dola[0]["score"].to_numpy()),
        "dola_base": torch.tensor(dola[0].query("variant == 'base'").eval("score / tokens").to_numpy()),
        "logit_lens": torch.cat(lenses),
        "apathy": torch.cat(moved),
    }


def dispatched(name: str, module: torch.nn.Module, folder) -> torch.nn.Module:
    """Over two "devices": the processor, and a disk for the last block; hooks move states between them."""
    row = ARCHITECTURES[name]
    base = row.blocks.split(".")[0]
    places = {child: "cpu" for child, _ in module.named_children() if child != base}
    places |= {f"{base}.{child}": "cpu" for child, _ in getattr(module, base).named_children()}
    blocks = places.pop(row.blocks)
    places |= {f"{row.blocks}.{i}": blocks for i in range(3)} | {f"{row.blocks}.3": "disk"}
    return dispatch_model(module, places, main_device="cpu", offload_dir=folder, force_hooks=True)


@pytest.mark.parametrize("how", ["dispatched", "offloaded to disk"])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@torch.inference_mode()
def test_placement_changes_no_method(tiny, name, how, tmp_path):
    whole = tiny(name)
    module = copy.deepcopy(whole.module)
    if how == "dispatched":
        module = dispatched(name, module, tmp_path)
    else:
        module = disk_offload(module, tmp_path, execution_device="cpu")
    placed = LanguageModel(module, ARCHITECTURES[name])
    assert any(parameter.is_meta for parameter in module.parameters())
    expected, found = everything(Engine(whole)), everything(Engine(placed))
    for method, numbers in expected.items():
        torch.testing.assert_close(
            found[method], numbers, rtol=1e-4, atol=1e-5, msg=lambda text, m=method: f"{m}: {text}"
        )
        assert len(numbers.unique()) > 1, method


def differs(found: torch.Tensor, exact: torch.Tensor) -> None:
    """Hold log-probabilities against the float32 model's, with the tolerance that is stated above."""
    difference = (found - exact).abs()
    assert float(difference.max()) < BFLOAT16["largest"] and float(difference.mean()) < BFLOAT16["mean"]
    assert float(exact.max() - exact.min()) > BFLOAT16["largest"], "too much alike to tell a mistake"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@torch.inference_mode()
def test_bfloat16_is_the_float32_model_to_its_precision(tiny, name):
    exact = tiny(name)
    engine = Engine(LanguageModel(random_model(name, seed=1).to(torch.bfloat16), ARCHITECTURES[name]))
    values, directions = head_values(exact), vectors(exact)
    found = engine.read_rows(LONG, TARGET, HeadRows(values))[1].probability
    expected = [
        oracles.head_patched(exact, LONG, TARGET, layer, head, values[layer, head])
        for layer in range(exact.layers)
        for head in range(exact.heads)
    ]
    differs(found.log(), torch.tensor(expected).log())
    found = engine.read_rows(LONG, TARGET, ResidualRows(directions, exact.layers))[1].probability
    expected = [
        oracles.residual_edited(exact, LONG, layer, vector).softmax(-1)[TARGET]
        for layer in range(exact.layers)
        for vector in directions
    ]
    differs(found.log(), torch.stack(expected).log())
    rough, fine = everything(engine), everything(Engine(exact))
    # A vector is as long as it was, in much the same direction.
    for method in ("head_means", "task_vectors"):
        cosine = torch.cosine_similarity(rough[method].float(), fine[method], dim=-1)
        assert float(cosine.min()) > 0.98, method
        torch.testing.assert_close(rough[method].float().norm(dim=-1), fine[method].norm(dim=-1), rtol=0.1, atol=0.01)
    # Log-probabilities of one to three tokens; what DoLa makes of them jumps where a token leaves the mask.
    differs(rough["dola_base"], fine["dola_base"])
    # A hit is a comparison of logits, some of which are closer than this precision.
    for method in ("fv_sweep", "tv_sweep"):
        assert float((rough[method] == fine[method]).float().mean()) >= HITS_ALIKE, method
    differs(rough["logit_lens"].log(), fine["logit_lens"].log())
    differs(rough["icl"].log(), fine["icl"].log())
    # A difference of two norms: held against how far apathy spreads over blocks.
    assert float((rough["apathy"] - fine["apathy"]).abs().mean()) < 0.1 * float(fine["apathy"].std())
