"""Schemas of results of function vectors and other steering methods: accuracies, effects, sweeps, controls."""

import pandera.pandas as pa

from offcourse.schemas.io import columns

ICL = columns(
    shots=pa.Column(int, pa.Check.ge(0)),
    item=pa.Column(int, pa.Check.ge(0)),
    hit=pa.Column(bool),
)

CIE = columns(
    trial=pa.Column(int, pa.Check.ge(0)),
    layer=pa.Column(int, pa.Check.ge(0)),
    head=pa.Column(int, pa.Check.ge(0)),
    effect=pa.Column("float32", pa.Check.in_range(-1.0, 1.0)),
    unedited=pa.Column("float32", pa.Check.in_range(-1.0, 1.0)),
)

FV_SWEEP = columns(
    n_heads=pa.Column(int, pa.Check.gt(0)),
    strength=pa.Column(float),
    layer=pa.Column(int, pa.Check.ge(0)),
    item=pa.Column(int, pa.Check.ge(0)),
    hit=pa.Column(bool),
)

# The sweep of any steering method of `offcourse.steering`.
STEERING_SWEEP = columns(
    strength=pa.Column(float),
    layer=pa.Column(int, pa.Check.ge(0)),
    item=pa.Column(int, pa.Check.ge(0)),
    hit=pa.Column(bool),
)

# Side effects of one setting of a steering method, the best of its sweep. `on` is a task whose prompts with
# demonstrations are answered (`unsteered` and `steered` are then hits, 0 or 1), or `NEUTRAL`: texts that are no task
# (log-probabilities of the continuation in nats). tokens: of the continuation; 1 for a task. divergence: of the
# distributions of the next token after the beginning, KL(unsteered || steered) in nats; missing for a task.
NEUTRAL = "neutral passages"
SIDE_EFFECTS = columns(
    strength=pa.Column(float),
    layer=pa.Column(int, pa.Check.ge(0)),
    on=pa.Column(str),
    item=pa.Column(int, pa.Check.ge(0)),
    tokens=pa.Column(int, pa.Check.gt(0)),
    unsteered=pa.Column(float),
    steered=pa.Column(float),
    divergence=pa.Column(float, pa.Check.ge(0), nullable=True),
)

# The sweep of vectors that are a control of a steering method (`methods.reliability`).
STEERING_CONTROLS = columns(control=pa.Column(str), **STEERING_SWEEP.columns)

# Hits in one setting with vectors from further samples of prompts. cosine: mean cosine of the draw's vectors with those
# of all other draws, over the edited layers.
STEERING_DRAWS = columns(
    draw=pa.Column(int, pa.Check.ge(0)),
    **STEERING_SWEEP.columns,
    cosine=pa.Column(float, pa.Check.in_range(-1.001, 1.001)),
)

# Hits in one setting with model and vectors of each precision, the study's own first. cosine: of the vectors of this
# precision with the study's, over the edited layers.
STEERING_PRECISIONS = columns(
    precision=pa.Column(str, pa.Check.isin(("float32", "bfloat16", "float16"))),
    **STEERING_SWEEP.columns,
    cosine=pa.Column(float, pa.Check.in_range(-1.001, 1.001)),
)

# Names of controls: vectors that should do nothing (`methods.fv_controls`).
NULL_CONTROLS = ("random_direction", "random_heads", "shuffled_labels", "other_task")

# The function vector read at the other position, and its two halves: only the choice of heads made there, or only the
# mean activations read there.
READ_POSITION, OTHER_HEADS, OTHER_MEANS = "read_position", "read_position_heads", "read_position_means"
READ_POSITIONS = (READ_POSITION, OTHER_HEADS, OTHER_MEANS)

# The function vector from build prompts that are drawn again.
REBUILT = "rebuilt"

CONTROLS = (*NULL_CONTROLS, *READ_POSITIONS, REBUILT)

FV_CONTROLS = columns(
    control=pa.Column(str, pa.Check.isin(CONTROLS)),
    draw=pa.Column(int, pa.Check.ge(0)),
    **FV_SWEEP.columns,
)
