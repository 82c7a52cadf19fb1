"""The unembedding, computed a slice of the vocabulary at a time, so that the whole logits never fill the memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from offcourse.engine.exponentials import exp_
from offcourse.engine.placed import on_device
from offcourse.errors import OffcourseError

# Words and states of one slice, and states of one slice when a CPU computes only hits of one target. On a CPU 1,024
# words x 512 states of float32 are 2 MB, so a slice of logits stays in a core's cache. On a GPU slices are large, since
# starting a matrix product takes as long as computing a small one.
WORDS = {"cpu": 1024, "cuda": 8192}
STATES = {"cpu": 512, "cuda": 4096}
HIT_STATES = 2048


@dataclass
class Readout:
    """The model's output for one target token, per state.

    probability: [states] float32, softmax over the vocabulary at the target.
    hit: [states] bool, no other token has a larger logit (rank 0; a tie for the first place is a hit). A state of zeros
        gives every token the same logit: it names no token, so it is no hit.
    """

    probability: Tensor
    hit: Tensor

    def __getitem__(self, part) -> "Readout":
        return Readout(self.probability[part], self.hit[part])

    def cpu(self) -> "Readout":
        """The read-out on the host, which waits for the device."""
        return Readout(self.probability.cpu(), self.hit.cpu())


@torch.inference_mode()
def read(
    head: torch.nn.Module,
    states: Tensor,
    targets: Tensor,
    softcap: float | None,
    probability: bool,
    wide: bool = False,
) -> Readout:
    """Probability and rank of `targets` ([states] token ids, on the host) from final-normed `states` ([states, width]).

    head: the unembedding module, with or without a bias; an offloaded one is called as a module.
    softcap: Gemma 2's cap on the final logits.
    probability: False skips the normalisation when only hits are wanted (probabilities are then NaN).
    wide: whether logits are float32 numbers, not rounded to the model's precision (`protocol.logits_dtype`).

    The read-out is on the head's device, and the host waits for nothing there: states of a GPU that were beaten by some
    word are read to the end, since dropping them would make the host wait for their number.
    """
    _need_weights(head, wide)
    targets = targets.cpu()
    one = not probability and not head.weight.is_cuda and not head.weight.is_meta and len(targets.unique()) == 1
    # With one target most states are dropped early, so more states begin together to keep the products large.
    together = HIT_STATES if one else _of(STATES, head)
    parts = []
    for start in range(0, len(states), together):
        part = slice(start, start + together)
        if head.weight.is_meta:
            parts.append(_read_whole(head, states[part], targets[part], softcap))
        elif one:
            parts.append(_read_hits(head, states[part], int(targets[0]), wide))
        else:
            parts.append(_read_sliced(head, states[part], targets[part], softcap, probability, wide))
    hit = torch.cat([part.hit for part in parts])
    if head.bias is None:
        hit &= states.any(-1).to(hit.device)
    return Readout(torch.cat([part.probability for part in parts]), hit)


def _of(sizes: dict[str, int], head: torch.nn.Module) -> int:
    return sizes["cuda" if head.weight.is_cuda else "cpu"]


@torch.inference_mode()
def predict(head: torch.nn.Module, states: Tensor, wide: bool = False) -> Tensor:
    """The most likely token of each final-normed state: [states] ids, on the head's device. wide: see `read`.

    A soft cap would change no order.
    """
    _need_weights(head, wide)
    if head.weight.is_meta:
        return torch.cat([head(part).argmax(-1) for part in states.split(_of(STATES, head))])
    weight, words = head.weight, _of(WORDS, head)
    states = states.to(weight.device, weight.dtype)
    largest = torch.full((len(states),), float("-inf"), device=weight.device)
    token = torch.zeros(len(states), dtype=torch.long, device=weight.device)
    for start in range(0, len(weight), words):
        value, place = product(head, states, slice(start, start + words), wide=wide).float().max(-1)
        better = value > largest
        largest, token = torch.where(better, value, largest), torch.where(better, place + start, token)
    return token


def _need_weights(head, wide: bool) -> None:
    if wide and head.weight.is_meta:
        raise OffcourseError(
            "logits_dtype: float32 reads the unembedding's weights, and these wait in memory or on disk. Give the job "
            "more or larger cards, or set protocol: {logits_dtype: model}."
        )


def _read_sliced(head, states, targets, softcap, probability, wide) -> Readout:
    weight, step = head.weight, _of(WORDS, head)
    states = states.to(weight.device, weight.dtype)
    at_target = torch.full((len(states),), float("-inf"), device=weight.device)
    largest = at_target.clone()
    total = torch.zeros_like(at_target)
    buffer = torch.empty(len(states), step, dtype=_precision(states, wide), device=weight.device)
    for start in range(0, len(weight), step):
        words = min(step, len(weight) - start)
        logits = product(head, states, slice(start, start + words), buffer if words == step else None, wide)
        here = ((targets >= start) & (targets < start + words)).nonzero()[:, 0]
        if len(here):
            # The target's logit is taken from this product, so that the comparison with the maximum is exact.
            column = on_device(targets[here] - start, weight.device)
            here = on_device(here, weight.device)
            at_target[here] = logits[here, column].float()
        if not probability:
            torch.maximum(largest, logits.amax(-1).float(), out=largest)
            continue
        logits = _cap(logits.float(), softcap)
        new = torch.maximum(largest, logits.amax(-1))
        total = total * torch.exp(largest - new) + exp_(logits.sub_(new[:, None])).sum(-1)
        largest = new
    if not probability:
        return Readout(torch.full_like(at_target, float("nan")), at_target >= largest)
    at_target = _cap(at_target, softcap)
    return Readout(torch.exp(at_target - largest) / total, at_target >= largest)


def _read_hits(head, states, target: int, wide: bool) -> Readout:
    """Hits of one target. A state is dropped as soon as a word beats the target, so most states need few slices."""
    weight, step = head.weight, _of(WORDS, head)
    states = states.to(weight.device, weight.dtype)
    hit = torch.zeros(len(states), dtype=torch.bool, device=weight.device)
    alive = torch.arange(len(states), device=weight.device)
    buffer = torch.empty(len(states) * step, dtype=_precision(states, wide), device=weight.device)
    first = target - target % step
    # The target's own slice comes first: its logit and its rivals' in this slice then come from one product.
    at_target = None
    for start in (first, *(begin for begin in range(0, len(weight), step) if begin != first)):
        words = min(step, len(weight) - start)
        logits = buffer[: len(states) * words].view(len(states), words)
        product(head, states, slice(start, start + words), logits, wide)
        if at_target is None:
            at_target = logits[:, target - start].clone()
        ahead = at_target >= logits.amax(-1)
        left = int(ahead.sum())
        if left < len(states):
            states, at_target, alive = states[ahead], at_target[ahead], alive[ahead]
        if not left:
            break
    hit[alive] = True
    return Readout(torch.full((len(hit),), float("nan"), device=hit.device), hit)


def _read_whole(head, states, targets, softcap) -> Readout:
    logits = _cap(head(states).float(), softcap)
    targets = targets.to(logits.device)
    at_target = logits.gather(1, targets[:, None])[:, 0]
    return Readout(torch.exp(at_target - logits.logsumexp(-1)), at_target >= logits.amax(-1))


def _precision(states: Tensor, wide: bool) -> torch.dtype:
    return torch.float32 if wide else states.dtype


def product(head, states: Tensor, words: slice, out: Tensor | None = None, wide: bool = False) -> Tensor:
    """Logits [states, words] of a slice of the vocabulary; out: a tensor to write them to. wide: see `read`.

    A bias is added within the product, as the module does, so that half precision rounds the sum once.
    """
    weight = head.weight[words]
    if wide and weight.dtype != torch.float32:
        if weight.is_cuda:
            # The card adds up in float32 anyway and rounds at the end; here the sums are left as they are.
            logits = torch.mm(states, weight.T, torch.float32, out=out)
        else:
            logits = torch.mm(states.float(), weight.T.float(), out=out)
        return logits if head.bias is None else logits.add_(head.bias[words])
    if head.bias is None:
        return torch.mm(states, weight.T, out=out)
    return torch.addmm(head.bias[words], states, weight.T, out=out)


def _cap(logits: Tensor, softcap: float | None) -> Tensor:
    return logits if softcap is None else torch.tanh(logits / softcap) * softcap
