"""Two layers' next-token distributions against each other, over the whole vocabulary (paper section 3.1, DoLa).

All that DoLa's grid needs of the vocabulary is a handful of numbers per state and premature layer: how far the two
distributions are apart, and the normaliser of their log-ratio. Buckets, alphas and variants are then arithmetic on
these, so that a setting more costs next to nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offcourse.engine.exponentials import exp_, log_sum_exp_

# Bytes of one layer's logits: as many states are unembedded together as fit. Three such tensors are alive at once.
LOGITS = 128 << 20
# Words of one slice of the elementwise work.
WORDS = 2048


@dataclass
class Contrast:
    """Numbers of `states` states against `layers` premature layers, for `targets` (state, token) pairs; float32, CPU.

    log_p: [targets] log-probability of the token under the mature layer.
    log_early: [layers, targets] the same under each premature layer.
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
    """Compare the mature layer with premature ones.

    head: the unembedding module; softcap: the cap on its logits, if the model has one.
    final: [states, width], final-normed. hidden: [states, width] per premature layer, in the order of the result.
    state, token: [targets] each, which state's distribution is asked for which token.
    divergence: "mean_kl", the mean over the vocabulary of KL(M || p) of both layers, or "jensen_shannon".
    alphas: thresholds for `normaliser`; a token passes when its mature probability is at least alpha times the largest.
    """
    parts, targets = [], []
    together = max(1, LOGITS // (4 * head.weight.shape[0]))
    for start in range(0, len(final), together):
        mine = ((state >= start) & (state < start + together)).nonzero()[:, 0]
        rows = slice(start, start + together)
        layers = {layer: states[rows] for layer, states in hidden.items()}
        parts.append(
            _contrast(head, softcap, final[rows], layers, state[mine] - start, token[mine], divergence, alphas)
        )
        targets.append(mine)
    order = torch.argsort(torch.cat(targets))
    along = {"log_p": 0, "log_early": 1, "largest": 0, "smallest": 0, "distance": 1, "normaliser": 2}
    joined = {name: torch.cat([getattr(part, name) for part in parts], axis) for name, axis in along.items()}
    joined["log_p"], joined["log_early"] = joined["log_p"][order], joined["log_early"][:, order]
    return Contrast(**{name: value.cpu() for name, value in joined.items()})


def _contrast(head, softcap, final, hidden, state, token, divergence, alphas) -> Contrast:
    log_p = _log_probabilities(head, softcap, final)
    state, token = state.to(log_p.device), token.to(log_p.device)
    p = exp_(log_p.clone())
    largest = log_p.amax(-1)
    passing = [_passing(log_p, largest, alpha) for alpha in alphas]
    log_early, distances, normalisers = [], [], []
    for states in hidden.values():
        log_q = _log_probabilities(head, softcap, states)
        log_early.append(log_q[state, token])
        distance, normaliser = _apart(log_p, p, log_q, divergence)
        distances.append(distance)
        normalisers.append(torch.stack([normaliser if of is None else _over(log_p, log_q, *of) for of in passing]))
    return Contrast(
        log_p=log_p[state, token],
        log_early=torch.stack(log_early),
        largest=largest,
        smallest=log_p.amin(-1),
        distance=torch.stack(distances),
        normaliser=torch.stack(normalisers, 1),
    )


def _log_probabilities(head, softcap, states) -> Tensor:
    """[states, vocabulary] float32; normalised in place, a slice of the vocabulary at a time."""
    if head.weight.is_meta:
        logits = head(states).float()
    else:
        weight = head.weight
        states = states.to(weight.device, weight.dtype)
        logits = torch.nn.functional.linear(states, weight, head.bias).float()
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    total = torch.stack([log_sum_exp_(part.clone()) for part in logits.split(WORDS, -1)]).logsumexp(0)
    return logits.sub_(total[:, None])


def _apart(log_p, p, log_q, divergence) -> tuple[Tensor, Tensor]:
    """[states] each: the divergence, and the log-sum-exp of `log_p - log_q`."""
    distance, ratios = 0.0, []
    for start in range(0, log_p.shape[1], WORDS):
        part = slice(start, start + WORDS)
        mine, early = log_p[:, part], log_q[:, part]
        early_p = exp_(early.clone())
        mixture = (p[:, part] + early_p).div_(2)
        log_m = mixture.log()
        ratio = mine - early
        if divergence == "mean_kl":
            # M (log M - log p) + M (log M - log q)
            distance = distance + log_m.mul_(2).sub_(mine).sub_(early).mul_(mixture).sum(-1)
        else:
            distance = distance + (p[:, part] * (mine - log_m) + early_p * (early - log_m)).sum(-1)
        ratios.append(log_sum_exp_(ratio))
    if divergence == "mean_kl":
        distance = distance / log_p.shape[1]
    return distance / 2, torch.stack(ratios).logsumexp(0)


def _passing(log_p, largest, alpha) -> tuple[Tensor, Tensor] | None:
    """Columns that pass alpha in any state, and [states, columns] where they do; None for the whole vocabulary."""
    if alpha == 0:
        return None
    passes = log_p >= (largest + torch.log(torch.tensor(alpha)).to(largest))[:, None]
    columns = passes.any(0).nonzero()[:, 0]
    return columns, passes[:, columns]


def _over(log_p, log_q, columns, passes) -> Tensor:
    ratio = log_p[:, columns] - log_q[:, columns]
    return log_sum_exp_(ratio.masked_fill_(~passes, float("-inf")))
