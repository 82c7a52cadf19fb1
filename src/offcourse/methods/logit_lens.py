"""The logit lens: what each layer would predict (paper section 3.2)."""

import pandas as pd

from offcourse.methods.readings import measure
from offcourse.registry import QuestionSet


def compute(job, row: QuestionSet) -> pd.DataFrame:
    """Probabilities under `artefacts.LOGIT_LENS`."""
    return measure(job, row).lens
