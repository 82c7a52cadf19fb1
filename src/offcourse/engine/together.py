"""What a model says after several prompts under few edits: hits, and log-probabilities of texts.

The prompts go through the model together. A pass of few tokens takes a CPU nearly as long as one of many, since most of
its time is to read the weights.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from offcourse.engine import unembed
from offcourse.engine.edit_pass import EditPass
from offcourse.engine.edited import LOGIT_BYTES, NOT_KEPT, is_largest, logits_under, whole_states
from offcourse.engine.edits import BEHIND_PROMPT, Edit
from offcourse.engine.forest import Forest, cuts
from offcourse.engine.halving import halving
from offcourse.engine.placed import on_device
from offcourse.engine.run import Context, Engine

# Token ids of a prompt and of what follows it.
Text = tuple[Sequence[int], Sequence[int]]


def hits_together(
    engine: Engine, prompts: Sequence[Sequence[int]], targets: Sequence[int], edits: Sequence[Edit]
) -> Tensor:
    """[prompts, edits] bool, whether each prompt's target has the largest logit under each edit.

    Prompts go through the model together. edits: of one site and at the same positions.
    """
    parts = _parts(engine, [(ids, ()) for ids in prompts], edits)
    return torch.cat([_hits_together(engine, prompts[part], targets[part], edits) for part in parts])


@halving
@torch.inference_mode()
def _hits_together(engine: Engine, prompts, targets: Sequence[int], edits: Sequence[Edit]) -> Tensor:
    """`hits_together` of some of the prompts."""
    states, model = last_states_together(engine, [(ids, ()) for ids in prompts], edits), engine.model
    if edits[0].site != "logits":
        wanted = torch.tensor([int(target) for target in targets]).repeat_interleave(len(edits))
        read = unembed.read(model.head, states.flatten(0, 1), wanted, model.final_softcap, False, engine.wide)
        return read.hit.view(len(prompts), len(edits)).cpu()
    under = [logits_under(engine, states[:, place], edit) for place, edit in enumerate(edits)]
    rows = zip(torch.stack(under, 1), targets, strict=True)
    return torch.stack([is_largest(logits, int(target)) for logits, target in rows]).cpu()


@halving
@torch.inference_mode()
def last_states_together(engine: Engine, texts: Sequence[Text], edits: Sequence[Edit]) -> Tensor:
    """[texts, edits, width] final-normed states of the last token of each text under each edit.

    edits: of a site with states, and at the same positions.
    """
    found = []
    for part in _parts(engine, texts, edits):
        where, states, _ = _together(engine, texts[part], edits, None, unedited=False)
        found.append(states[:, [path[-1] for path in where]].transpose(0, 1))
    return torch.cat(found)


def read_texts(
    engine: Engine, texts: Sequence[Text], edits: Sequence[Edit] = (), context: Context | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each text, log-probabilities of the next token after its prompt, and the log-probability of what follows it.

    [1 + edits, vocabulary] and [1 + edits], float32 in nats: without an edit (row 0) and under each edit. Texts go
    through the model together.
    edits: of one site and at the same positions.
    context: what every prompt begins with, kept before (`Engine.keep`); only for edits of answers and last tokens.
    """
    for part in _parts(engine, texts, edits, context):
        yield from _read_texts(engine, texts[part], edits, context)


@halving
@torch.inference_mode()
def _read_texts(engine: Engine, texts, edits: Sequence[Edit], context: Context | None) -> list[tuple[Tensor, Tensor]]:
    """`read_texts` of some of the texts."""
    found = []
    for part in _parts(engine, texts, edits, context):
        mine = texts[part]
        where, states, begin = _together(engine, [(prompt, rest[:-1]) for prompt, rest in mine], edits, context)
        # Where each token behind a prompt is predicted: [1 + edits, tokens, width] of each text.
        at = [states[:, path[len(prompt) - 1 - begin :]] for (prompt, _), path in zip(mine, where, strict=True)]
        longest = max(len(rest) for _, rest in mine)
        # A product for many states is faster, as far as their logits may be held at once.
        together = max(1, LOGIT_BYTES // (4 * engine.model.vocabulary * longest * (1 + len(edits))))
        for start in range(0, len(mine), together):
            some = slice(start, start + together)
            found += _read_states(engine, at[some], [rest for _, rest in mine[some]], edits)
    return found


def _read_states(
    engine: Engine, states: Sequence[Tensor], tokens: Sequence[Sequence[int]], edits: Sequence[Edit]
) -> list[tuple[Tensor, Tensor]]:
    """What `read_texts` gives for some texts. states: [1 + edits, tokens, width] of each, where tokens are predicted.

    tokens: of each text, those behind its prompt.
    """
    joined = torch.cat(list(states), 1)
    if edits and edits[0].site == "logits":
        logits = torch.stack([logits_under(engine, *each) for each in zip(joined, (None, *edits), strict=True)])
    else:
        logits = logits_under(engine, joined.flatten(0, 1), None).view(*joined.shape[:2], -1)
    logs = logits.log_softmax(-1)
    wanted = on_device(torch.tensor([token for each in tokens for token in each]), logs.device)
    at = logs.gather(2, wanted.expand(len(logs), -1)[..., None])[..., 0]
    lengths = [len(each) for each in tokens]
    begins = [0, *accumulate(lengths[:-1])]
    scores = torch.stack([part.sum(1) for part in at.split(lengths, 1)]).cpu()
    return list(zip(logs[:, begins].transpose(0, 1).cpu(), scores, strict=True))


def _parts(
    engine: Engine, texts: Sequence[Text], edits: Sequence[Edit], context: Context | None = None
) -> Iterator[slice]:
    """Cut the list of texts where a pass has about `max_tokens` tokens, without an edit and under each edit."""
    begin = len(context.tokens) if context else 0
    budget = engine.max_tokens // (1 + len(edits))
    return cuts([[*prompt[begin:], *rest] for prompt, rest in texts], budget, apart=bool(edits))


def _together(
    engine: Engine, texts: Sequence[Text], edits: Sequence[Edit], context: Context | None, unedited: bool = True
) -> tuple[list[list[int]], Tensor, int]:
    """States of several prompts with one continuation each, in one forest.

    Under edits no two prompts share a token, since an edit may change the token in one prompt and not in the other.
    unedited: False leaves out the states without an edit.
    """
    if engine.whole:
        where, parts = [], []
        for prompt, rest in texts:
            [path], states, _ = whole_states(engine, prompt, [rest], edits)
            begin = sum(part.shape[1] for part in parts)
            where.append([begin + place for place in path])
            parts.append(states if unedited else states[1:])
        return where, torch.cat(parts, 1), 0
    context = context or Context((), {})
    if context.tokens and any(edit.positions not in BEHIND_PROMPT for edit in edits):
        raise ValueError(NOT_KEPT)
    begin = len(context.tokens)
    forest = Forest([[*prompt[begin:], *rest] for prompt, rest in texts], apart=bool(edits))
    if not edits or edits[0].site == "logits":
        alone = EditPass(engine, forest, 0, [], context).states()
        return forest.where, alone.expand(unedited + len(edits), -1, -1), begin
    prompts = torch.empty(len(forest), dtype=torch.long)
    for path, (prompt, _) in zip(forest.where, texts, strict=True):
        prompts[path] = len(prompt)
    return forest.where, EditPass(engine, forest, prompts, edits, context).states(unedited), begin
