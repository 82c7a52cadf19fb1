"""models.tsv against the study: who is in it, what Tables 11 and 12 print, and whether the facts fit together."""

from collections import Counter

import pytest
from registry_rows import of_the_paper

from offcourse.analysis import model_facts
from offcourse.analysis.model_facts import as_ours
from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.rows import is_large
from offcourse.data.tsv import read_tsv
from offcourse.models import shapes

REGISTRY = Registry.load(locked=False)
OF_THE_PAPER = of_the_paper(REGISTRY)
PRINTED = {
    row["Model Name"]: row
    for row in read_tsv(RESOURCES / "paper" / "table11.tsv")
    .merge(read_tsv(RESOURCES / "paper" / "table12.tsv"), on="Model Name", validate="one_to_one")
    .to_dict(orient="records")
}
COLUMNS = {
    theirs: ours
    for columns in model_facts.COLUMNS.values()
    for theirs, ours in columns.items()
    if ours != "total_heads"
}
# Where the paper's tables differ from the models: (model, column of models.tsv): (printed, of the model). The reasons
# are in docs/models.md.
CORRECTED = {
    ("qwen2-7b-instruct", "mlp_width"): ("29,568", 18944),
    ("gemma-2-2b", "mlp_width"): ("18,432", 9216),
    ("gemma-2-9b", "mlp_width"): ("28,672", 14336),
    ("gemma-2-9b-it", "mlp_width"): ("28,672", 14336),
    ("gemma-2-27b", "mlp_width"): ("73,728", 36864),
    **{(name, "vocabulary"): ("256,128", 256000) for name in ("gemma-2-2b", "gemma-2-9b", "gemma-2-9b-it")},
    ("gemma-2-27b", "vocabulary"): ("256,128", 256000),
    ("qwen2-1.5b", "vocabulary"): ("151,646", 151936),
    **{(name, "vocabulary"): ("151,646", 152064) for name in ("qwen2-7b", "qwen2-7b-instruct", "qwen2-72b")},
    **{(name, "context"): ("8,192", 32768) for name in ("mistral-7b-v0.1", "mistral-7b-v0.3")},
    **{
        (name, "context"): ("131,072", 32768)
        for name in ("qwen2-7b-instruct", "qwen2.5-3b-instruct", "qwen2.5-7b-instruct")
    },
    ("llama-3.2-3b", "tokens"): ("15T+", "9T"),
    ("gemma-2-9b-it", "tokens"): ("8", "8T"),
    ("gemma-2-27b", "tokens"): ("8T", "13T"),
    ("olmo-2-7b", "tokens"): ("5T", "4T"),
    ("olmo-2-7b-instruct", "tokens"): ("5T", "4T"),
    ("olmo-2-13b", "post_trained"): ("yes", "no"),
}


def test_the_tables_are_printed_in_full():
    named = {model.paper_name for model in OF_THE_PAPER if model.paper_name}
    assert len(PRINTED) == 37 and set(PRINTED) == named


@pytest.mark.parametrize("model", [model for model in OF_THE_PAPER if model.paper_name], ids=lambda model: model.name)
def test_a_row_says_what_the_paper_prints_or_why_not(model):
    row = PRINTED[model.paper_name]
    assert int(row["total_heads"].replace(",", "")) == model.layers * model.heads
    for theirs, ours in COLUMNS.items():
        if (model.name, ours) in CORRECTED:
            assert (row[theirs], getattr(model, ours)) == CORRECTED[model.name, ours]
        else:
            assert as_ours(ours, row[theirs], model) == getattr(model, ours), (ours, row[theirs])


def test_the_docs_name_every_correction():
    text = (RESOURCES.parent / "docs" / "models.md").read_text(encoding="utf-8")
    for (name, _), (printed, _) in CORRECTED.items():
        assert f"`{name}`" in text and printed in text, name


def test_every_method_has_the_study_s_number_of_models():
    counts = Counter(method for model in OF_THE_PAPER for method in model.methods)
    assert counts == {"function_vectors": 36, "task_vectors": 29, "dola": 10, "logit_lens": 15}


def test_task_vectors_leave_out_gemma_2_and_olmo_2():
    without = {m.family for m in OF_THE_PAPER if "function_vectors" in m.methods and "task_vectors" not in m.methods}
    assert without == {"Gemma 2", "OLMo 2"}


def test_base_and_post_trained_models_are_the_study_s_eleven_pairs():
    pairs = REGISTRY.post_training([model.name for model in OF_THE_PAPER])
    assert len(pairs) == 11
    for base, tuned in pairs:
        base, tuned = REGISTRY.model(base), REGISTRY.model(tuned)
        assert (base.post_trained, tuned.post_trained) == ("no", "yes")
        assert shapes.parameters(base) == shapes.parameters(tuned) and base.family == tuned.family


def test_large_models_are_the_study_s():
    large = [m.name for m in OF_THE_PAPER if "function_vectors" in m.methods and is_large(m.parameters)]
    assert large == ["llama-2-70b", "llama-3.1-70b", "llama-3.1-70b-instruct", "qwen2-72b"]


def test_models_from_thirteen_billion_up_ran_in_bfloat16():
    for model in OF_THE_PAPER:
        assert model.dtype == ("bfloat16" if round(model.parameters / 1e9) >= 13 else "float16"), model.name


def test_checkpoints_are_the_same_model_at_an_earlier_revision():
    repos = Counter(model.repo for model in OF_THE_PAPER)
    assert {repo: n for repo, n in repos.items() if n > 1} == {"allenai/OLMo-7B-0724-hf": 5, "LLM360/Amber": 4}
    for repo in ("allenai/OLMo-7B-0724-hf", "LLM360/Amber"):
        of_repo = [model for model in OF_THE_PAPER if model.repo == repo]
        assert len({model.revision for model in of_repo}) == len(of_repo)
        assert len({shapes.parameters(model) for model in of_repo}) == 1
        assert [model.revision for model in of_repo].count("main") == 1


def test_names_and_labels_are_distinct():
    for column in ("label", "short_label", "release_name"):
        values = [getattr(model, column) for model in REGISTRY.models.values() if getattr(model, column)]
        assert len(values) == len(set(values)), column


@pytest.mark.parametrize("model", REGISTRY.models.values(), ids=lambda model: model.name)
def test_shapes_give_the_published_number_of_parameters(model):
    assert shapes.parameters(model) == pytest.approx(model.parameters, rel=0.03)


@pytest.mark.parametrize("model", REGISTRY.models.values(), ids=lambda model: model.name)
def test_shapes_fit_together(model):
    # Of the paper's classes, the Gemma models alone have heads that are not a partition of the width.
    if model.architecture in ARCHITECTURES:
        assert (model.heads * model.head_dim == model.width) == (model.architecture not in ("Gemma2", "Gemma3"))
    assert model.heads % model.kv_heads == 0
    assert model.attention == {model.heads: "MHA", 1: "MQA"}.get(model.kv_heads, "GQA")
