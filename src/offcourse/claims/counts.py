"""Shares of models, in which checkpoints of one model count once."""

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from offcourse.analysis.truthfulness import wilson
from offcourse.claims.numbers import Found, NoDataError, model_of
from offcourse.data.registry import Registry


@cache
def registry() -> Registry:
    """The tracked tables, read once."""
    return Registry.load()


def weights_of(model: str) -> str:
    """What the checkpoints of one model have in common: the repository. A model of no table stands for itself."""
    known = registry().models.get(model)
    return known.repo if known and known.source == "hub" else model


def trained_on(model: str) -> float:
    """Tokens that a model or checkpoint was trained on, as models.tsv has them (2.75T, 20B, 15T+); 0 when unknown."""
    known = registry().models.get(model)
    found = re.match(r"(\d+(?:\.\d+)?)([BT])", known.tokens) if known else None
    return float(found[1]) * {"B": 1e9, "T": 1e12}[found[2]] if found else 0.0


def share_of_models(met: Mapping[str, bool], where: str, checkpoints: str = "all") -> Found:
    """Percentage of models for which something is so, with Wilson's interval.

    Checkpoints of one model are one model, and so is one model on several question sets: it is so for the model where
    it is for all of them, or (checkpoints "last") for those that were trained longest.
    met: by model, checkpoint, or "{model} ({question set})".
    """
    if not met:
        raise NoDataError(f"{where} has no model that this counts")
    by_model: dict[str, dict[str, bool]] = {}
    for name, each in met.items():
        by_model.setdefault(weights_of(model_of(name)), {})[name] = bool(each)
    counted = []
    for own in by_model.values():
        longest = max(trained_on(model_of(name)) for name in own)
        kept = [each for name, each in own.items() if checkpoints == "all" or trained_on(model_of(name)) == longest]
        counted.append(float(all(kept)))
    low, high = wilson(counted)
    return Found(100 * float(np.mean(counted)), 100 * low, 100 * high, len(counted), len(counted))
