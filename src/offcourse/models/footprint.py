"""Bytes that a pass takes on its device beside the weights, computed from a model's shape for `offcourse plan`.

A pass runs block after block, so the part of a block that holds the most bytes at once counts: attention's rotation,
attention itself, the feed-forward network, or a norm. The engine bounds attention's scores and DoLa's logits
(`SCORE_BYTES`, `LOGIT_BYTES`), so that neither grows with the grid. docs/plan.md compares these numbers with measured
GPU memory and with the tensors in the engine's graph (`tests/plan/test_footprint.py`).
"""

from offcourse.data.rows import Model

# Bytes that a card's kernels take beside the tensors of the engine's graph: up to 10 MB on an H100.
KERNELS = 16 << 20
# Bytes of attention's scores and weights that the engine holds at once, and bytes that one score takes at its widest.
SCORE_BYTES = 512 << 20
BYTES_PER_SCORE = 16
# Bytes of the logits of all candidate layers that DoLa compares at once.
LOGIT_BYTES = 512 << 20
# On a GPU: words of a slice of the unembedding, states of such a slice, and bytes of a slice of DoLa's logits.
WORDS, STATES, SLICE = 8192, 4096, 64 << 20
# Slices of DoLa's logits that are alive at once while a divergence is computed.
SLICES = {"mean_kl": 4.5, "jensen_shannon": 6.5}
FLOAT32 = 4
# Tensors of the model's width that a block holds while one of its parts runs: its input, the sum so far, the output of
# a norm. The feed-forward network runs after attention's output was added, which is one tensor more.
AROUND_ATTENTION, AROUND_FEED_FORWARD = 3, 4
# Tensors of the feed-forward network's width that are held at once: two factors and their product (SwiGLU, GeGLU); the
# powers in the approximation of GELU (gelu_new); or an input and an output (gelu).
INNER = {"SwiGLU": 3, "GeGLU": 3, "gelu_new": 4, "gelu": 2}
# Classes that rotate queries and keys in float32; that norm each head's queries and keys in float32; with a sliding
# window in all layers or in some; with layers of two kinds; and with a soft cap on scores, which fused kernels lack.
ROTATED_IN_FLOAT32, NORMED_HEADS = ("Olmo", "Olmo2"), ("Gemma3",)
WINDOWED, TWO_KINDS, CAPPED = ("Mistral", "Gemma2", "Gemma3"), ("Gemma2", "Gemma3"), ("Gemma2",)
# Fused kernels take masks whose rows are a multiple of this.
ALIGNED = 16


def of_pass(
    model: Model, size: int, tokens: int, rows: int, context: int = 0, grid: int | None = None, prompts: int = 1
) -> float:
    """Bytes of one pass of `tokens` prompt tokens (a prompt, or a forest of prompts) and `rows` edited last tokens.

    size: bytes of a number of the model's precision. context: earlier tokens, to which all of these tokens attend.
    grid: rows of all passes of this prompt. If there are more than `rows`, keys, values and states are kept between
    passes. prompts: number of prompts among which tokens and rows are divided.
    """
    grid = max(rows, grid or rows)
    sequence = tokens + rows
    stream = size * sequence * model.width
    feed_forward = AROUND_FEED_FORWARD * stream + INNER.get(model.activation, 3) * size * sequence * model.mlp_width
    if model.architecture == "GPTJ":
        feed_forward += size * tokens * tokens
    norm = AROUND_ATTENTION * stream + 2 * FLOAT32 * sequence * model.width
    # Positions, and their cosines and sines: in classes with two kinds of layers, two of each; GPT-J copies its table.
    positions = sequence * ((4 if model.architecture in TWO_KINDS else 2) * FLOAT32 * model.head_dim + 32)
    if model.architecture == "GPTJ":
        positions += FLOAT32 * (model.context or 0) * model.head_dim // 4
    # The prompt's embedding stays, beside the streams with rows.
    embedding = size * tokens * model.width if rows else 0
    # The mask of each kind of layer is held through all blocks, and so are the edits, one row per layer.
    masks = tokens // prompts * (tokens + context) * (2 if model.architecture in TWO_KINDS else 1)
    edits = size * -(-grid // prompts // model.layers) * model.width
    through = positions + embedding + masks + edits
    block = max(
        feed_forward,
        norm,
        AROUND_ATTENTION * stream + _rotation(model, size, sequence),
        AROUND_ATTENTION * stream + _attention(model, size, tokens, rows, context, prompts),
    )
    # During a pass the final states of finished passes are held; at the end all are held twice while they are joined.
    states = size * grid * model.width
    kept = of_context(model, size, tokens) if grid > rows + 1 else 0
    return max(through + block + kept + states - size * rows * model.width, 2 * states)


def of_context(model: Model, size: int, tokens: int) -> float:
    """Bytes that later passes read: keys and values of `tokens` tokens, and one token's states in every block."""
    number = FLOAT32 if model.architecture == "GPTJ" else size
    return model.layers * (2 * number * model.kv_heads * model.head_dim * tokens + size * model.width)


def of_read_out(model: Model, size: int, states: int, probability: bool = True) -> float:
    """Bytes that the unembedding of `states` final states takes on a GPU, the states included.

    probability: whether probabilities are computed as well as hits.
    """
    together = min(states, STATES)
    held = size * states * model.width
    if not probability:
        return together * (size * (WORDS + model.vocabulary % WORDS) + 64) + held
    # Half precision is cast to float32. A soft cap holds its argument, a quotient and a product at once.
    number = FLOAT32 if size < FLOAT32 else 0
    if model.architecture in CAPPED:
        number += 2 * FLOAT32
    # The last slice has fewer words and needs a tensor of its own, while the buffer of the other slices stays.
    left = model.vocabulary % WORDS
    last = max(number * WORDS + size * left, (size + number) * left)
    return together * (size * WORDS + max(number * WORDS, last) + 64) + held


def of_contrast(logits: float = LOGIT_BYTES, divergence: str = "mean_kl", sliced: int = SLICE) -> float:
    """Bytes of DoLa's logits of all candidate layers (at most `LOGIT_BYTES`), and of the tensors made from one slice.

    sliced: bytes of a slice on the device.
    """
    logits = min(logits, LOGIT_BYTES)
    return logits + SLICES[divergence] * min(sliced, logits)


def of_whole_logits(model: Model, size: int, states: int) -> float:
    """Bytes that the logit lens takes for probabilities of all words: the logits, and two copies in float32."""
    return states * model.vocabulary * (size + (4 if model.architecture in CAPPED else 2) * FLOAT32)


def of_states(model: Model, size: int, states: int, layers: int) -> float:
    """Bytes of the residual streams of `states` positions, captured at the input of `layers` blocks."""
    return size * states * layers * model.width


def _rotation(model: Model, size: int, sequence: int) -> float:
    """Bytes of queries, keys and values while keys are rotated, or while heads are normed."""
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    number = FLOAT32 if model.architecture in ROTATED_IN_FLOAT32 else size
    rotated = number * max(3 * queries, queries + 3 * keys)
    normed = 2 * FLOAT32 * queries if model.architecture in NORMED_HEADS else 0
    return sequence * (size * (queries + 2 * keys) + max(rotated, normed))


def _attention(model: Model, size: int, tokens: int, rows: int, context: int, prompts: int) -> float:
    """Bytes of queries, keys, values and the output, and of the attention of prompt tokens or of rows."""
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    sequence, number = tokens + rows, size
    held = size * sequence * (queries + 2 * keys)
    if model.architecture == "GPTNeoX":
        # The joint projection of queries, keys and values stays beside the rotated queries and keys.
        held = size * sequence * 5 * queries
    if model.architecture == "GPTJ":
        # Projections, rotated projections, copies in float32, and the mask of `transformers`.
        number = FLOAT32
        held = (5.5 * size + 3 * number) * sequence * queries + size * tokens * tokens
    out = number * sequence * queries
    return held + out + max(_of_tokens(model, number, tokens, context), _of_rows(model, number, tokens, rows, prompts))


def _of_tokens(model: Model, number: int, tokens: int, context: int) -> float:
    """Bytes of the attention of prompt tokens: mask, keys and values with the context's, the kernel's own tensors."""
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    total = tokens + context
    masked = tokens * (total + ALIGNED)
    out = number * tokens * queries
    joined = 2 * number * keys * total if context else 0
    among = 2 * masked if context or model.architecture in WINDOWED else 0
    if model.architecture in CAPPED:
        scores = min(model.heads * tokens * total, max(SCORE_BYTES // BYTES_PER_SCORE, model.heads * total))
        repeated = 2 * number * queries * total
        return max(among, masked + out + repeated + scores * (2 * FLOAT32 + number % FLOAT32)) + joined
    repeated = 2 * number * queries * total if queries > keys else 0
    # The kernel turns a mask into numbers that it adds to the scores, and copies these numbers with aligned rows.
    kernel = max(2 * number * masked, number * masked + out) + FLOAT32 * model.heads * tokens
    return max(among, repeated + kernel) + joined


def _of_rows(model: Model, number: int, tokens: int, rows: int, prompts: int) -> float:
    """Bytes of the attention of rows: scores against the prompt, a slice at a time, and then the weighted values."""
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    every = model.heads * max(1, tokens)
    together = min(-(-rows // prompts), max(1, SCORE_BYTES // (BYTES_PER_SCORE * every)))
    scores, out = every * together, number * together * queries * prompts
    # Queries, keys and values of several prompts are copied, so that one product serves all.
    copied = number * (queries * rows + 2 * keys * (tokens + rows)) if prompts > 1 else 0
    half = 2 if number < FLOAT32 else 1
    weighing = max((number * 2 + FLOAT32 * half) * scores, 3 * number * scores + 2 * out, 4 * number * scores + out)
    return number * rows * queries + copied + weighing
