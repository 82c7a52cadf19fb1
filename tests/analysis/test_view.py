"""The view returns what the declaration names and raises for anything else; `parameters` lists all it can return."""

from dataclasses import replace

import pytest
from lab import SMOKE
from views import results, view_of

from offcourse.analysis.results import read_shots, read_sweep
from offcourse.analysis.view import Declaration, ResultsView
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.graph.product import SHOWN
from offcourse.graph.products import PRODUCTS
from offcourse.graph.study_files import results_of
from offcourse.layout import Layout
from offcourse.study.config import read_study

SCOPE = (["tiny-0.1b", "middle-27b"], ["antonym", "present-past"])


def test_a_declared_result_is_given_and_another_raises_with_both_names(study):
    view = view_of("figure_shots", study, fv=SCOPE)
    assert set(read_shots(view, "tiny-0.1b", "antonym").index) == set(range(11))
    with pytest.raises(OffcourseError, match=r"figure_shots reads tiny-0.1b/fv_sweep/antonym.parquet, which its decl"):
        read_sweep(view, "tiny-0.1b", "antonym")
    with pytest.raises(OffcourseError, match=r"figure_shots reads huge-70b/model.json"):
        view / "huge-70b/model.json"


def test_a_job_of_one_model_is_given_the_results_of_that_model(study):
    view = view_of("figure_cie", study, "tiny-0.1b", fv=SCOPE)
    assert view.models("function_vectors") == ["tiny-0.1b"]
    assert {path.split("/")[0] for path in view.paths} == {"tiny-0.1b"}


@pytest.mark.parametrize(
    ("what", "read"),
    [
        ("selection", lambda view: view.switch("selection")),
        ("head_read_position", lambda view: view.protocol),
        ("function_vectors.n_heads", lambda view: view.setting("function_vectors.n_heads")),
        ("tasks.group", lambda view: view.groups()),
        ("models.base", lambda view: view.post_training(["tiny-0.1b"])),
        ("task_vectors", lambda view: view.scope("task_vectors")),
        ("caa", lambda view: view.label("caa")),
        ("claims.tsv", lambda view: view.tracked("claims.tsv")),
        ("last", lambda view: view.known("last")),
    ],
)
def test_what_is_not_declared_raises_with_its_name(study, what, read):
    with pytest.raises(OffcourseError, match=f"figure_shots reads {what}, which"):
        read(view_of("figure_shots", study, fv=SCOPE))


def test_parameters_are_everything_that_is_declared(tmp_path):
    declaration = Declaration(
        "made",
        ("function_vectors",),
        columns=("tasks.group", "models.label"),
        switches=("ties",),
        settings=("function_vectors.n_heads",),
    )
    known = results(tmp_path, fv=(["a", "b"], ["antonym"]), settings={"n_heads": [64, 2]})
    parameters = ResultsView(declaration, known).parameters()
    assert parameters == {
        "models of function_vectors": ["a", "b"],
        "tasks of function_vectors": ["antonym"],
        "group of antonym": "linguistic",
        "label of a": "a",
        "label of b": "b",
        "function_vectors.n_heads": [2, 64],
        "ties": "as_coded",
    }
    turned = known.only("function_vectors", ["b", "a"], ["antonym"])
    assert ResultsView(declaration, turned).parameters() != parameters
    unordered = replace(declaration, unordered=True)
    assert ResultsView(unordered, turned).parameters() == ResultsView(unordered, known).parameters()


@pytest.mark.parametrize("name", [name for name, product in PRODUCTS.items() if product.script == SHOWN])
def test_the_view_of_a_study_gives_the_files_that_its_rule_waits_for(name):
    """The rule's input, from `Product.upstream`, and what the view lets the code read are one list."""
    study, registry, product = read_study(SMOKE), Registry.load(), PRODUCTS[name]
    if product.methods and not set(product.methods) & set(study.methods):
        pytest.skip(f"the smoke study has none of {', '.join(product.methods)}")
    layout = Layout(study.study)
    for model in product.instances(study):
        view = product.view(results_of(study, registry, layout), model)
        waited = {layout.artefact(step, ".parquet", *of) for step, *of in product.upstream(study, model)}
        waited |= {layout.results / f"tables/table{number}.parquet" for number in product.numbers_read(study)}
        waited |= {layout.results / each / "model.json" for each in product.models(study, model)}
        assert {layout.results / path for path in view.paths} == waited
