"""What a model says under many edits of one prompt: hits of one target, and log-probabilities of whole answers.

The edits share the computation of what they leave as it is.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from offcourse.engine import unembed
from offcourse.engine.edit_hooks import hooks_of
from offcourse.engine.edit_pass import EditPass
from offcourse.engine.edits import BEHIND_PROMPT, OPERATIONS, Edit
from offcourse.engine.forest import Forest, shared_beginning
from offcourse.engine.halving import halving
from offcourse.engine.placed import on_device
from offcourse.engine.run import Context, Engine

# Logits [states, vocabulary] float32 that are held at once when a log-probability is read.
LOGIT_BYTES = 64 << 20

NOT_KEPT = "edits of a prompt change its beginning, so the beginning cannot be kept for them"


@halving
@torch.inference_mode()
def read_edited(
    engine: Engine, prompt: Sequence[int], target: int, edits: Sequence[Edit], probability: bool = False
) -> unembed.Readout:
    """Probability and hit of one token after the prompt, under each edit ([edits], in their order).

    edits: of one site and at the same positions. probability: False leaves probabilities out (they are NaN).
    """
    where, states, _ = _states(engine, prompt, [[]], edits, None)
    [last] = [path[-1] for path in where]
    model, mine = engine.model, states[1:, last]
    if edits[0].site != "logits":
        targets = torch.full((len(edits),), int(target))
        return unembed.read(model.head, mine, targets, model.final_softcap, probability, engine.wide).cpu()
    logits = torch.cat([logits_under(engine, mine[:1], edit) for edit in edits])
    return unembed.Readout(logits.softmax(-1)[:, target].cpu(), is_largest(logits, target).cpu())


def is_largest(logits: Tensor, target: int) -> Tensor:
    """[states] bool, see `unembed.Readout.hit`. logits: [states, vocabulary]."""
    largest = logits.amax(-1)
    return (logits[:, target] >= largest) & (largest > logits.amin(-1))


@halving
@torch.inference_mode()
def last_states(engine: Engine, prompt: Sequence[int], edits: Sequence[Edit], answer: Sequence[int] = ()) -> Tensor:
    """[edits, width] final-normed states of the last token of the prompt and an answer under each edit.

    edits: at the same positions.
    """
    where, states, _ = _states(engine, prompt, [answer], edits, None)
    return states[1:, where[0][-1]]


@halving
@torch.inference_mode()
def score_answers(
    engine: Engine,
    prompt: Sequence[int],
    answers: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    context: Context | None = None,
) -> Tensor:
    """Log-probabilities of whole answers, without an edit (row 0) and under each edit: [1 + edits, answers] float32.

    An answer's log-probability is the sum over its tokens. edits: of one site and at the same positions.
    context: a beginning of the prompt that was run before (`Engine.keep`); only for edits of answers and last tokens.

    Raises `ValueError` for a context that edits would have to change.
    """
    where, states, begin = _states(engine, prompt, [answer[:-1] for answer in answers], edits, context)
    # The tokens at which each token of each answer is predicted.
    paths = [path[len(prompt) - 1 - begin :] for path in where]
    nodes = [node for path in paths for node in path]
    wanted = [token for answer in answers for token in answer]
    # Answers that share a beginning are predicted at one state, which is unembedded once.
    distinct = sorted(set(nodes))
    states = states[:, distinct]
    rows = torch.tensor([distinct.index(node) for node in nodes])
    if edits and edits[0].site == "logits":
        parts = [
            _log_probabilities(engine, mine, rows, wanted, edit)
            for mine, edit in zip(states, [None, *edits], strict=True)
        ]
        logs = torch.cat(parts)
    else:
        offsets = torch.arange(len(states))[:, None] * len(distinct)
        logs = _log_probabilities(engine, states.flatten(0, 1), (offsets + rows).flatten(), wanted * len(states), None)
    each = logs.view(len(states), -1).split([len(answer) for answer in answers], 1)
    return torch.stack([part.sum(1) for part in each], 1).cpu()


def keep_shared(engine: Engine, prompts: Sequence[Sequence[int]]) -> Context:
    """What all prompts begin with, run once and kept; each prompt has a token of its own behind."""
    return engine.keep(prompts[0][: shared_beginning(prompts, min(map(len, prompts)) - 1)])


def _states(
    engine: Engine,
    prompt: Sequence[int],
    continuations: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    context: Context | None,
) -> tuple[list[list[int]], Tensor, int]:
    """(where, final-normed states [1 + edits, states, width], tokens that have no states) of prompt and continuations.

    where: for each continuation, the index of the state of each token, from the first token that has one.
    Edits behind the prompt share the prompt's keys and values, other edits what lies below their layer. On the plain
    path nothing is shared.
    """
    behind = all(edit.positions in BEHIND_PROMPT for edit in edits)
    if context and not behind:
        raise ValueError(NOT_KEPT)
    if engine.whole:
        return whole_states(engine, prompt, continuations, edits)
    context = context or Context((), {})
    if behind and len(prompt) - 1 > len(context.tokens):
        context = engine.keep(prompt[len(context.tokens) : -1], context)
    begin = len(context.tokens)
    forest = Forest([[*prompt[begin:], *rest] for rest in continuations])
    if edits and edits[0].site == "logits":
        alone = EditPass(engine, forest, len(prompt), [], context).states()
        return forest.where, alone.expand(1 + len(edits), -1, -1), begin
    return forest.where, EditPass(engine, forest, len(prompt), edits, context).states(), begin


def whole_states(engine, prompt, continuations, edits) -> tuple[list[list[int]], Tensor, int]:
    """`_states` on the plain path: a whole forward for each edit and continuation. engine: a `PlainEngine`."""
    sequences = [[*prompt, *rest] for rest in continuations]
    ends = list(accumulate(map(len, sequences), initial=0))

    def under(edit: Edit | None) -> Tensor:
        hung = [hooks_of(engine.model, edit, len(prompt), len(ids)) if edit else list for ids in sequences]
        return torch.cat([engine.under(ids, hooks) for ids, hooks in zip(sequences, hung, strict=True)])

    return [list(range(*span)) for span in pairwise(ends)], torch.stack([under(edit) for edit in (None, *edits)]), 0


def logits_under(engine: Engine, states: Tensor, edit: Edit | None) -> Tensor:
    """[states, vocabulary] float32, under an edit of logits if there is one."""
    model = engine.model
    if model.head.weight.is_meta:
        logits = model.head(states).float()
    else:
        states = states.to(model.head.weight.device, model.head.weight.dtype)
        logits = unembed.product(model.head, states, slice(0, model.vocabulary), wide=engine.wide).float()
    if model.final_softcap is not None:
        logits = torch.tanh(logits / model.final_softcap) * model.final_softcap
    if edit is not None:
        [value] = edit.values.values()
        logits = OPERATIONS[edit.operation](logits, value.to(logits))
    return logits


def _log_probabilities(
    engine: Engine, states: Tensor, rows: Tensor, targets: Sequence[int], edit: Edit | None
) -> Tensor:
    """[targets] log-probability of each target at its state. rows: [targets] indices of states."""
    at_once = max(1, LOGIT_BYTES // (4 * engine.model.vocabulary))
    targets, found = torch.tensor(list(targets)), torch.empty(len(rows))
    found = found.to(engine.model.head_device)
    for start in range(0, len(states), at_once):
        mine = ((rows >= start) & (rows < start + at_once)).nonzero()[:, 0]
        logits = logits_under(engine, states[start : start + at_once], edit)
        norm = logits.logsumexp(-1)
        here = on_device(rows[mine] - start, logits.device)
        at = logits[here, on_device(targets[mine], logits.device)] - norm[here]
        found[on_device(mine, found.device)] = at.to(found.device)
    return found
