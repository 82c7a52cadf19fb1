"""Sizes of a model, computed from its row of models.tsv, so that a study can be planned before any download.

The sizes follow how `transformers` builds each class. A wrong fact in a row shows: the computed number of parameters
then differs from the published one.
"""

from offcourse.data.architectures import ARCHITECTURES, BIASED, FINAL_NORM, LLAMA_NORMS, NORMS
from offcourse.data.rows import Model

GATED = ("SwiGLU", "GeGLU")  # activations of feed-forward networks with three matrices


def attention_weights(model: Model) -> int:
    """Entries of the four attention matrices of one block."""
    return 2 * model.width * model.head_dim * (model.heads + model.kv_heads)


def mlp_weights(model: Model) -> int:
    """Entries of the feed-forward matrices of one block.

    For a class beyond the paper's, all of a block's entries that are not attention's. A mixture of experts counts
    whole, which bounds its work from above.
    """
    if model.architecture not in ARCHITECTURES and model.parameters:
        embeddings = unembedding_weights(model) * (1 if model.tied_embeddings else 2)
        return max(0, (model.parameters - embeddings) // model.layers - attention_weights(model))
    return (3 if model.activation in GATED else 2) * model.width * model.mlp_width


def unembedding_weights(model: Model) -> int:
    """Entries of the unembedding."""
    return model.vocabulary * model.width


def parameters(model: Model) -> int:
    """Number of parameters, tied embeddings counted once; the published `parameters` must agree.

    For a class beyond the paper's, the number in the table, which the loaded model must confirm.
    """
    if model.architecture not in ARCHITECTURES and model.parameters:
        return model.parameters
    block = attention_weights(model) + mlp_weights(model) + _biases(model) + _norms(model)
    embeddings = unembedding_weights(model) * (1 if model.tied_embeddings else 2)
    final = FINAL_NORM.get(model.architecture, 1) * model.width
    head_bias = model.vocabulary if "unembedding" in BIASED.get(model.architecture, ()) else 0
    return model.layers * block + embeddings + final + head_bias


def _biases(model: Model) -> int:
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    of_part = {
        "queries, keys and values": queries + 2 * keys,
        "attention output": model.width,
        "mlp": model.mlp_width + model.width,
    }
    return sum(of_part.get(part, 0) for part in BIASED.get(model.architecture, ()))


def _norms(model: Model) -> int:
    of_width, of_queries, of_keys, of_head = NORMS.get(model.architecture, LLAMA_NORMS)
    of_heads = of_queries * model.heads + of_keys * model.kv_heads + of_head
    return of_width * model.width + of_heads * model.head_dim
