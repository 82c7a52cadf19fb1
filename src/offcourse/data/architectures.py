"""The table of supported classes: where a `transformers` model keeps the parts that steering reads and edits.

One row per class, never per model. Everything else (head counts, biases, sliding windows, soft caps) is read from the
loaded modules, so a wrong row is caught by the self-checks at load (`offcourse.models.checks`).
"""

from dataclasses import dataclass

from offcourse.errors import OffcourseError, did_you_mean


@dataclass(frozen=True)
class Architecture:
    """Names of sub-modules of one `transformers` class; paths of a block's parts start at the block.

    blocks, final_norm: paths from the causal language model.
    attention_output: the projection whose input is the concatenation of the heads.
    mlp_output: the last projection of the feed-forward network.
    parallel: attention and feed-forward read the same block input (`config_flag` names a config switch for it).
    post_norms: norms applied to a sub-layer's output before it is added to the residual stream.
    attention_interface: whether the class calls `transformers`' registered attention functions.
    tuple_output: whether a block returns a tuple.
    """

    name: str
    blocks: str
    final_norm: str
    attention: str
    attention_output: str
    mlp_output: str
    parallel: bool = False
    config_flag: str | None = None
    post_norms: tuple[str, ...] = ()
    attention_interface: bool = True
    tuple_output: bool = False

    @property
    def causal_lm(self) -> str:
        """Name of the `transformers` class with the unembedding."""
        return f"{self.name}ForCausalLM"

    def is_parallel(self, config) -> bool:
        """Whether a model with this configuration runs attention and feed-forward side by side."""
        return bool(getattr(config, self.config_flag)) if self.config_flag else self.parallel


def _llama_like(name: str, **more) -> Architecture:
    return Architecture(
        name,
        blocks="model.layers",
        final_norm="model.norm",
        attention="self_attn",
        attention_output="self_attn.o_proj",
        mlp_output="mlp.down_proj",
        **more,
    )


_GEMMA_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")

ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture(
            "GPTJ",
            blocks="transformer.h",
            final_norm="transformer.ln_f",
            attention="attn",
            attention_output="attn.out_proj",
            mlp_output="mlp.fc_out",
            parallel=True,
            attention_interface=False,
            tuple_output=True,
        ),
        Architecture(
            "GPTNeoX",
            blocks="gpt_neox.layers",
            final_norm="gpt_neox.final_layer_norm",
            attention="attention",
            attention_output="attention.dense",
            mlp_output="mlp.dense_4h_to_h",
            config_flag="use_parallel_residual",
        ),
        _llama_like("Llama"),
        _llama_like("Mistral"),
        _llama_like("Gemma2", post_norms=_GEMMA_NORMS),
        _llama_like("Gemma3", post_norms=_GEMMA_NORMS),
        _llama_like("Qwen2"),
        _llama_like("Olmo"),
        _llama_like("Olmo2", post_norms=_GEMMA_NORMS),
    )
}


def architecture(name: str) -> Architecture:
    """The row called `name`; raises `OffcourseError` for a class that is not in the table."""
    if name not in ARCHITECTURES:
        raise OffcourseError(
            f"unknown architecture {name!r} in resources/models.tsv: {did_you_mean(name, ARCHITECTURES)} "
            "A new class is one row in src/offcourse/data/architectures.py."
        )
    return ARCHITECTURES[name]


# The tables below hold the other differences between classes. A class that a table does not name is built like Llama.
LLAMA_NORMS = (2, 0, 0, 0)
NORMS = {  # vectors of one block: of the model's width, of all query heads, of all key heads, of one head
    "GPTJ": (2, 0, 0, 0),
    "GPTNeoX": (4, 0, 0, 0),
    "Gemma2": (4, 0, 0, 0),
    "Gemma3": (4, 0, 0, 2),
    "Olmo": (0, 0, 0, 0),
    "Olmo2": (2, 1, 1, 0),
}

FINAL_NORM = {"GPTJ": 2, "GPTNeoX": 2, "Olmo": 0}  # vectors of the model's width; else one

BIASED = {  # projections with a bias; a class that is not here has none
    "GPTJ": ("mlp", "unembedding"),
    "GPTNeoX": ("queries, keys and values", "attention output", "mlp"),
    "Qwen2": ("queries, keys and values",),
}

PARTICULARS = {  # settings of the tiny random model of a class
    "GPTJ": {},
    "GPTNeoX": dict(use_parallel_residual=True, attention_bias=True),
    "Mistral": dict(head_dim=8, sliding_window=16),
    "Gemma2": dict(head_dim=8, sliding_window=16, query_pre_attn_scalar=8, attn_logit_softcapping=5.0),
    "Gemma3": dict(
        head_dim=8, sliding_window=16, query_pre_attn_scalar=8, layer_types=["sliding_attention", "full_attention"] * 2
    ),
    "Olmo": dict(clip_qkv=2.0),
}

MODEL_TYPES = {"GPTJ": "gptj", "GPTNeoX": "gpt_neox", "Gemma3": "gemma3_text"}
