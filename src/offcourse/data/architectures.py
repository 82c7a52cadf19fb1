"""The table of supported classes: where a `transformers` model keeps the parts that steering reads and edits.

One row per class, never per model. Everything else (head counts, biases, sliding windows, soft caps) is read from the
loaded modules, so a wrong row is caught by the self-checks at load (`offcourse.models.checks`).

The rows of the paper's classes are below. resources/classes.tsv has the rows of other classes, which were found by
structure (`offcourse.models.find`) and are exact on tiny random models (`make classes`). A class that is in neither
table is found by structure when its model is loaded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from offcourse.data.names import RESOURCES
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
    mlp_output: for a mixture of experts, the module whose output is added to the residual stream.
    causal_lm: name of the class with the unembedding.
    logit_scale: factor of the logits, as names and numbers of the configuration ("1/logits_scaling").
    residual_scale: factor of both sub-layers' outputs before they are added to the residual stream.
    transposed: whether projections hold their weights as [inputs, outputs] (GPT-2's Conv1D).
    found: whether the row is found by structure when the model is loaded, since no table has it.
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
    causal_lm: str = ""
    logit_scale: str = "1"
    residual_scale: str = "1"
    transposed: bool = False
    found: bool = False

    def __post_init__(self):
        if not self.causal_lm:
            object.__setattr__(self, "causal_lm", f"{self.name}ForCausalLM")

    def scale_of_logits(self, config) -> float:
        """The factor of the logits of a model with this configuration."""
        return _value(self.logit_scale, config)

    def scale_of_residuals(self, config) -> float:
        """The factor of the sub-layers' outputs of a model with this configuration."""
        return _value(self.residual_scale, config)

    def is_parallel(self, config) -> bool:
        """Whether a model with this configuration runs attention and feed-forward side by side."""
        return bool(getattr(config, self.config_flag)) if self.config_flag else self.parallel


def _value(formula: str, config) -> float:
    """The value of "a/b", where a and b are numbers, entries of a configuration, or "sqrt(entry)"."""
    parts = [_entry(part, config) for part in formula.split("/")]
    value = parts[0]
    for part in parts[1:]:
        value /= part
    return value


def _entry(text: str, config) -> float:
    if text.startswith("sqrt("):
        return _entry(text[5:-1], config) ** 0.5
    return float(text) if text[0].isdigit() else float(getattr(config, text))


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


# How edits are computed: as rows beside a prompt, or as whole forwards.
PATHS = ("rows", "plain")


@dataclass(frozen=True)
class ClassRow:
    """One row of resources/classes.tsv: an `Architecture`, or the reason why no path can run the class.

    model_type: the class in configurations. path: "rows" (edits are rows beside a prompt), "plain" (every edit is a
    whole forward), or "" for a class that cannot be run. error: the largest relative error of the path's logits on a
    tiny random model. why_plain: why rows cannot be run, empty for path rows. why_not: empty for a class that is exact.
    """

    name: str
    model_type: str
    causal_lm: str
    blocks: str
    final_norm: str
    attention: str
    attention_output: str
    mlp_output: str
    parallel: bool
    config_flag: str
    post_norms: tuple[str, ...]
    attention_interface: bool
    tuple_output: bool
    logit_scale: str
    residual_scale: str
    transposed: bool
    path: str
    error: str
    why_plain: str
    why_not: str

    @property
    def row(self) -> Architecture:
        """The facts of the class."""
        found = {each.name: getattr(self, each.name) for each in fields(Architecture) if hasattr(self, each.name)}
        return Architecture(**found | {"config_flag": self.config_flag or None})


def name_of(class_name: str) -> str:
    """Our name of a `transformers` class: without what all classes with an unembedding end in."""
    return re.sub(r"(ForCausalLM|LMHeadModel)$", "", class_name)


def rows_of_classes(path: Path = RESOURCES / "classes.tsv") -> Mapping[str, ClassRow]:
    """The rows of resources/classes.tsv by name, without those that have a wrong cell."""
    return _classes(path)[0]


def require_sound_class(name: str, path: Path = RESOURCES / "classes.tsv") -> None:
    """Raise `OffcourseError` if the row of a class has a wrong cell, which stops no model of another class."""
    if message := _classes(path)[1].get(name):
        raise OffcourseError(message)


@cache
def _classes(path: Path) -> tuple[Mapping[str, ClassRow], Mapping[str, str]]:
    """(rows whose cells are right, {name of another row: what is wrong with it})."""
    from offcourse.data.tsv import FILLED, one_of, read_sound_rows, text_column

    flag = one_of("yes", "no")
    flags = dict.fromkeys(("parallel", "attention_interface", "tuple_output", "transposed"), flag)
    return read_sound_rows(
        path,
        ClassRow,
        {
            "name": FILLED,
            "model_type": FILLED,
            "causal_lm": FILLED,
            **flags,
            "path": one_of(*PATHS, ""),
            "error": text_column(),
        },
    )


def path_of(name: str) -> str:
    """The path of a class: "rows", "plain", or "" for a class of no table, whose path is found when it is loaded."""
    if name in ARCHITECTURES:
        return "rows"
    require_sound_class(name)
    return rows_of_classes()[name].path if name in rows_of_classes() else ""


def has_heads(name: str) -> bool:
    """Whether every block of a class has attention heads.

    True for a class of no table, since the structure of such a class is not known before its model is loaded.
    """
    return path_of(name) != "plain" or bool(rows_of_classes()[name].attention_output)


def causal_lms() -> dict[str, str]:
    """{our name: class} of all classes with an unembedding that the installed `transformers` has."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    names = (name if isinstance(name, str) else name[0] for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    return {name_of(name): name for name in names}


def is_class(name: str) -> bool:
    """Whether `name` is a class of our tables or of the installed `transformers`, whose import takes seconds."""
    listed, faulty = _classes(RESOURCES / "classes.tsv")
    return name in ARCHITECTURES or name in listed or name in faulty or name in causal_lms()


def architecture(name: str) -> Architecture:
    """The row called `name`. A class of `transformers` without a row gets one without paths, see `Architecture.found`.

    Raises `OffcourseError` for a class that the engine cannot run, and for a name that is no class.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    require_sound_class(name)
    listed = rows_of_classes()
    if name in listed:
        if listed[name].why_not:
            raise OffcourseError(
                f"{listed[name].causal_lm} of transformers cannot be run: {listed[name].why_not} (docs/classes.md)"
            )
        return listed[name].row
    # Asked last, since the import takes seconds.
    if name not in causal_lms():
        exact = [*ARCHITECTURES, *(row.name for row in listed.values() if not row.why_not)]
        raise OffcourseError(
            f"unknown architecture {name!r} in resources/models.tsv: {did_you_mean(name, exact)} It is the name of a "
            "class of transformers without ForCausalLM (docs/classes.md)."
        )
    return Architecture(name, "", "", "", "", "", causal_lm=causal_lms()[name], found=True)


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
