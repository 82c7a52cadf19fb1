"""Schemas of results on question sets: DoLa, logit lens, apathy (how little a sub-layer moves the residual stream)."""

import pandera.pandas as pa

from offcourse.schemas.io import columns

DOLA = columns(
    question=pa.Column(int, pa.Check.ge(0)),
    answer=pa.Column(int, pa.Check.ge(0)),
    kind=pa.Column(str, pa.Check.isin(["best", "true", "false"])),
    tokens=pa.Column(int, pa.Check.gt(0)),
    bucket=pa.Column(str),
    alpha=pa.Column(float, pa.Check.in_range(0.0, 1.0)),
    variant=pa.Column(str, pa.Check.isin(["softmax", "no_softmax", "length_bias", "base"])),
    score=pa.Column(float),
    masked_tokens=pa.Column(int, pa.Check.ge(0)),
)

# Scores of answers under a steering method: each question is judged by vectors of the fold that it is not in. Rows of
# layer -1 and strength 0 are without an edit.
STEERED_ANSWERS = columns(
    fold=pa.Column(int, pa.Check.isin([0, 1])),
    strength=pa.Column(float, pa.Check.ge(0)),
    layer=pa.Column(int, pa.Check.ge(-1)),
    question=pa.Column(int, pa.Check.ge(0)),
    answer=pa.Column(int, pa.Check.ge(0)),
    kind=pa.Column(str, pa.Check.isin(["best", "true", "false"])),
    tokens=pa.Column(int, pa.Check.gt(0)),
    score=pa.Column(float),
)

LOGIT_LENS = columns(
    question=pa.Column(int, pa.Check.ge(0)),
    layer=pa.Column(int, pa.Check.ge(0)),
    top=pa.Column("float32", pa.Check.in_range(0.0, 1.0001)),
    correct=pa.Column("float32", pa.Check.in_range(0.0, 1.0001)),
    incorrect=pa.Column("float32", pa.Check.in_range(0.0, 1.0001)),
    predicted=pa.Column("float32", pa.Check.in_range(0.0, 1.0001)),
)

# mlp is NaN in a block that has no feed-forward network (Mamba).
APATHY = columns(
    question=pa.Column(int, pa.Check.ge(0)),
    layer=pa.Column(int, pa.Check.ge(0)),
    mha=pa.Column("float32"),
    mlp=pa.Column("float32", nullable=True),
)
