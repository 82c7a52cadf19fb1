"""Inference-time intervention (Li et al. 2023, "Inference-Time Intervention: Eliciting Truthful Answers from a
Language Model").

A linear probe per attention head tells true from false answers by the head's output at the answer's last token. The
`heads` heads with the best probes on held-out answers are shifted at every token of the answer, by alpha times the
standard deviation of the head's outputs along a direction. The direction is from the mean of false to the mean of true
answers (their mass mean shift, their best), or the probe's weights.

Their settings for LLaMA 7B: K = 48 heads, alpha = 15, a fifth of the questions held out (validate_2fold.py of their
code). The strength is alpha. Here true and false answers are those of the pairs of `caa`: a query of the task
behind demonstrations, with its answer and with another word's. Their standard deviation is over other texts (ends of
questions and answers that generate); here it is over the same answers.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from offcourse.data.contrasts import Contrasts, labelled
from offcourse.data.draws import keyed_generator
from offcourse.data.names import RESOURCES
from offcourse.data.prompts import EVALUATION_SEED, unevaluated
from offcourse.data.rows import Task
from offcourse.data.tasks import load_pairs
from offcourse.errors import OffcourseError
from offcourse.settings import Ascending, AtLeastTwo, HeadCount, Shots, Strength
from offcourse.steering.caa import contrasts
from offcourse.steering.contract import Settings, SteeringMethod

NAME = "inference_time_intervention"
HELD_OUT = 0.2


class InterventionSettings(Settings):
    """pairs: pairs of a right and a wrong answer. shots: demonstrations in front of each.

    heads: how many are shifted, all of a model that has fewer.
    direction: from the mean of wrong to the mean of right answers (mean_shift), or the weights of the probe.
    strengths: alpha, in standard deviations along the direction.
    """

    strengths: Ascending[Strength] = [5.0, 15.0]
    pairs: AtLeastTwo = 50
    shots: Shots = 5
    heads: HeadCount = 48
    direction: Literal["mean_shift", "probe"] = "mean_shift"


class InferenceTimeIntervention(SteeringMethod):
    """A head has a direction times the standard deviation along it, which is added at every token of the answer."""

    label = "ITI"
    question = (
        "How much does inference-time intervention (ITI), a shift of the heads that tell right from wrong answers?"
    )
    source = "Li et al. 2023"
    settings = InterventionSettings()
    sampled = True
    task_settings = ("pairs", "shots")
    site = "heads"
    positions = "answer"
    together = True

    def passes(self, settings: InterventionSettings, shots: int, trials: int) -> tuple[int, int]:
        """Two prompts a pair."""
        return 2 * settings.pairs, settings.shots

    def build(self, context, task: Task):
        """[layers, heads, head_dim] float32; zero for heads that are not shifted.

        Raises `OffcourseError` when there are too few words that are never evaluated, or too few pairs.
        """
        asked = context.parameters
        words = load_pairs(task, context.study.data, RESOURCES, context.layout.downloads)
        train = unevaluated(words, asked["splits"])
        made = contrasts(task.name, train, asked["pairs"], asked["shots"], NAME, context.draw)
        return self.from_contrasts(context, Contrasts(task.name, labelled(context, task.name, made)))

    def from_contrasts(self, context, contrasts: Contrasts):
        """[layers, heads, head_dim] float32. Raises `OffcourseError` for fewer than two groups of pairs."""
        asked = context.parameters
        held_out = held_out_pairs(contrasts.name, contrasts.grouped, context.draw)
        prompts = [context.tokenizer.encode(text) for text in contrasts.texts]
        outputs = context.engine.capture_heads(prompts, [len(ids) - 1 for ids in prompts]).double().numpy()
        return shifts(outputs[0::2], outputs[1::2], held_out, asked["heads"], asked["direction"]).astype(np.float32)


def held_out_pairs(name: str, groups: Sequence[int], draw: int = 0) -> np.ndarray:
    """[pairs] bool: which pairs choose the heads; the probes are fitted to the others. draw: which sample of pairs.

    name: keys the draw. groups: the group of each pair; a group is held out as a whole.

    Raises `OffcourseError` for fewer than two groups.
    """
    distinct = list(dict.fromkeys(groups))
    count = len(distinct)
    if count < 2:
        raise OffcourseError(
            f"{NAME}.pairs: {count} of {name} cannot be split, since some pairs choose the heads. Use 2 or more."
        )
    order = keyed_generator(EVALUATION_SEED, name, f"{NAME} held out", draw).permutation(count)
    held_out = {distinct[place] for place in order[: max(1, round(HELD_OUT * count))]}
    return np.array([group in held_out for group in groups])


def shifts(right: np.ndarray, wrong: np.ndarray, held_out: np.ndarray, heads: int, direction: str) -> np.ndarray:
    """[layers, heads, head_dim]: unit direction times standard deviation, of the `heads` heads with the best probes.

    right, wrong: outputs of all heads at the last token, [pairs, layers, heads, head_dim]. Of equal probes the first
    heads count, in the order of layers.
    """
    # Takes 0.7 s to import, and every start of the workflow imports this module.
    from sklearn.linear_model import LogisticRegression

    fitted, labels = ~held_out, np.repeat([1, 0], (~held_out).sum())
    accuracy, found = np.zeros(right.shape[1:3]), np.zeros(right.shape[1:])
    for place in np.ndindex(*accuracy.shape):
        yes, no = right[(slice(None), *place)], wrong[(slice(None), *place)]
        probe = LogisticRegression(max_iter=1000).fit(np.concatenate([yes[fitted], no[fitted]]), labels)
        accuracy[place] = (probe.predict(yes[held_out]).mean() + 1 - probe.predict(no[held_out]).mean()) / 2
        # As theirs, the direction and the deviation are of all answers, those that chose the heads included.
        toward = yes.mean(0) - no.mean(0) if direction == "mean_shift" else probe.coef_[0]
        toward = toward / max(np.linalg.norm(toward), np.finfo(float).tiny)
        found[place] = toward * (np.concatenate([yes, no]) @ toward).std()
    best = np.argsort(-accuracy.ravel(), kind="stable")[:heads]
    chosen = np.zeros(accuracy.size, bool)
    chosen[best] = True
    return found * chosen.reshape(accuracy.shape)[..., None]


METHOD = InferenceTimeIntervention()
