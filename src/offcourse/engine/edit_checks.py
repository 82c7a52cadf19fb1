"""The check of edits before a sweep: states of some prompts under some edits against one plain forward each."""

from collections.abc import Sequence

from offcourse.engine.checks import Case, Comparison, compare
from offcourse.engine.edit_hooks import hooks_of
from offcourse.engine.edited import last_states
from offcourse.engine.edits import Edit
from offcourse.engine.run import Engine
from offcourse.engine.together import last_states_together
from offcourse.errors import OffcourseError

# Prompts that are compared, each under the first, a middle and the last edit: a few forwards of the prompt each.
PROMPTS = 3


def require_agreement(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    what: str,
    answers: Sequence[Sequence[int]] | None = None,
    together: bool = False,
) -> None:
    """Raise `OffcourseError` unless the engine's states under edits agree with plain forwards.

    Compared are the last states of the first prompts, under the first, a middle and the last edit.

    The limit is that of the self-checks at load (`engine.checks`). Edits of logits change no state and always agree.
    what: how messages name the edits. answers, together: see `agreement`.
    """
    some = [edits[index] for index in sorted({0, len(edits) // 2, len(edits) - 1})]
    found = agreement(engine, prompts[:PROMPTS], [edit for edit in some if edit.site != "logits"], answers, together)
    if not found.error <= found.limit:
        raise OffcourseError(
            f"{what}: the states under edits are not those of one plain forward per edit (error {found.error:.2g}, "
            f"limit {found.limit:.2g}). No result is made from this model by a method that edits "
            f"{edits[0].positions} tokens of the {edits[0].site} site."
        )


def agreement(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    answers: Sequence[Sequence[int]] | None = None,
    together: bool = False,
) -> Comparison:
    """The engine's last states of prompts under edits against plain forwards. edits: at the same positions.

    answers: an answer behind each prompt, whose last state is then compared. together: the prompts go through the model
    together, as in `engine.together`.
    """
    cases = []
    texts = [
        (list(map(int, prompt)), list(map(int, answers[number])) if answers else [])
        for number, prompt in enumerate(prompts if edits else ())
    ]
    found = (
        last_states_together(engine, texts, edits)
        if together and texts
        else [last_states(engine, ids, edits, answer) for ids, answer in texts]
    )
    for (ids, answer), states in zip(texts, found, strict=True):
        cases += [
            Case(ids + answer, hooks_of(engine.model, edit, len(ids), len(ids + answer)), [mine])
            for edit, mine in zip(edits, states, strict=True)
        ]
    return compare(engine.model, {"edits": cases})["edits"]
