"""Read-outs over several slices of the vocabulary against the whole logits."""

import pytest
import torch
from torch import nn

from offcourse.engine import unembed

VOCABULARY, WIDTH, STATES = 50, 8, 23


@pytest.fixture(params=[False, True], ids=["no bias", "bias"])
def head(request, monkeypatch):
    """An unembedding that is read in slices of 7 words and 10 states; word 40 is word 3 again, which makes ties."""
    monkeypatch.setattr(unembed, "WORDS", {"cpu": 7})
    monkeypatch.setattr(unembed, "STATES", {"cpu": 10})
    monkeypatch.setattr(unembed, "HIT_STATES", {"cpu": 9})
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, VOCABULARY, bias=request.param)
    with torch.no_grad():
        # Of unit length, so that a state along a word's row prefers that word.
        head.weight.copy_(nn.functional.normalize(head.weight, dim=-1))
        head.weight[40] = head.weight[3]
        if request.param:
            head.bias[40] = head.bias[3]
    return head.requires_grad_(False)


@pytest.fixture
def states():
    return torch.randn(STATES, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("target", [0, 3, 6, 7, 40, VOCABULARY - 1])
@pytest.mark.parametrize("probability", [False, True])
def test_hits_of_one_target(head, states, target, probability):
    # Half of the states are made to prefer the target.
    states[::2] = 3 * head.weight[target]
    logits = head(states)
    got = unembed.read(head, states, torch.full((STATES,), target), None, probability)
    expected = logits[:, target] >= logits.amax(-1) - 1e-6
    assert 0 < expected.sum() < STATES
    assert got.hit.tolist() == expected.tolist()
    if probability:
        torch.testing.assert_close(got.probability, logits.softmax(-1)[:, target])


@pytest.mark.parametrize("probability", [False, True])
def test_a_target_of_its_own_for_each_state(head, states, probability):
    logits = head(states)
    targets = logits.argmax(-1)
    targets[::3] = 11
    got = unembed.read(head, states, targets, None, probability)
    assert got.hit.tolist() == (logits.gather(1, targets[:, None])[:, 0] >= logits.amax(-1) - 1e-6).tolist()


def test_the_likeliest_word(head, states):
    assert unembed.predict(head, states).tolist() == head(states).argmax(-1).tolist()
