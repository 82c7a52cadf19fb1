"""In-context vectors (Liu et al. 2024, "In-context Vectors: Making In Context Learning More Effective and Controllable
Through Latent Space Steering").

A demonstration is two texts, here a word of the task and its answer. The states of their last tokens after all blocks
are joined to one long vector each; the in-context vector is the first principal component of the differences, and its
parts belong to the layers. In their code (tasks/base.py) the mean of the differences is added to the component, which
the paper does not say; `direction` has both.

The part of a layer is brought to length 1, times lambda added to the state's own direction at every token, and the sum
is given the state's length. Their paper edits the states after the blocks, as here; their code edits the outputs of
feed-forward networks, and makes lambda larger where a state points away from the vector. Five demonstrations are those
of their README.
"""

from typing import Literal

import numpy as np

from offcourse.data.contrasts import Contrasts, labelled
from offcourse.data.draws import keyed_generator
from offcourse.data.names import RESOURCES
from offcourse.data.prompts import EVALUATION_SEED, unevaluated
from offcourse.data.rows import Task
from offcourse.data.tasks import load_pairs
from offcourse.errors import OffcourseError
from offcourse.settings import Ascending, AtLeastTwo, Strength
from offcourse.steering.contract import Settings, SteeringMethod


class InContextSettings(Settings):
    """demonstrations: words and their answers. direction: the component alone, or with the mean of the differences.

    strengths: lambda, as a share of a state's length.
    """

    strengths: Ascending[Strength] = [0.05, 0.1, 0.2]
    demonstrations: AtLeastTwo = 5
    direction: Literal["component_and_mean", "component"] = "component_and_mean"


class InContextVectors(SteeringMethod):
    """The vector of a layer has length 1 and is added in all layers and at every token; states keep their length."""

    label = "ICV"
    question = "How much do in-context vectors (ICV), from words to their answers in all layers?"
    source = "Liu et al. 2024"
    settings = InContextSettings()
    sampled = True
    sided = False
    operation = "add_keeping_norm"
    positions = "all"
    together = True

    def passes(self, settings: InContextSettings, shots: int, trials: int) -> tuple[int, int]:
        """Two texts a demonstration."""
        return 2 * settings.demonstrations, 0

    def build(self, context, task: Task):
        """[layers, width] float32. Raises `OffcourseError` for fewer words that are never evaluated."""
        asked = context.parameters
        words = load_pairs(task, context.study.data, RESOURCES, context.layout.downloads)
        train = unevaluated(words, asked["splits"])
        if len(train) < asked["demonstrations"]:
            raise OffcourseError(
                f"in_context_vectors: task {task.name} has {len(train)} words that are never evaluated, fewer than "
                f"in_context_vectors.demonstrations ({asked['demonstrations']}). Use fewer, or a longer list."
            )
        order = keyed_generator(EVALUATION_SEED, task.name, "in_context_vectors", context.draw).permutation(len(train))
        made = labelled(context, task.name, [train[row] for row in order[: asked["demonstrations"]]])
        return self.from_contrasts(context, Contrasts(task.name, [(answer, word) for word, answer in made]))

    def from_contrasts(self, context, contrasts: Contrasts):
        """[layers, width] float32: from wrong to right texts, of `demonstrations` pairs that are drawn among all.

        Raises `OffcourseError` for fewer than two pairs.
        """
        asked = context.parameters
        pairs = contrasts.pairs
        if len(pairs) > asked["demonstrations"]:
            order = keyed_generator(EVALUATION_SEED, contrasts.name, "in_context_vectors", 0).permutation(len(pairs))
            pairs = [pairs[place] for place in order[: asked["demonstrations"]]]
        if len(pairs) < 2:
            raise OffcourseError(
                f"in_context_vectors: {contrasts.name} has {len(pairs)} pair of texts, and a principal component of "
                "differences needs two or more. Use a longer set."
            )
        texts = [text for right, wrong in pairs for text in (wrong, right)]
        states = context.engine.capture_residuals([context.tokenizer.encode(text) for text in texts])
        differences = (states[1::2] - states[0::2]).double().numpy()
        return parts(differences, asked["direction"]).astype(np.float32)


def parts(differences: np.ndarray, direction: str) -> np.ndarray:
    """[layers, width], each of length 1: the first principal component of [demonstrations, layers, width] by layer.

    The sign of a component says nothing; it is the one on whose side the mean of the differences is.
    """
    flat = differences.reshape(len(differences), -1)
    mean = flat.mean(0)
    component = np.linalg.svd(flat - mean, full_matrices=False)[2][0]
    component = component * (-1 if component @ mean < 0 else 1)
    joined = component + mean if direction == "component_and_mean" else component
    layers = joined.reshape(differences.shape[1:])
    return layers / np.maximum(np.linalg.norm(layers, axis=1, keepdims=True), np.finfo(float).tiny)


METHOD = InContextVectors()
