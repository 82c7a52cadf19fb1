"""Schemas of the authors' released results, converted."""

import pandera.pandas as pa

from offcourse.schemas.io import columns
from offcourse.schemas.questions import DOLA

# Released results (results/published/) hold counts where the items are not known, and null where nothing was released.
PUBLISHED_DOLA = DOLA.update_columns(
    {name: {"dtype": "Int64", "nullable": True} for name in ("tokens", "masked_tokens")}
)

# Means over questions, read back from drawings; see `archive.lens_pages`.
LENS_MEANS = columns(
    layer=pa.Column(int, pa.Check.ge(0)),
    line=pa.Column(str, pa.Check.isin(["top", "correct", "incorrect"])),
    mean=pa.Column(float, pa.Check.in_range(-1e-5, 1.00001)),
    ci_low=pa.Column(float),
    ci_high=pa.Column(float),
    n=pa.Column(int, pa.Check.gt(0)),
)

APATHY_MEANS = columns(
    layer=pa.Column(int, pa.Check.ge(0)),
    line=pa.Column(str, pa.Check.isin(["mha", "mlp", "top"])),
    scaled=pa.Column(float, pa.Check.in_range(-0.1, 1.1)),
    n=pa.Column(int, pa.Check.gt(0)),
    calibration=pa.Column(str, pa.Check.isin(["ticks", "range"])),
)

# The authors drew each mean causal indirect effect as a shade: its place between the task's smallest (0) and largest
# (1) mean. `effect` is null where the page had no scale. See `archive.cie_pages`.
CIE_SHADES = columns(
    layer=pa.Column(int, pa.Check.ge(0)),
    head=pa.Column(int, pa.Check.ge(0)),
    shade=pa.Column(float, pa.Check.in_range(0.0, 1.0)),
    effect=pa.Column(float, pa.Check.in_range(-1.0, 1.0), nullable=True),
    trials=pa.Column(int, pa.Check.gt(0)),
)

PREMATURE_LAYERS = columns(
    bucket=pa.Column(str),
    alpha=pa.Column(float, pa.Check.in_range(0.0, 1.0)),
    variant=pa.Column(str, pa.Check.isin(["softmax", "no_softmax"])),
    layer=pa.Column(int, pa.Check.ge(0)),
    tokens=pa.Column(int, pa.Check.ge(0)),
)

_COUNTS = {"hits": pa.Column("Int64", pa.Check.ge(0), nullable=True), "items": pa.Column(int, pa.Check.gt(0))}

PUBLISHED_FV_SWEEP = columns(
    n_heads=pa.Column(int, pa.Check.gt(0)),
    strength=pa.Column(float),
    layer=pa.Column(int, pa.Check.ge(0)),
    **_COUNTS,
    calibration=pa.Column(str, pa.Check.isin(["page", "means", "open"])),
)

PUBLISHED_TV_SWEEP = columns(
    split=pa.Column(str, pa.Check.isin(["dev", "test"])),
    layer=pa.Column(int, pa.Check.ge(0)),
    **_COUNTS,
)

PUBLISHED_ICL = columns(shots=pa.Column(int, pa.Check.ge(0)), **_COUNTS)
