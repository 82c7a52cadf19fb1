"""Prompting, the baseline that steering has to beat (Wu et al. 2025, "AxBench", find that few methods do).

The task's description stands in front of the prompt, alone or with demonstrations behind it. A strength is a number of
demonstrations, which are those of the few-shot baseline; few-shot accuracy is prompting with demonstrations alone.
"""

from typing import Annotated

from pydantic import Field

from offcourse.data.prompts import ADVICE
from offcourse.data.rows import QuestionSet, Task
from offcourse.data.targets import prompt_and_answer
from offcourse.errors import OffcourseError
from offcourse.settings import Ascending
from offcourse.steering.contract import PromptMethod, Settings


class PromptingSettings(Settings):
    """strengths: numbers of demonstrations behind the instruction; 0 is the instruction alone."""

    strengths: Ascending[Annotated[int, Field(ge=0, le=1000)]] = [0, 5]


class Prompting(PromptMethod):
    """An instruction in front of the prompt."""

    label = "Prompting"
    question = "How much does an instruction, alone or with demonstrations?"
    source = "Wu et al. 2025"
    settings = PromptingSettings()
    kinds = ("icl",)
    columns = ("description",)

    def passes(self, settings: PromptingSettings, shots: int, trials: int) -> tuple[int, int]:
        """The prompts of the items, at every number of demonstrations."""
        return trials * len(settings.strengths), max(settings.strengths)

    def demonstrations(self, settings: PromptingSettings) -> int:
        """The largest strength."""
        return max(settings.strengths)

    def ask(self, context, task: Task, strength: float) -> list[list[int]]:
        """Token ids of each item's prompt.

        Raises `OffcourseError` for a task without a description, and if the answer's first token is another one behind
        the instruction.
        """
        before = instruction(task)
        prompts = context.prompts(task, "icl")
        found = []
        for prompt in prompts[prompts["shots"] == strength].itertuples():
            what = f"task {task.name}, the answer {prompt.target!r} behind an instruction"
            text = f"{before}{prompt.text}"
            ids, answer = prompt_and_answer(context.tokenizer.encode, text, prompt.target, what, ADVICE)
            if answer[0] != prompt.target_id:
                raise OffcourseError(f"{what} begins with another token than without the instruction. {ADVICE}")
            found.append(ids)
        return found

    def front(self, context, task: Task, strength: float) -> str:
        """The instruction and, of a strength above 0, the first item's demonstrations."""
        prompts = context.prompts(task, "icl")
        text = prompts.loc[prompts["shots"] == strength, "text"].iloc[0]
        return instruction(task) + text[: text.rindex("Q: ")]

    def introduce(self, row: QuestionSet) -> str:
        """The set's description. Raises `OffcourseError` for a set without one."""
        if not row.description:
            raise OffcourseError(
                f"prompting: question set {row.name} has no description, which is the instruction. Fill in the column "
                "description of its row in resources/questions.tsv, or leave the set out of prompting.questions."
            )
        return row.description


def instruction(task: Task) -> str:
    """What stands in front of the prompts of a task. Raises `OffcourseError` for a task without a description."""
    if not task.description:
        raise OffcourseError(
            f"prompting: task {task.name} has no description, which is the instruction. Fill in the column "
            "description of its row in resources/tasks.tsv, or leave the task out of prompting.tasks."
        )
    return f"{task.description}.\n\n"


METHOD = Prompting()
