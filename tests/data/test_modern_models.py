"""Rows of models of 2025 and 2026: the class that transformers builds from a row has the published parameters.

The rows are from public configurations. The numbers of parameters are from other sources: the hub's count of the files,
as public code and catalogues cite it (docs/models.md). A wrong width, head or layer changes the number.
"""

import pytest
import torch
from registry_rows import MODERN, of_the_paper
from transformers import AutoConfig, AutoModelForCausalLM

from offcourse.data.architectures import architecture, rows_of_classes
from offcourse.data.names import PAPER, RESOURCES
from offcourse.data.registry import Registry
from offcourse.models.load import LanguageModel
from offcourse.plan.jobs import plan
from offcourse.study.check import check_study, unpinned
from offcourse.study.config import read_study

REGISTRY = Registry.load(locked=False)
MODELS = [REGISTRY.model(name) for name in MODERN.models]
# What the configurations state beside the columns of models.tsv.
BESIDE = {
    "Qwen3Moe": dict(intermediate_size=6144, moe_intermediate_size=768, num_experts=128, num_experts_per_tok=8),
    "GptOss": dict(num_local_experts=32, num_experts_per_tok=4, attention_bias=True),
    "Glm4": dict(attention_bias=True),
    "Phi3": dict(pad_token_id=0),
}


def built(row) -> LanguageModel:
    """The model that transformers builds from the sizes of a row, without memory for its weights."""
    types = {name: each.model_type for name, each in rows_of_classes().items()} | {"Gemma3": "gemma3_text"}
    sizes = {
        "vocab_size": row.vocabulary,
        "hidden_size": row.width,
        "intermediate_size": row.mlp_width,
        "num_hidden_layers": row.layers,
        "num_attention_heads": row.heads,
        "num_key_value_heads": row.kv_heads,
        "head_dim": row.head_dim,
        "tie_word_embeddings": row.tied_embeddings,
    }
    config = AutoConfig.for_model(types[row.architecture], **sizes | BESIDE.get(row.architecture, {}))
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
    module.tie_weights()
    return LanguageModel(module, architecture(row.architecture))


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_the_class_of_a_row_has_the_published_number_of_parameters(row):
    model = built(row)
    assert model.parameters == row.parameters
    columns = ("layers", "heads", "kv_heads", "head_dim", "width", "mlp_width", "vocabulary")
    assert [getattr(model, column) for column in columns] == [getattr(row, column) for column in columns]


def test_they_are_no_models_of_the_paper():
    assert len(MODELS) == 9 and not {row.name for row in of_the_paper(REGISTRY)} & set(MODERN.models)
    for name in ("paper", "paper-corrected"):
        study = read_study(RESOURCES.parent / "studies" / f"{name}.yaml")
        assert set(study.models) <= {row.name for row in of_the_paper(REGISTRY)}
    for row in MODELS:
        assert (row.paper_name, row.release_name, row.base, row.tokens) == ("", "", "", "")
        assert row.source == "hub" and row.methods == PAPER and row.dtype == "bfloat16" and row.licence
        assert row.gated == (row.licence == "Gemma Terms of Use") == bool(row.licence_notice)


def test_the_study_is_planned_and_asks_for_pins():
    check_study(MODERN, REGISTRY, pinned=False)
    [says] = unpinned(MODERN, REGISTRY)
    assert says.startswith("9 of the study's models are not pinned to a commit: gemma-3-1b, ")
    jobs = plan(MODERN, REGISTRY)
    # The number that the study's head, README and docs/plan.md state.
    assert sum(job.gpu_hours for job in jobs) == pytest.approx(1.5, abs=0.05) and {job.cards for job in jobs} == {0, 1}
