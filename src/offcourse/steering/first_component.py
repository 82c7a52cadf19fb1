"""First principal component of differences (Zou et al. 2023, "Representation Engineering").

The direction of a layer is the first principal component of the differences between paired states, here the pairs of
`mean_difference`. They put each pair in a random order, so that the mean of all differences is near zero; here every
difference enters in both orders, which makes the mean zero and draws nothing. The direction points to the side of the
true demonstrations in most pairs, as their signs do.

A component has length 1, and they multiply it by a coefficient chosen by hand for each model. Here it is made as long
as the mean of the differences, so that a strength means the same for both methods. It is added to every token.
"""

import numpy as np

from offcourse.data.contrasts import Contrasts, differences
from offcourse.steering.mean_difference import MeanDifference


class FirstComponent(MeanDifference):
    """The vector of a layer is a principal component and is added to every token."""

    label = "First component"
    question = "How much does the first principal component of these changes?"
    sided = False

    def from_contrasts(self, context, contrasts: Contrasts):
        """[layers, width] float32."""
        found = differences(context, contrasts)
        vectors = [component(found[:, layer].double().numpy()) for layer in range(found.shape[1])]
        return np.stack(vectors).astype(np.float32)


def component(differences: np.ndarray) -> np.ndarray:
    """The first principal component of [pairs, width] differences in both orders, as long as their mean: [width]."""
    direction = np.linalg.svd(differences, full_matrices=False)[2][0]
    sides = np.sign(differences @ direction).sum()
    return direction * (-1 if sides < 0 else 1) * np.linalg.norm(differences.mean(0))


METHOD = FirstComponent()
