"""Difference in means (Zou et al. 2023, "Representation Engineering: A Top-Down Approach to AI Transparency").

Their cluster means: the mean state with a concept, less the mean state without it. Their reading of functions contrasts
prompts that ask for a function with prompts that do not. Here the function is a task: one prompt has true
demonstrations, the other has the same words with one another's answers, and both are read at their last token.

As in their linear combination, the vector is added to every token. They choose coefficient and layers by hand for each
model; here both are swept.
"""

from offcourse.data.contrasts import Contrasts, demonstrated, differences, labelled
from offcourse.data.names import RESOURCES
from offcourse.data.prompts import unevaluated
from offcourse.data.rows import Task
from offcourse.data.tasks import load_pairs
from offcourse.settings import Items, Shots
from offcourse.steering.contract import Settings, SteeringMethod


class ContrastSettings(Settings):
    """pairs: pairs of prompts, with true demonstrations and with shuffled ones. shots: demonstrations in each."""

    pairs: Items = 25
    shots: Shots = 5


class MeanDifference(SteeringMethod):
    """The vector of a layer is a mean of differences and is added to every token."""

    label = "Difference in means"
    question = "How much does the mean change from shuffled to true demonstrations, added to every token?"
    source = "Zou et al. 2023"
    settings = ContrastSettings()
    sampled = True
    task_settings = ("pairs", "shots")
    positions = "all"

    def passes(self, settings: ContrastSettings, shots: int, trials: int) -> tuple[int, int]:
        """Two prompts a pair."""
        return 2 * settings.pairs, settings.shots

    def build(self, context, task: Task):
        """[layers, width] float32. Raises `OffcourseError` when there are too few words that are never evaluated."""
        return self.from_contrasts(context, shown(context, task))

    def from_contrasts(self, context, contrasts: Contrasts):
        """[layers, width] float32: the mean difference at the last token of the texts."""
        return differences(context, contrasts).mean(0)


def shown(context, task: Task) -> Contrasts:
    """Pairs of prompts with true and with shuffled demonstrations. All methods have the same pairs."""
    [name] = context.step.methods
    words = load_pairs(task, context.study.data, RESOURCES, context.layout.downloads)
    train = unevaluated(words, context.parameters["splits"])
    asked = context.parameters
    made = demonstrated(name, task.name, train, asked["pairs"], asked["shots"], context.draw)
    return Contrasts(task.name, labelled(context, task.name, made))


METHOD = MeanDifference()
