"""Bytes that one pass takes beside the weights, from a model's shape alone: what a plan and a GPU's check hold it to.

Counted is what is alive at once where a pass is widest: in the feed-forward network, in attention or in a norm. The
engine bounds attention's scores and DoLa's logits (`SCORE_BYTES`, `LOGIT_BYTES`), so that neither grows with the grid.
"""

from offcourse.data.rows import Model

# Bytes of attention's scores and weights that the engine holds at once, and bytes that one of them takes on the way.
SCORE_BYTES = 512 << 20
BYTES_PER_SCORE = 16
# Bytes of the logits of all candidate layers that DoLa compares at once; half as much again is derived from them.
LOGIT_BYTES = 512 << 20
DERIVED = 1.5
# Numbers of the model's width, per token, that a block holds in each of its parts: stream, copy, norm.
IN_FEED_FORWARD, IN_ATTENTION = 2, 3
# Numbers of the queries' width and of the keys' width that rotation and attention hold.
QUERIES, KEYS = 5, 6


def of_pass(model: Model, size: int, tokens: int, rows: int) -> float:
    """Bytes of a pass of so many prompt tokens and rows. size: bytes of a number of the model's precision."""
    sequence = tokens + rows
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    feed_forward = size * sequence * (IN_FEED_FORWARD * model.width + 3 * model.mlp_width)
    products = size * sequence * (IN_ATTENTION * model.width + QUERIES * queries + KEYS * keys)
    attention = products + _scores(model, size, tokens, rows)
    # A norm computes in float32.
    norm = sequence * model.width * (2 * size + 8)
    return max(feed_forward, attention, norm) + kept(model, size, tokens)


def kept(model: Model, size: int, tokens: int) -> float:
    """Bytes of the keys and values of a prompt, and of its last token's states, which later passes read."""
    return size * model.layers * (2 * model.kv_heads * model.head_dim * tokens + model.width)


def of_contrast() -> float:
    """Bytes of DoLa's logits and of what is derived from them."""
    return DERIVED * LOGIT_BYTES


def _scores(model: Model, size: int, tokens: int, rows: int) -> float:
    """Of the rows against the prompt, or of a mask over the prompts of a forest and the keys repeated for it."""
    of_rows = min(SCORE_BYTES, BYTES_PER_SCORE * model.heads * rows * (tokens + 1))
    mask = tokens * tokens * (1 + size)
    repeated = 2 * size * tokens * model.heads * model.head_dim
    return max(of_rows, mask + repeated)
