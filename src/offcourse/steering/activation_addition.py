"""Activation addition (Turner et al. 2023, "Activation Addition: Steering Language Models Without Optimization").

The vectors of a layer are the states of one prompt less those of another, token by token, and are added to the first
tokens of the prompt that is steered. Both prompts are brought to one length with spaces at the end of the shorter one.
Here the first prompt is the task's description, and the second is empty, hence spaces alone.

Tokens are aligned at the front, as in their code: the first vector is added to the first token. Their models have a BOS
token, at which two prompts have the same state. A tokenizer that adds a BOS does so here in all three prompts; where it
adds none, the first vector is a difference of two first words. If the steered prompt is shorter than the description,
the vectors behind its end are left out; their code refuses such a prompt.

Their layer l is the input of block l, hence the state after block l - 1. They choose layer and coefficient by hand (a
coefficient of 1 to 20 or so); here both are swept.
"""

from offcourse.data.rows import Task
from offcourse.errors import OffcourseError
from offcourse.steering.contract import Settings, SteeringMethod


class ActivationAddition(SteeringMethod):
    """A layer has a vector per token, which are added to the first tokens of the prompt."""

    label = "ActAdd"
    question = "How much does activation addition (ActAdd), the task's description in place of spaces?"
    source = "Turner et al. 2023"
    columns = ("description",)
    positions = "first"

    def passes(self, settings: Settings, shots: int, trials: int) -> tuple[int, int]:
        """Two prompts of some ten tokens."""
        return 2, 1

    def build(self, context, task: Task):
        """[layers, tokens, width] float32. Raises `OffcourseError` for a task without a description."""
        if not task.description:
            raise OffcourseError(
                f"activation_addition: task {task.name} has no description, of which the vectors are built. Fill in "
                "the column description of its row in resources/tasks.tsv, or leave the task out of "
                "activation_addition.tasks."
            )
        prompts = aligned(context.tokenizer, task.description, "")
        # The state at a token is that of the prompt that ends there.
        states = [
            context.engine.capture_residuals([ids[: end + 1] for end in range(len(ids))]).transpose(0, 1)
            for ids in prompts
        ]
        return states[0] - states[1]


def aligned(tokenizer, first: str, second: str) -> tuple[list[int], list[int]]:
    """Token ids of two texts, the shorter of which is filled up with the token of a space at its end."""
    ids = [list(tokenizer.encode(text)) for text in (first, second)]
    space = tokenizer.encode_bare(" ")[-1]
    length = max(map(len, ids))
    return tuple(some + [space] * (length - len(some)) for some in ids)


METHOD = ActivationAddition()
