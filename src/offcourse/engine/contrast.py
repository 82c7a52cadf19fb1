"""Contrasts of two layers' next-token distributions over the whole vocabulary (paper section 3.1, DoLa).

DoLa compares the last (mature) layer with earlier (premature) layers. Per state and premature layer, its whole grid
needs only a few numbers from the vocabulary: the divergence of the two distributions, and the normaliser of their
log-ratio. Buckets, alphas and variants are arithmetic on these numbers, so another setting costs almost nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from offcourse.engine.exponentials import exp_, log_sum_exp_
from offcourse.engine.placed import OnTheWay, on_device
from offcourse.engine.unembed import product
from offcourse.models.footprint import LOGIT_BYTES

# Bytes of one slice of the vocabulary in elementwise operations. On a CPU a slice should stay in a core's cache. On a
# GPU starting an operation takes as long as computing a small one, so slices are large.
SLICE = {"cpu": 1 << 20, "cuda": 64 << 20}
# A finite stand-in for the logarithm of 0.
NOTHING = -1e30


@dataclass
class Contrast:
    """Numbers of `states` states against `layers` premature layers, for `targets` (state, token) pairs; float32.

    log_p: [targets] log-probability of the token under the mature layer.
    log_early: [layers, targets] log-probability of the token under each premature layer.
    largest, smallest: [states] largest and smallest mature log-probability of any token.
    distance: [layers, states] divergence of the premature from the mature distribution.
    normaliser: [alphas, layers, states] log-sum-exp of mature minus premature log-probabilities over the tokens that
        pass alpha (alpha 0: over the whole vocabulary).
    """

    log_p: Tensor
    log_early: Tensor
    largest: Tensor
    smallest: Tensor
    distance: Tensor
    normaliser: Tensor


class Coming:
    """A contrast on its way to the host."""

    def __init__(self, found: Contrast):
        self._parts = {each.name: OnTheWay(getattr(found, each.name)) for each in fields(found)}

    def arrived(self) -> Contrast:
        """The contrast on the host, once it is there."""
        return Contrast(**{name: part.arrived() for name, part in self._parts.items()})


@torch.inference_mode()
def contrast(
    head: torch.nn.Module,
    softcap: float | None,
    final: Tensor,
    hidden: Mapping[int, Tensor],
    state: Tensor,
    token: Tensor,
    divergence: str,
    alphas: Sequence[float] = (0.0,),
) -> Contrast:
    """Compare the mature layer's distribution with the distribution of each premature layer, on the head's device.

    head: the unembedding module; softcap: the cap on its logits, if the model has one.
    final: [states, width], final-normed. hidden: [states, width] per premature layer, in the order of the result.
    state, token: [targets] each; target i is the probability of `token[i]` in the distribution of state `state[i]`.
    divergence: "mean_kl", the mean over the vocabulary of KL(M || p) of both layers, or "jensen_shannon".
    alphas: thresholds for `normaliser`; a token passes when its mature probability is at least alpha times the largest.
    """
    parts, targets = [], []
    together = max(1, LOGIT_BYTES // (4 * (1 + len(hidden)) * head.weight.shape[0]))
    for start in range(0, len(final), together):
        mine = ((state >= start) & (state < start + together)).nonzero()[:, 0]
        rows = slice(start, start + together)
        layers = [states[rows] for states in hidden.values()]
        parts.append(
            _contrast(head, softcap, [final[rows], *layers], state[mine] - start, token[mine], divergence, alphas)
        )
        targets.append(mine)
    order = on_device(torch.argsort(torch.cat(targets)), parts[0].log_p.device)
    along = {"log_p": 0, "log_early": 1, "largest": 0, "smallest": 0, "distance": 1, "normaliser": 2}
    joined = {name: torch.cat([getattr(part, name) for part in parts], axis) for name, axis in along.items()}
    joined["log_p"], joined["log_early"] = joined["log_p"][order], joined["log_early"][:, order]
    return Contrast(**joined)


def _contrast(head, softcap, layers, state, token, divergence, alphas) -> Contrast:
    """`layers`: [states, width] each, the mature one first."""
    logs = _log_probabilities(head, softcap, layers)
    log_p, log_q = logs[0], logs[1:]
    state, token = on_device(state, logs.device), on_device(token, logs.device)
    largest = log_p.amax(-1)
    distance, whole = _apart(log_p, log_q, divergence)
    passing = [_passing(log_p, largest, alpha) for alpha in alphas]
    return Contrast(
        log_p=log_p[state, token],
        log_early=log_q[:, state, token],
        largest=largest,
        smallest=log_p.amin(-1),
        distance=distance,
        normaliser=torch.stack([whole if of is None else _over(log_p, log_q, *of) for of in passing]),
    )


def _log_probabilities(head, softcap, layers) -> Tensor:
    """[layers, states, vocabulary] float32. One matrix product serves all layers, so the weights are read once."""
    if head.weight.is_meta:
        logits = head(torch.cat(layers)).float()
        slices = [logits]
    else:
        weight = head.weight
        states = torch.cat([states.to(weight.device, weight.dtype) for states in layers])
        logits = torch.empty(len(states), len(weight), dtype=torch.float32, device=weight.device)
        slices = logits.split(_words(logits), -1)
        start = 0
        for part in slices:
            words = slice(start, start + part.shape[1])
            if weight.dtype == torch.float32:
                product(head, states, words, out=part)
            else:
                part.copy_(product(head, states, words))
            start = words.stop
    if softcap is not None:
        for part in slices:
            part.div_(softcap).tanh_().mul_(softcap)
    total = torch.stack([log_sum_exp_(part.clone()) for part in slices]).logsumexp(0)
    return logits.sub_(total[:, None]).view(len(layers), -1, logits.shape[1])


def _words(logits: Tensor) -> int:
    """Number of words in one slice of logits [..., vocabulary]."""
    rows = logits.numel() // logits.shape[-1]
    return max(64, SLICE["cuda" if logits.is_cuda else "cpu"] // (4 * rows))


def _apart(log_p, log_q, divergence) -> tuple[Tensor, Tensor]:
    """[layers, states] each: the divergence, and the log-sum-exp of `log_p - log_q`."""
    distance, ratios = 0.0, []
    words = _words(log_q)
    for mine, early in zip(log_p.split(words, -1), log_q.split(words, -1), strict=True):
        p, q = exp_(mine.clone()), exp_(early.clone())
        mixture = (p + q).div_(2)
        log_m = mixture.log()
        if divergence == "mean_kl":
            # M (log M - log p) + M (log M - log q)
            distance = distance + log_m.mul_(2).sub_(mine).sub_(early).mul_(mixture).sum(-1)
        else:
            distance = distance + (p * (mine - log_m) + q * (early - log_m)).sum(-1)
        ratios.append(log_sum_exp_(mine - early))
    if divergence == "mean_kl":
        distance = distance / log_p.shape[1]
    return distance / 2, torch.stack(ratios).logsumexp(0)


def _passing(log_p, largest, alpha) -> tuple[Tensor | None, Tensor] | None:
    """Columns that pass alpha in any state, and [states, columns] where they do; None if all pass everywhere (alpha 0).

    On a GPU the columns are the whole vocabulary (None), since the host would have to wait for their number.
    """
    if alpha == 0:
        return None
    passes = log_p >= (largest + float(torch.log(torch.tensor(alpha))))[:, None]
    if log_p.is_cuda:
        return None, passes
    columns = passes.any(0).nonzero()[:, 0]
    return columns, passes[:, columns]


def _over(log_p, log_q, columns, passes) -> Tensor:
    """[layers, states] log-sum-exp of `log_p - log_q` over the words that pass alpha.

    columns, passes: see `_passing`. The columns are taken a slice at a time, since nearly all words pass where the
    mature layer is undecided.
    """
    words, parts = _words(log_q), []
    starts = range(0, log_p.shape[1], words)
    slices = [slice(start, start + words) for start in starts] if columns is None else columns.split(words)
    for some, passing in zip(slices, passes.split(words, 1), strict=True):
        ratio = log_p[:, some] - log_q[:, :, some]
        # NOTHING and not minus infinity, since a state may have no passing word in a slice.
        parts.append(log_sum_exp_(ratio.masked_fill_(~passing, NOTHING)))
    return torch.stack(parts).logsumexp(0)
