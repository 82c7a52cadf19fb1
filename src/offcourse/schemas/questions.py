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
