"""The order of heads by their effects, and the rounding floor."""

import numpy as np
import pandas as pd

from offcourse.data.effects import rank_heads, rounding_floor, within_floor


def test_heads_are_ranked_by_their_mean_effect_over_trials():
    effects = np.array([[[0.1, 0.5], [0.2, -0.4]], [[0.3, 0.1], [0.2, -0.9]]], dtype="float32")
    trial, layer, head = (index.ravel() for index in np.indices(effects.shape))
    cie = pd.DataFrame({"trial": trial, "layer": layer, "head": head, "effect": effects.ravel()})
    # Means 0.2, 0.3 | 0.2, -0.65: the tie keeps the order of layers.
    assert rank_heads(cie) == [(0, 1), (0, 0), (1, 0), (1, 1)]
    assert rank_heads(cie.sample(frac=1, random_state=1)) == rank_heads(cie)


def test_a_head_within_the_floor_reads_no_more_than_a_row_without_an_edit():
    """The floor is a mean over trials, as the effects are: single prompts may read more."""
    rows = [
        # trial, layer, head, effect, unedited
        (0, 0, 0, 0.5, 0.3),
        (0, 0, 1, 0.05, 0.3),
        (0, 1, 0, -0.1, 0.0),
        (0, 1, 1, -0.4, 0.0),
        (1, 0, 0, 0.5, -0.5),
        (1, 0, 1, 0.05, -0.5),
        (1, 1, 0, -0.1, 0.1),
        (1, 1, 1, -0.4, 0.1),
    ]
    cie = pd.DataFrame(rows, columns=["trial", "layer", "head", "effect", "unedited"])
    assert rounding_floor(cie) == 0.1
    assert within_floor(cie, [(0, 0), (0, 1), (1, 0), (1, 1)]) == 2
    assert within_floor(cie, [(0, 0), (1, 1)]) == 0
