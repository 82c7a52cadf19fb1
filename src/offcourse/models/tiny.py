"""Configurations of tiny models for every class of `transformers`, which keep the class's own features.

A class's default configuration is as large as a published model. Here each size that configurations know gets a small
value, each window 16 tokens, and the kinds of layers alternate, so that a short prompt crosses every window.
"""

from typing import Any

import torch
import transformers
from transformers import AutoConfig, PretrainedConfig

from offcourse.data.architectures import architecture, rows_of_classes

LAYERS = 4
WINDOW = 16
# Small values of the sizes, under every name that configurations give them.
SMALL: dict[str, Any] = {
    "vocab_size": 512,
    **dict.fromkeys(("hidden_size", "n_embd", "d_model"), 32),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "dff", "intermediate_size_mlp", "ffn_hidden_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"), 4),
    "num_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 8,
    "num_global_key_value_heads": 2,
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "model_max_length"), 2048),
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "window_size"), WINDOW),
    "word_embed_proj_dim": 32,
    "rotary_dim": 4,
    "query_pre_attn_scalar": 8,
    # Mixtures of experts.
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_top_k"), 2),
    **dict.fromkeys(
        ("moe_intermediate_size", "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"), 32
    ),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_dense_layers"), 1),
    # Latent attention.
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    # Inputs of every layer.
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 512,
    "num_kv_shared_layers": 0,
}
# Entries that a class's default leaves at a value at which its feature does nothing.
SHOWN: dict[str, Any] = {
    "logit_scale": 0.3,
    "logits_scaling": 3.0,
    "residual_multiplier": 0.4,
    "embedding_multiplier": 2.0,
    "attention_multiplier": 0.5,
    "dim_model_base": 16,
    "tie_word_embeddings": False,
}
ALTERNATING = {
    "sliding_attention": ("sliding_attention", "full_attention"),
    "chunked_attention": ("chunked_attention", "full_attention"),
    "linear_attention": ("linear_attention", "full_attention"),
}
# What a class needs beside these.
PARTICULARS: dict[str, dict[str, Any]] = {
    "bailing_hybrid": dict(layer_group_size=2),
    "bamba": dict(mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8, attn_layer_indices=[1, 3]),
    "dbrx": dict(attn_config=dict(kv_n_heads=2, clip_qkv=2.0, rope_theta=10000.0), ffn_config=dict(ffn_hidden_size=64)),
    "gemma4_text": dict(global_head_dim=16, num_global_key_value_heads=2),
    "gpt_neo": dict(attention_types=[[["global", "local"], LAYERS // 2]]),
    "granitemoehybrid": dict(mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8),
    "jamba": dict(attn_layer_period=2, attn_layer_offset=1, use_mamba_kernels=False),
    "lfm2": dict(layer_types=["conv", "full_attention"] * (LAYERS // 2)),
}


def tiny_config(model_type: str, **changes) -> PretrainedConfig:
    """The configuration of a tiny model of one `model_type`; changes: entries that replace those chosen here."""
    default = AutoConfig.for_model(model_type)
    entries = default.to_dict()
    known = entries.keys() | set(getattr(default, "attribute_map", {}))
    settings = {
        name: value for name, value in (SMALL | SHOWN).items() if name in known and entries.get(name, 0) != "none"
    }
    if kinds := entries.get("layer_types"):
        if "use_sliding_window" in entries:
            settings["use_sliding_window"] = True
            kinds = ["sliding_attention"]
        pattern = next((ALTERNATING[kind] for kind in ALTERNATING if kind in kinds), tuple(dict.fromkeys(kinds)))
        settings["layer_types"] = [pattern[i % len(pattern)] for i in range(LAYERS)]
    if kinds := entries.get("mlp_layer_types"):
        pattern = tuple(dict.fromkeys(kinds))
        settings["mlp_layer_types"] = [pattern[min(i, len(pattern) - 1)] for i in range(LAYERS)]
    if "kv_lora_rank" in entries:
        # Latent attention has keys of its own for every head.
        settings["num_key_value_heads"] = settings["num_attention_heads"]
    settings |= PARTICULARS.get(model_type, {}) | changes
    return AutoConfig.for_model(model_type, **(dict(bos_token_id=0, eos_token_id=1, pad_token_id=None) | settings))


def type_of(name: str) -> str:
    """The `model_type` of the class that our tables call `name`."""
    if name in rows_of_classes():
        return rows_of_classes()[name].model_type
    return getattr(transformers, architecture(name).causal_lm).config_class.model_type


def tiny_module(model_type: str, class_name: str, seed: int, **changes):
    """A random model of one class in float32."""
    config = tiny_config(model_type, **changes)
    # Some numbers are added to those that the class itself draws.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = getattr(transformers, class_name)._from_config(config, dtype="float32")
    return fill(module, seed)


def fill(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fill a model's parameters with random numbers at which no norm, bias or edit goes unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                # Move norm scales and biases away from 1 and 0, at which a forgotten one would go unnoticed.
                parameter.add_(0.2 * noise)
            else:
                parameter.copy_(noise * (1.0 if "embed" in key or "wte" in key else 1.5 * parameter.shape[1] ** -0.5))
    return module.eval()
