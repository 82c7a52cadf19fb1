"""A method's steps run on the method's own models and tasks, with the models' grid and the method's precision."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from offcourse.audit.audit import Audit
from offcourse.audit.status import status
from offcourse.data.names import RESERVED
from offcourse.data.registry import Registry
from offcourse.graph.keys import FETCHED, STEPS, dtype_of, leaf_files, release_lists, rule_params, steps_of
from offcourse.graph.products import PRODUCTS, products_of
from offcourse.graph.release_rules import NAME
from offcourse.graph.study_files import job_outputs, job_parameters, records_of, results_of
from offcourse.judge.asked import FOLDER as JUDGED
from offcourse.layout import Layout
from offcourse.store.shards import OTHERS
from offcourse.study.config import load_study

STUDY = load_study(
    {
        "study": "mine",
        "models": ["smollm2-135m-instruct", "gemma-3-270m", "tiny-llama"],
        "tasks": ["antonym", "english-german", "english-italian"],
        "data": "release",
        "methods": ["function_vectors", "task_vectors", "dola"],
        "function_vectors": {
            "models": ["smollm2-135m-instruct", "gemma-3-270m"],
            "tasks": ["antonym", "english-german"],
            "n_heads": [2, 16],
            "large": {"n_heads": [64], "strengths": [1]},
        },
        "task_vectors": {"models": ["gemma-3-270m"], "tasks": ["antonym", "english-italian"], "dtype": "float16"},
        "dola": {"models": ["tiny-llama"]},
    }
)
FV_STEPS = {"icl", "head_means", "cie", "function_vectors", "fv_sweep"}
TV_STEPS = {"tv_icl", "task_vectors", "tv_sweep"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The registry, with one of the small models said to be large."""
    registry = Registry.load()
    model = registry.model("gemma-3-270m")
    return replace(registry, models=dict(registry.models) | {model.name: replace(model, parameters=70_000_000_000)})


@pytest.mark.parametrize(
    ("model", "steps"),
    [
        ("smollm2-135m-instruct", {"prompts"} | FV_STEPS),
        ("gemma-3-270m", {"prompts"} | FV_STEPS | TV_STEPS),
        ("tiny-llama", {"dola"}),
    ],
)
def test_a_model_has_the_steps_of_its_methods(model, steps):
    assert set(steps_of(STUDY, model)) == steps


def test_the_folders_of_results_are_reserved(registry):
    folders = {
        Path(path).parts[0]
        for product in PRODUCTS.values()
        for model in product.instances(STUDY)
        for path in job_outputs(product, STUDY, registry, model)
        if "/" in path
    }
    for rules in (Path(__file__).parents[2] / "rules").glob("*.smk"):
        folders |= set(re.findall(r"(?:RESULTS|PUBLISHED) / f?\"([a-z-]+)/", rules.read_text(encoding="utf-8")))
    layout = Layout("mine")
    folders |= {layout.store.name, OTHERS, JUDGED, Layout(NAME).results.name, layout.rule_record("report").parent.name}
    assert folders - set(STUDY.models) == set(RESERVED)


def test_a_step_has_the_tasks_of_its_methods():
    assert STEPS["icl"].units(STUDY) == ["antonym", "english-german"]
    assert STEPS["tv_sweep"].units(STUDY) == ["antonym", "english-italian"]
    assert STEPS["prompts"].units(STUDY) == STUDY.tasks


def test_the_rules_of_a_method_that_is_not_run_have_outputs():
    study = STUDY.model_copy(update={"methods": ["dola"]})
    assert STEPS["tv_sweep"].units(study) == study.tasks and "tv_sweep" not in steps_of(study)


def test_only_the_lists_of_a_method_s_tasks_are_fetched(registry):
    assert [Path(path).parts[0] + " " + Path(path).stem for path in release_lists(STUDY, registry)] == [
        "function_vectors antonym",
        "function_vectors english-german",
        "icl_task_vectors antonyms",
        "icl_task_vectors en_it",
    ]


def test_status_lists_what_runs_and_nothing_else(registry, tmp_path):
    found = [(s.step, s.model, s.unit) for s in status(STUDY, registry, Layout("mine", tmp_path))]
    states = [state for state in found if state[0] in STEPS]
    assert len(states) == len(set(states)) == (3 + 5 * 2) + (3 + 5 * 2 + 3 * 2) + 2
    assert ("tv_sweep", "gemma-3-270m", "english-italian") in states
    assert not [state for state in states if state[:2] == ("tv_sweep", "smollm2-135m-instruct")]


def test_tables_and_figures_show_the_models_and_tasks_of_their_methods(registry):
    pages, vectors = PRODUCTS["figure_task_vectors"], PRODUCTS["figure_sweep"]
    assert pages.instances(STUDY) == ["gemma-3-270m"] and vectors.instances(STUDY) == STUDY.models[:2]
    swept = {path for model in STUDY.models[:2] for path in job_outputs(vectors, STUDY, registry, model)}
    assert len(swept) == 2 * 2 * 3 and not any("italian" in path for path in swept)
    read = PRODUCTS["table3"].upstream(STUDY, None)
    assert Counter((step, model) for step, model, _ in read) == {
        **{(step, model): 2 for step in ("icl", "fv_sweep") for model in STUDY.models[:2]},
        **{(step, "gemma-3-270m"): 2 for step in ("tv_icl", "tv_sweep")},
    }
    assert PRODUCTS["tables_dola"].models(STUDY) == ["tiny-llama"]


def test_tables_of_methods_are_made_for_steering_methods_alone(registry):
    """What stands beside steering methods in a table does not ask for it."""
    steered = STUDY.model_copy(update={"methods": [*STUDY.methods, "caa"]})
    asked = steered.model_copy(update={"caa": steered.caa.model_copy(update={"questions": ["passages"]})})
    found = [
        [name for name in products_of(study, registry) if name.startswith("table_methods")]
        for study in (STUDY, steered, asked)
    ]
    assert found == [[], ["table_methods"], ["table_methods", "table_methods_questions"]]


def test_tables_of_methods_wait_for_what_their_view_lets_them_read(registry):
    """As tests/analysis/test_view.py holds of the smoke study, which has no steering method."""
    sets = {"questions": ["passages"], "models": ["gemma-3-270m"]}
    caa, prompting = (getattr(STUDY, name).model_copy(update=sets) for name in ("caa", "prompting"))
    study = STUDY.model_copy(
        update={"methods": [*STUDY.methods, "caa", "prompting"], "caa": caa, "prompting": prompting}
    )
    layout = Layout(study.study)
    for name in ("table_methods", "table_methods_questions"):
        product = PRODUCTS[name]
        waited = {layout.artefact(step, ".parquet", *of) for step, *of in product.upstream(study, None)}
        waited |= {layout.results / each / "model.json" for each in product.models(study)}
        view = product.view(results_of(study, registry, layout))
        assert {layout.results / path for path in view.paths} == waited, name


def test_status_records_and_audit_are_about_the_same_results(registry, tmp_path):
    layout = Layout("mine", tmp_path)
    # A prepared model and a download have a manifest and a list in the place of a record.
    others = {"ro_crate", "prepare_model", *FETCHED}
    states = [s for s in status(STUDY, registry, layout) if s.step not in others]
    expected = {
        layout.record(s.step, s.model, s.unit) if s.step in STEPS else layout.rule_record(s.step, s.model or None)
        for s in states
    }
    assert set(records_of(STUDY, registry, layout)) == expected
    audited = {record for record, _ in Audit(STUDY, registry, layout).expected.values()}
    assert audited - {layout.rule_record("ro_crate")} == expected


def test_a_model_is_checked_for_its_own_methods_in_their_precision(registry):
    facts = PRODUCTS["check_model"]
    assert job_parameters(facts, STUDY, registry, "tiny-llama")["methods"] == ["dola"]
    study = STUDY.model_copy(update={"dola": STUDY.dola.model_copy(update={"dtype": "float16"})})
    dtypes = [job_parameters(facts, study, registry, model)["dtype"] for model in study.models]
    assert dtypes == ["float32", "float32", "float16"]


def test_the_files_of_a_prompt_s_words_are_those_of_the_methods_that_have_the_task(registry):
    files = {unit: leaf_files(STEPS["prompts"], STUDY, registry, unit) for unit in STUDY.tasks}
    assert {unit: len(paths) for unit, paths in files.items()} == {
        "antonym": 2,
        "english-german": 1,
        "english-italian": 1,
    }


def test_a_large_model_has_the_large_grid(registry):
    step = STEPS["function_vectors"]
    grids = {model: rule_params(step, STUDY, registry, model)["parameters"] for model in STUDY.models[:2]}
    assert '"n_heads": [2, 16]' in grids["smollm2-135m-instruct"] and '"n_heads": [64]' in grids["gemma-3-270m"]


def test_a_method_has_its_own_precision(registry):
    assert dtype_of(STUDY, registry, "gemma-3-270m", STEPS["tv_sweep"]) == "float16"
    assert dtype_of(STUDY, registry, "gemma-3-270m", STEPS["fv_sweep"]) == "float32"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_rows_that_go_together_count_since_shapes_decide_rounding(registry, dtype):
    def params(rows):
        numerics = STUDY.numerics.model_copy(update={"dtype": dtype, "max_rows": rows})
        study = STUDY.model_copy(update={"numerics": numerics})
        return rule_params(STEPS["cie"], study, registry, "smollm2-135m-instruct")["numerics"]

    assert params(512) != params("auto")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["icl", "cie", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "head_means", "dola"])
def test_the_precision_of_logits_counts_where_logits_are_read_in_half_precision(registry, dtype, name):
    def params(logits):
        numerics = STUDY.numerics.model_copy(update={"dtype": dtype})
        methods = {
            method: getattr(STUDY, method).model_copy(update={"dtype": None})
            for method in ("function_vectors", "task_vectors", "dola")
        }
        protocol = STUDY.protocol.model_copy(update={"logits_dtype": logits})
        study = STUDY.model_copy(update={"numerics": numerics, "protocol": protocol, **methods})
        return rule_params(STEPS[name], study, registry, "smollm2-135m-instruct")

    reads = name not in ("head_means", "dola")
    assert (params("model") != params("float32")) == (reads and dtype != "float32")
