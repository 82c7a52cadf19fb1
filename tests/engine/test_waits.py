"""While a sweep runs, the host waits for the device at the end only, however many prompts there are.

A GPU computes while the host starts the next operations, unless the host asks for a value. Of several cards that share
a model, all but one have nothing to do while the host waits. Operations that make the host wait are counted with
torch's dispatcher, on a pretended card (`pretended_card.py`).
"""

from collections import Counter
from dataclasses import replace
from functools import cache
from unittest import mock

import pandas as pd
import pretended_card
import pytest
import torch

from offcourse.check_gpu.subjects import prompt
from offcourse.data.registry import Registry
from offcourse.engine import Engine, ResidualRows
from offcourse.engine.forest import Forest
from offcourse.methods.cie import head_effects
from offcourse.methods.dola import Answer, _started
from offcourse.methods.fv_sweep import sweep as fv_sweep
from offcourse.methods.readings import apathy, lens
from offcourse.methods.tv_sweep import sweep as tv_sweep

aten = torch.ops.aten
# Operations that hand a value, or a number of values, to the host.
READS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.is_nonzero.default, aten.equal.default}
EDITS = 3


class Waits(pretended_card.Meter):
    """Counts operations for which the host waits: values that it reads, and copies that are not asked to go on."""

    def __init__(self):
        super().__init__()
        self.counted: Counter = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in READS and args[0].device.type == "cuda":
            self.counted[str(func)] += 1
        if func is aten.index.Tensor and args[0].device.type == "cuda":
            self.counted["index by a mask"] += any(index is not None and index.dtype == torch.bool for index in args[1])
        if func in (aten._to_copy.default, aten.copy_.default):
            self._copy(func, args, kwargs)
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _copy(self, func, args, kwargs) -> None:
        if func is aten.copy_.default:
            target, source, goes_on = args[0].device, args[1].device, len(args) > 2 and args[2]
        else:
            target, source, goes_on = kwargs.get("device") or args[0].device, args[0].device, kwargs.get("non_blocking")
        if {source.type, torch.device(target).type} == {"cpu", "cuda"} and not (goes_on or kwargs.get("non_blocking")):
            self.counted[f"copy {source.type} to {torch.device(target).type}"] += 1


def effects(engine, row, count):
    asked = pd.DataFrame({"token_ids": [prompt(row, 20 + i, i) for i in range(count)], "target_id": range(count)})
    head_effects(engine, asked, torch.empty(row.layers, row.heads, row.head_dim), False)


def sweep(engine, row, count):
    asked = pd.DataFrame({"token_ids": [prompt(row, 7 + i, i) for i in range(count)], "target_id": range(count)})
    fv_sweep(engine, asked, torch.empty(EDITS, row.width))


def task_vectors(engine, row, count):
    found = tv_sweep(engine, [prompt(row, 5 + i, i) for i in range(count)], torch.empty(count, row.layers, row.width))
    torch.stack(list(found)).cpu()


def captured(engine, row, count):
    engine.capture_residuals([prompt(row, 20 + i, i) for i in range(count)])


DOLA = {
    "dola_mask": "as_coded",
    "dola_premature_norm": "none",
    "dola_divergence": "mean_kl",
    "score_dtype": "float32",
    "length_bias (protocol)": "subtracted",
    "length_bias": 1.0,
    "alphas": [0.0, 0.1],
}


def dola(engine, row, count):
    """Only the passes and their contrasts: with a pretended card there are no numbers to choose settings by."""
    for i in range(count):
        ids = prompt(row, 20 + i, i)
        group = [Answer(i, 0, "best", (*ids, 5, 6), len(ids) - 1), Answer(i, 1, "false", (*ids, 7), len(ids) - 1)]
        _started(engine, group, [0, 1], None, DOLA, (0.0, 0.1))


def readings(engine, row, count):
    for part in engine.readings([prompt(row, 40 + i, i) for i in range(count)]):
        lens(engine, part, [(5, [6, 7])] * (part.prompts.stop - part.prompts.start))
        apathy(part)


def waits(mode, run) -> Counter:
    counter = Waits()
    with mode, counter, torch.inference_mode(), mock.patch.object(Forest, "ancestors", property(pretended_card._mask)):
        run()
    return +counter.counted


def one_by_one(engine, row, count):
    """What a sweep must not do: bring each prompt's read-out to the host before the next prompt is started."""
    rows = ResidualRows(torch.empty(EDITS, row.width), row.layers)
    for i in range(count):
        engine.read_rows(prompt(row, 7 + i, i), i, rows)


@cache
def model_of(name: str):
    row = replace(Registry.load(locked=False).model(name), layers=2)
    return row, *pretended_card.pretended(row, "bfloat16")


def counted(name: str, run, count: int) -> Counter:
    row, mode, model = model_of(name)
    return waits(mode, lambda: run(Engine(model, 60), row, count))


@pytest.mark.parametrize("run", [effects, sweep, task_vectors, captured, dola, readings])
@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-2-9b", "gpt-j-6b"])
def test_the_host_waits_as_often_for_many_prompts_as_for_few(name, run):
    few, many = counted(name, run, 1), counted(name, run, 3)
    assert few == many and sum(many.values()) <= 2


def test_a_host_that_waits_for_each_prompt_is_seen():
    few, many = (counted("llama-3.1-8b", one_by_one, count)["copy cuda to cpu"] for count in (1, 3))
    assert many == 3 * few > 0
