"""Apathy: how little the sub-layers move the residual stream (paper section 3.3, Eq. 6)."""

import pandas as pd

from offcourse.methods.readings import measure
from offcourse.registry import QuestionSet


def compute(job, row: QuestionSet) -> pd.DataFrame:
    """Apathy under `artefacts.APATHY`."""
    return measure(job, row).apathy
