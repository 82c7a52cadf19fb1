"""Seeded random models of every class with their own tokenizer, small enough for tests and the smoke study.

The weights are large enough that attention, caps and edits change the numbers. The models were trained on nothing.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, PreTrainedTokenizerFast

from offcourse.data.architectures import ARCHITECTURES, MODEL_TYPES, PARTICULARS, architecture
from offcourse.models.tiny import fill, tiny_config, tiny_module, type_of

BOS = "<s>"
# Large enough that most words of the project's lists are one token, which task vectors require of their answers.
WRITTEN_VOCABULARY = 4096

# Settings that make a tiny model use its class's features: grouped heads, biases, windows, caps, partial rotation.
SHAPE = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=2048,
    tie_word_embeddings=False,
)
GPTJ_SHAPE = dict(n_embd=32, n_layer=4, n_head=4, rotary_dim=4, n_positions=2048, tie_word_embeddings=False)


def random_config(name: str, vocabulary: int = 512, **changes):
    """The configuration of the tiny model of one class."""
    if name not in ARCHITECTURES:
        return tiny_config(type_of(name), vocab_size=vocabulary, **changes)
    shape = dict(GPTJ_SHAPE if name == "GPTJ" else SHAPE)
    settings = shape | PARTICULARS.get(architecture(name).name, {}) | {"vocab_size": vocabulary} | changes
    return AutoConfig.for_model(MODEL_TYPES.get(name, name.lower()), bos_token_id=0, eos_token_id=1, **settings)


def random_model(name: str, seed: int, **changes):
    """A random causal language model of one class in float32; the same weights for the same seed."""
    if name not in ARCHITECTURES:
        changes["vocab_size"] = changes.pop("vocabulary", 512)
        return tiny_module(type_of(name), architecture(name).causal_lm, seed, **changes)
    config = random_config(name, **changes)
    module = getattr(transformers, architecture(name).causal_lm)._from_config(config, dtype=torch.float32)
    return fill(module, seed)


def random_tokenizer(texts: Iterable[str], adds_bos: bool, vocabulary: int = 512) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on `texts`, with or without a BOS that it adds by itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token="</s>")


def write_random_model(folder: Path, name: str, seed: int, texts: Iterable[str]) -> None:
    """Write a random model and its tokenizer, which adds a BOS, as a folder that `transformers` loads.

    texts: word lists for training the tokenizer. Their cells get a space in front, as in a prompt; otherwise the space
    would become a token of its own and begin every answer.
    """
    texts = ["".join(f" {cell}" for cell in text.replace("\n", "\t").split("\t")) for text in texts]
    random_model(name, seed, vocabulary=WRITTEN_VOCABULARY).save_pretrained(folder)
    random_tokenizer(texts, True, WRITTEN_VOCABULARY).save_pretrained(folder)
