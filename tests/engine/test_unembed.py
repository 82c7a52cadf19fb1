"""Read-outs over several slices of the vocabulary against the whole logits."""

import pytest
import torch
from torch import nn

from offcourse.engine import unembed
from offcourse.errors import OffcourseError

VOCABULARY, WIDTH, STATES = 50, 8, 23


@pytest.fixture(params=[False, True], ids=["no bias", "bias"])
def head(request, monkeypatch):
    """An unembedding that is read in slices of 7 words and 10 states; word 40 is word 3 again, which makes ties."""
    monkeypatch.setattr(unembed, "WORDS", {"cpu": 7})
    monkeypatch.setattr(unembed, "STATES", {"cpu": 10})
    monkeypatch.setattr(unembed, "HIT_STATES", 9)
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("probability", [False, True])
def test_float32_logits_are_not_rounded(head, states, dtype, probability):
    """The likeliest word of each state; rounded to half precision, other words tie with some of these."""
    head, states = head.to(dtype), states.to(dtype)
    exact = states.double() @ head.weight.T.double() + (0 if head.bias is None else head.bias.double())
    targets = exact.argmax(-1)
    second = exact.scatter(1, targets[:, None], float("-inf")).argmax(-1)
    # Where the second word is word 40 and the first is word 3, or the other way round, both are the same word.
    apart = exact.gather(1, targets[:, None])[:, 0] - exact.gather(1, second[:, None])[:, 0] > 1e-6
    found = unembed.read(head, states, targets, None, probability, wide=True)
    assert found.hit.all()
    assert not unembed.read(head, states, second, None, probability, wide=True).hit[apart].any()
    assert unembed.predict(head, states, wide=True)[apart].tolist() == targets[apart].tolist()
    one = int(second[apart][0])
    hits = unembed.read(head, states, torch.full((STATES,), one), None, probability, wide=True).hit
    assert hits[apart].tolist() == (targets == one)[apart].tolist()
    if probability:
        expected = exact.softmax(-1).gather(1, targets[:, None])[:, 0].float()
        torch.testing.assert_close(found.probability, expected, rtol=1e-5, atol=1e-7)
        rounded = unembed.read(head, states, targets, None, True).probability
        assert float((rounded - expected).abs().max()) > 1e-5


def test_float32_logits_of_offloaded_weights_are_refused():
    head = nn.Linear(WIDTH, VOCABULARY, bias=False, device="meta")
    with pytest.raises(OffcourseError, match="logits_dtype: float32 reads the unembedding's weights"):
        unembed.read(head, torch.zeros(1, WIDTH), torch.zeros(1, dtype=torch.long), None, True, wide=True)
    with pytest.raises(OffcourseError, match="set protocol: {logits_dtype: model}"):
        unembed.predict(head, torch.zeros(1, WIDTH), wide=True)


@pytest.mark.parametrize("probability", [False, True])
def test_a_state_of_zeros_names_no_word(head, states, probability):
    states[4] = 0
    target = 3 if head.bias is None else int(head.bias.argmax())
    got = unembed.read(head, states, torch.full((STATES,), target), None, probability)
    # Without a bias all words are as likely as one another.
    assert bool(got.hit[4]) == (head.bias is not None)
    if probability:
        torch.testing.assert_close(got.probability[4], head(states[4]).softmax(-1)[target])
