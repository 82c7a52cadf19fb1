"""Apathy: how little the sub-layers move the residual stream (paper section 3.3, Eq. 6)."""

import pandas as pd

from offcourse.data.rows import QuestionSet
from offcourse.methods.readings import measure


def compute(context, row: QuestionSet) -> pd.DataFrame:
    """Apathy of every question and block, a table of schema `APATHY`; see `readings.apathy`."""
    return measure(context, row).apathy
