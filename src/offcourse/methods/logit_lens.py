"""The logit lens: what each layer would predict (paper section 3.2)."""

import pandas as pd

from offcourse.data.rows import QuestionSet
from offcourse.methods.readings import measure


def compute(context, row: QuestionSet) -> pd.DataFrame:
    """Probabilities under `LOGIT_LENS`."""
    return measure(context, row).lens
