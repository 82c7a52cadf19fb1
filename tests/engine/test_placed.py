"""Copies between host and device."""

import torch

from offcourse.engine.placed import OnTheWay, Placed, on_device

CPU = torch.device("cpu")


def test_what_goes_to_a_device_can_be_pinned():
    """Pinned memory takes no view that repeats numbers: a GPU refused the repeated positions of several prompts."""
    repeated = torch.arange(4).expand(3, 4)
    sent = on_device(repeated, CPU)
    assert sent.is_contiguous() and torch.equal(sent, repeated)
    assert on_device(torch.ones(2), CPU, torch.bfloat16).dtype == torch.bfloat16


def test_a_device_gets_one_copy_in_each_precision():
    placed = Placed(torch.arange(3.0))
    assert placed.on(CPU) is placed.on(CPU)
    assert placed.on(CPU, torch.float16) is placed.on(CPU, torch.float16)
    assert torch.equal(OnTheWay(placed.on(CPU)).arrived(), torch.arange(3.0))
