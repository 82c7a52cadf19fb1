"""The exported JSON schema equals the model, and accepts and refuses the studies that `load_study` does."""

import importlib.util
import json
from typing import Annotated, Any, Literal

import jsonschema
import pytest
import yaml
from pydantic import Field, create_model

from offcourse.data.names import METHODS, RESOURCES
from offcourse.errors import OffcourseError
from offcourse.study.config import load_study
from offcourse.study.schema import in_words

ROOT = RESOURCES.parent
EXPORT = ROOT / "workflow" / "schemas" / "export.py"
EXPORTED = EXPORT.with_name("config.schema.json")
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]
LEAST = {"study": "mine", "models": ["tiny-llama"], "tasks": ["antonym"]}


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(EXPORTED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_is_the_model_s():
    spec = importlib.util.spec_from_file_location("export", EXPORT)
    export = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(export)
    assert EXPORTED.read_text(encoding="utf-8") == export.text(), "run `make schema`"


@pytest.mark.parametrize("path", STUDIES, ids=[path.name for path in STUDIES])
def test_every_study_is_valid_and_names_the_schema(validator, path):
    assert not list(validator.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8"))))
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == EXPORTED


WRONG = [
    {"modles": ["x"]},
    {"function_vectors": {"shot": 1}},
    {"models": "tiny-llama"},
    {"models": []},
    {"tasks": ["antonym", "antonym"]},
    {"tasks": [3]},
    {"methods": ["task_vector"]},
    {"data": "relase"},
    {"study": "My Study"},
    {"study": "store"},
    {"protocol": "corected"},
    {"protocol": {"split": "disjoint"}},
    {"protocol": {"splits": "disjiont"}},
    {"function_vectors": {"n_heads": [2, 1.5]}},
    {"function_vectors": {"strengths": [0]}},
    {"function_vectors": {"trials": 10**9}},
    {"function_vectors": {"strengths": [n + 1 for n in range(101)]}},
    {"function_vectors": {"large": {"n_heads": [2]}}},
    {"dola": {"alphas": [1.0]}},
    {"dola": {"buckets": ["50-150"]}},
    {"dola": {"limit": 0}},
    {"numerics": {"dtype": "fp16"}},
    {"numerics": {"threads": "all"}},
    {"caa": {"pairs": 0}},
    {"resources": {"hours": [1]}},
]


@pytest.mark.parametrize("change", WRONG, ids=map(str, WRONG))
def test_the_schema_refuses_what_the_model_refuses(validator, change):
    assert not list(validator.iter_errors(LEAST))
    assert list(validator.iter_errors(LEAST | change))
    with pytest.raises(OffcourseError):
        load_study(LEAST | change)


RIGHT = [
    {"protocol": {"base": "corrected", "factor_shots": 6}},
    {"function_vectors": {"strengths": [1, 2.5], "large": None, "models": None}},
    {"dola": {"limit": None, "buckets": ["0-50", "50-100"]}},
    {"numerics": {"max_rows": 64}},
    {"resources": {"gpu_memory": 80, "pue": 1.2, "partition": "gpu"}},
]


@pytest.mark.parametrize("change", RIGHT, ids=map(str, RIGHT))
def test_the_schema_takes_what_the_model_takes(validator, change):
    assert not list(validator.iter_errors(LEAST | change))
    load_study(LEAST | change)


def test_methods_are_an_enum_and_rows_of_tables_are_not(validator):
    """A name in a table changes with a row, and its message has a did-you-mean; a method comes with code."""
    keys = validator.schema["properties"]
    assert keys["methods"]["items"]["enum"] == list(METHODS)
    assert "enum" not in keys["models"]["items"] and "enum" not in keys["tasks"]["items"]


def test_keys_are_described_in_the_words_of_the_default_study(validator):
    defs = validator.schema["$defs"]
    assert defs["FunctionVectors"]["properties"]["test_items"]["description"].startswith("Evaluated words per task")
    assert defs["FunctionVectors"]["properties"]["large"]["description"].startswith("Another grid for models above")
    assert validator.schema["properties"]["caa"]["description"].startswith("Contrastive activation addition")
    for key in ("study", "models", "tasks", "data", "protocol", "methods", "resources"):
        assert validator.schema["properties"][key]["description"], key


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (bool, "true or false"),
        (int, "a whole number"),
        (Annotated[int, Field(gt=2)], "a whole number above 2"),
        (Annotated[float, Field(ge=0, lt=1)], "a number from 0, below 1"),
        (Literal["auto"] | int | None, "null or auto or a whole number"),
        (list[str], "a list"),
        (Any, "another value"),
    ],
)
def test_a_type_that_someone_s_steering_method_may_have_is_put_in_words(kind, words):
    schema = create_model("Settings", value=(kind, ...)).model_json_schema()
    assert in_words(schema["properties"]["value"]) == words
