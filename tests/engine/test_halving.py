"""A pass that runs out of memory is halved with a message, and the result stays the same."""

import pytest
import torch

from offcourse.engine import Engine, HeadRows
from offcourse.errors import OffcourseError

IDS = [0, 5, 17, 4, 90, 33, 21]
OTHER = [3, *IDS[1:]]


def short_of_memory(model, times: int):
    """Raise torch's error at the last block, so many times."""
    left = [times]

    def hook(module, args, out):
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return model.blocks[-1].register_forward_hook(hook)


@pytest.mark.parametrize("times", [1, 3])
def test_a_pass_without_memory_is_halved_and_changes_no_result(tiny, times, capsys):
    model = tiny("Llama")
    means = torch.randn(model.layers, model.heads, model.head_dim, generator=torch.Generator().manual_seed(1))
    calls = {
        "rows": lambda engine: engine.read_rows(IDS, 7, HeadRows(means))[1].probability,
        "prompts": lambda engine: engine.read([IDS, IDS[:4]], [3, 4]).probability,
        "heads": lambda engine: engine.capture_heads([IDS, IDS[:3]], [2, 1]),
        "words": lambda engine: engine.predict([IDS, IDS[:4]]),
        "states": lambda engine: torch.cat([part.final for part in engine.states([IDS, OTHER], [[6], [6]], [1])]),
        "readings": lambda engine: torch.cat([part.attention[2] for part in engine.readings([IDS, OTHER])]),
    }
    for call in calls.values():
        expected = call(Engine(model, 8))
        engine = Engine(model, 8)
        handle = short_of_memory(model, times)
        try:
            found = call(engine)
        finally:
            handle.remove()
        torch.testing.assert_close(found, expected)
        assert engine.max_rows == engine.max_tokens == 8 // 2**times
        told = capsys.readouterr().err
        assert told.count("no memory left for a pass (CUDA out of memory") == times
        assert f"at most {8 // 2**times} rows" in told


def test_where_no_row_fits_the_job_stops(tiny):
    model = tiny("Llama")
    handle = short_of_memory(model, 100)
    try:
        with pytest.raises(OffcourseError, match="no memory left for a pass of one row"):
            Engine(model, 4).read([IDS], [3])
    finally:
        handle.remove()
