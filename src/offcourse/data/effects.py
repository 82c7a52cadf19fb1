"""Heads in the order of their causal indirect effects, and how large an effect rounding alone can make."""

import numpy as np
import pandas as pd


def rank_heads(cie: pd.DataFrame, column: str = "effect") -> list[tuple[int, int]]:
    """(layer, head) by descending mean of a column over trials; equal ones keep the order of layers and heads."""
    mean = cie.groupby(["layer", "head"])[column].mean()
    order = np.argsort(-mean.to_numpy(), kind="stable")
    return [(int(layer), int(head)) for layer, head in mean.index[order]]


def rounding_floor(cie: pd.DataFrame) -> float:
    """The largest mean effect, over layers, of a row in which nothing is replaced; its sign does not count.

    cie: a table of schema `CIE`. A head whose mean effect is no larger cannot be told from one without an effect.
    """
    return float(cie.groupby("layer")["unedited"].mean().abs().max())


def within_floor(cie: pd.DataFrame, heads: list[tuple[int, int]]) -> int:
    """How many of some heads, given as (layer, head), have a mean effect no larger than the rounding floor."""
    means = cie.groupby(["layer", "head"])["effect"].mean().abs()
    return int((means.loc[heads] <= rounding_floor(cie)).sum())
