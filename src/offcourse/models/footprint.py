"""Bytes that a pass takes on its device beside the weights, from a model's shape alone: what a plan counts on.

Counted is what is alive at once in each part of a block, and the widest part counts: attention's rotation, attention
itself, the feed-forward network, or a norm. The engine bounds attention's scores and DoLa's logits (`SCORE_BYTES`,
`LOGIT_BYTES`), so that neither grows with the grid. docs/plan.md holds these numbers against cards and against the
engine's graph (`tests/plan/test_footprint.py`).
"""

from offcourse.data.rows import Model

# Bytes of attention's scores and weights that the engine holds at once, and bytes that one of them takes on the way.
SCORE_BYTES = 512 << 20
BYTES_PER_SCORE = 16
# Bytes of the logits of all candidate layers that DoLa compares at once.
LOGIT_BYTES = 512 << 20
# On a GPU: words and states of a slice of the unembedding, and bytes of a slice of DoLa's logits.
WORDS, STATES, SLICE = 8192, 4096, 64 << 20
# Slices of DoLa's logits that are alive at once while a divergence is computed.
SLICES = {"mean_kl": 4.5, "jensen_shannon": 6.5}
FLOAT32 = 4
# Streams of the model's width that a block holds around its parts: its input, the sum before, the output of a norm; the
# feed-forward network comes after the sum with attention's output.
AROUND_ATTENTION, AROUND_FEED_FORWARD = 3, 4
# Vectors of the feed-forward network's width that are alive at once: two factors and their product; the approximation
# of GELU with its powers; or an input and an output.
INNER = {"SwiGLU": 3, "GeGLU": 3, "gelu_new": 4, "gelu": 2}
# Classes that rotate queries and keys in float32; that norm each head's in float32; with a window in all layers or in
# some; with layers of two kinds; and with a soft cap on scores, for which no fused kernel is used.
ROTATED_IN_FLOAT32, NORMED_HEADS = ("Olmo", "Olmo2"), ("Gemma3",)
WINDOWED, TWO_KINDS, CAPPED = ("Mistral", "Gemma2", "Gemma3"), ("Gemma2", "Gemma3"), ("Gemma2",)
# Fused kernels take masks whose rows are a multiple of this.
ALIGNED = 16


def of_pass(model: Model, size: int, tokens: int, rows: int, context: int = 0, grid: int | None = None) -> float:
    """Bytes of one pass of `tokens` (a prompt, or a forest of prompts) and `rows` of edits.

    size: bytes of a number of the model's precision. context: tokens that were run before, which all of them attend to.
    grid: rows of all passes of this prompt; more than `rows` means that keys, values and states are kept in between.
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
    # Each kind of layer has a mask, which stays through all blocks; so do the edits, of which each layer has a row.
    masks = tokens * (tokens + context) * (2 if model.architecture in TWO_KINDS else 1)
    edits = size * -(-grid // model.layers) * model.width
    through = positions + embedding + masks + edits
    block = max(
        feed_forward,
        norm,
        AROUND_ATTENTION * stream + _rotation(model, size, sequence),
        AROUND_ATTENTION * stream + _attention(model, size, tokens, rows, context),
    )
    # Final states: of the rows that are done, and where all are put behind each other.
    states = size * grid * model.width
    kept = of_context(model, size, tokens) if grid > rows + 1 else 0
    return max(through + block + kept + states - size * rows * model.width, 2 * states)


def of_context(model: Model, size: int, tokens: int) -> float:
    """Bytes of the keys and values of so many tokens, and of one token's states, which later passes read."""
    number = FLOAT32 if model.architecture == "GPTJ" else size
    return model.layers * (2 * number * model.kv_heads * model.head_dim * tokens + size * model.width)


def of_read_out(model: Model, size: int, states: int, probability: bool = True) -> float:
    """Bytes of reading so many final states on a GPU, the states among them.

    probability: whether probabilities are read as well as hits.
    """
    together = min(states, STATES)
    held = size * states * model.width
    if not probability:
        # States that a word beats leave, and the others are copied.
        return together * (size * (WORDS + model.width) + 64) + held
    # Half precision is turned into float32; a cap holds its argument, a quotient and a product at once.
    number = FLOAT32 if size < FLOAT32 else 0
    if model.architecture in CAPPED:
        number += 2 * FLOAT32
    # The last words are fewer and do not fit the buffer, which is kept beside their product.
    left = model.vocabulary % WORDS
    last = max(number * WORDS + size * left, (size + number) * left)
    return together * (size * WORDS + max(number * WORDS, last) + 64) + held


def of_contrast(logits: float = LOGIT_BYTES, divergence: str = "mean_kl", sliced: int = SLICE) -> float:
    """Bytes of DoLa's logits of all candidate layers, at most `LOGIT_BYTES`, and of what is derived from a slice.

    sliced: bytes of a slice on the device.
    """
    logits = min(logits, LOGIT_BYTES)
    return logits + SLICES[divergence] * min(sliced, logits)


def of_whole_logits(model: Model, size: int, states: int) -> float:
    """Bytes of the probabilities of all words, as the logit lens takes them: logits, and two copies in float32."""
    return states * model.vocabulary * (size + (4 if model.architecture in CAPPED else 2) * FLOAT32)


def of_states(model: Model, size: int, states: int, layers: int) -> float:
    """Bytes of residual streams that are taken out of a pass at the input of so many layers."""
    return size * states * layers * model.width


def _rotation(model: Model, size: int, sequence: int) -> float:
    """Queries, keys and values while the keys are rotated, or while heads are normed."""
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    number = FLOAT32 if model.architecture in ROTATED_IN_FLOAT32 else size
    rotated = number * max(3 * queries, queries + 3 * keys)
    normed = 2 * FLOAT32 * queries if model.architecture in NORMED_HEADS else 0
    return sequence * (size * (queries + 2 * keys) + max(rotated, normed))


def _attention(model: Model, size: int, tokens: int, rows: int, context: int) -> float:
    """Queries, keys and values, the output, and what attention takes of the prompts' tokens or of the rows."""
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    sequence, number = tokens + rows, size
    held = size * sequence * (queries + 2 * keys)
    if model.architecture == "GPTNeoX":
        # What was projected at once stays beside the rotated queries and keys.
        held = size * sequence * 5 * queries
    if model.architecture == "GPTJ":
        # Projections, rotated ones and copies in float32, and the mask of `transformers`.
        number = FLOAT32
        held = (5.5 * size + 3 * number) * sequence * queries + size * tokens * tokens
    out = number * sequence * queries
    return held + out + max(_of_tokens(model, number, tokens, context), _of_rows(model, number, tokens, rows))


def _of_tokens(model: Model, number: int, tokens: int, context: int) -> float:
    """Of prompt tokens: who attends to whom, keys with those of the context, and the kernel's own."""
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
    # A mask becomes numbers that are added to the scores, and those a copy with aligned rows.
    kernel = max(2 * number * masked, number * masked + out) + FLOAT32 * model.heads * tokens
    return max(among, repeated + kernel) + joined


def _of_rows(model: Model, number: int, tokens: int, rows: int) -> float:
    """Of rows: their scores against the prompt in slices, then the values that these weigh."""
    queries = model.heads * model.head_dim
    every = model.heads * max(1, tokens)
    together = min(rows, max(1, SCORE_BYTES // (BYTES_PER_SCORE * every)))
    scores, out = every * together, number * together * queries
    half = 2 if number < FLOAT32 else 1
    weighing = max((number * 2 + FLOAT32 * half) * scores, 3 * number * scores + 2 * out, 4 * number * scores + out)
    return number * rows * queries + weighing
