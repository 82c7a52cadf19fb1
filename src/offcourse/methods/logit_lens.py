"""The logit lens: what each layer would predict (paper section 3.2)."""

import pandas as pd

from offcourse.data.rows import QuestionSet
from offcourse.methods.readings import measure


def compute(context, row: QuestionSet) -> pd.DataFrame:
    """Probabilities of every question and layer, a table of schema `LOGIT_LENS`; see `readings.lens`."""
    return measure(context, row).lens
