"""The configuration: its keys and defaults, and one clear message for each way to get it wrong."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offcourse.data.names import RESOURCES, STEERING
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.study.check import check_study
from offcourse.study.config import Study, load_study, read_study

ROOT = RESOURCES.parent
SHIPPED = ("smoke", "laptop", "three", "bench")
LEAST = {"study": "mine", "models": ["tiny-llama"], "tasks": ["antonym"]}


def test_only_three_keys_are_needed():
    study = load_study(LEAST)
    assert study.data == "embedded" and study.methods == ["function_vectors"]
    assert study.function_vectors.model_dump() == {
        "shots": 10,
        "trials": 25,
        "n_heads": [2, 16, 64],
        "strengths": [1.0, 4.0, 16.0],
        "test_items": 50,
        "models": None,
        "tasks": None,
        "dtype": None,
        "large": None,
        "controls": [],
        "control_draws": 1,
        "build_draws": 1,
    }
    assert study.numerics.model_dump() == {
        "dtype": "auto",
        "attention": "auto",
        "max_rows": "auto",
        "threads": "auto",
        "offload": "refuse",
        "seed_policy": "as_published",
    }
    assert study.resources == {}


def test_the_keys_are_the_fixed_ones():
    assert list(Study.model_fields) == [
        "study",
        "models",
        "tasks",
        "data",
        "protocol",
        "methods",
        "function_vectors",
        "task_vectors",
        "dola",
        "logit_lens",
        "numerics",
        "provenance",
        "resources",
        *STEERING,
    ]


def test_two_studies_do_not_share_defaults():
    load_study(LEAST).function_vectors.n_heads.append(3)
    assert load_study(LEAST).function_vectors.n_heads == [2, 16, 64]


def test_a_study_survives_its_own_dump():
    study = load_study({**LEAST, "protocol": "corrected", "resources": {"gpu_memory": 80, "partition": "gpu"}})
    assert load_study(study.model_dump(mode="json")) == study


@pytest.mark.parametrize("name", ["config.yaml", *(f"studies/{name}.yaml" for name in SHIPPED)])
def test_the_shipped_studies_are_valid(name):
    check_study(read_study(ROOT / name), Registry.load())


def test_the_study_on_three_models_is_the_default_study_with_one_more():
    default, three = (read_study(ROOT / name).model_dump() for name in ("config.yaml", "studies/three.yaml"))
    assert three.pop("models") == [*default.pop("models"), "qwen2.5-coder-0.5b-instruct"]
    assert default.pop("study") == "default" and three.pop("study") == "three"
    assert default == three


def test_the_study_of_all_methods_has_the_papers_methods_as_the_default_study_has_them():
    default, bench = (read_study(ROOT / name).model_dump() for name in ("config.yaml", "studies/bench.yaml"))
    for name in ("models", "data", "protocol", "function_vectors", "task_vectors", "dola"):
        assert bench[name] == default[name], name
    assert set(bench["methods"]) == {"function_vectors", "task_vectors", "dola", *STEERING} - {"vector_file"}
    for name in ("caa", "prompting"):
        assert bench[name]["questions"] == ["misconceptions"] and bench[name]["limit"] == bench["dola"]["limit"]


def test_every_key_of_the_default_study_is_explained():
    lines = (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        key = line.strip()
        if (
            ":" in key
            and not key.startswith("#")
            and key not in ("numerics:", "provenance:", "function_vectors:", "task_vectors:", "dola:", "logit_lens:")
        ):
            assert before.strip().startswith("#"), line


BAD = [
    ({"modles": ["x"]}, "config: unknown key modles; did you mean 'models'"),
    ({"function_vectors": {"shot": 1}}, "unknown key function_vectors.shot; did you mean 'function_vectors.shots'"),
    ({"n_heads": [2]}, "unknown key n_heads; did you mean 'function_vectors.n_heads'"),
    ({"zzzz": 1}, "unknown key zzzz; known: activation_addition, caa, data"),
    ({"models": "tiny-llama"}, "models: expected a list, got 'tiny-llama'"),
    ({"models": []}, "models: expected at least one entry"),
    ({"models": ["a", "b", "a"]}, r"models: expected distinct entries \('a' occurs twice\)"),
    ({"tasks": ["antonym", "antonym"]}, "tasks: expected distinct"),
    ({"tasks": [3]}, r"tasks\[0\]: expected a name, got 3"),
    ({"tasks": None}, "tasks: expected a list, got None"),
    ({"methods": []}, "methods: expected at least one"),
    ({"methods": ["task_vector"]}, r"methods\[0\]: expected one of .*, got 'task_vector'; did you mean 'task_vectors'"),
    ({"task_vectors": {"synonyms": "wordnet"}}, "task_vectors.synonyms: expected exact, got 'wordnet'"),
    ({"methods": ["function_vector"]}, "did you mean 'function_vectors'"),
    ({"data": "relase"}, "data: expected one of embedded, release, got 'relase'"),
    ({"protocol": "corected"}, "protocol: there is no protocol 'corected'; did you mean 'corrected'"),
    ({"protocol": {"split": "disjoint"}}, "no protocol switch 'split'; did you mean 'splits'"),
    ({"protocol": {"splits": "disjiont"}}, "overlapping or disjoint, not 'disjiont'; did you mean 'disjoint'"),
    ({"protocol": {"base": "published"}}, "no protocol 'published'; did you mean 'as_published'"),
    ({"protocol": 3}, "as_published, corrected or a mapping of switches, got 3"),
    ({"study": "My Study"}, "study: expected a name of lower-case .* got 'My Study'"),
    ({"study": "../up"}, "study: expected a name"),
    ({"study": "a\n"}, "study: expected a name"),
    ({"function_vectors": None}, "function_vectors: expected a mapping of keys, got None"),
    ({"function_vectors": {"n_heads": []}}, "function_vectors.n_heads: expected at least one entry"),
    ({"function_vectors": {"n_heads": [2, 2]}}, r"n_heads: expected distinct entries \(2 occurs twice\)"),
    ({"function_vectors": {"n_heads": 2}}, "n_heads: expected a list, got 2"),
    (
        {"function_vectors": {"n_heads": [2, 1.5]}},
        r"function_vectors.n_heads\[1\]: expected a whole number .*, got 1.5",
    ),
    ({"function_vectors": {"strengths": [0]}}, r"strengths\[0\]: expected a number above 0, up to 65504, got 0"),
    ({"function_vectors": {"strengths": [1, 1.0]}}, "strengths: expected distinct"),
    (
        {"function_vectors": {"strengths": [float("inf")]}},
        r"strengths\[0\]: expected a number above 0, up to 65504, got inf",
    ),
    ({"function_vectors": {"shots": True}}, "shots: expected a whole number from 1 to 1000, got True"),
    (
        {"function_vectors": {"trials": "10"}},
        "trials: expected a whole number from 1 to 100000, got '10'. YAML reads this as text; write 10$",
    ),
    ({"function_vectors": {"strengths": ["1e3"]}}, r"\[0\]: expected a number .*, got '1e3'. .* as text; write 1000$"),
    ({"dola": {"alphas": ["1e-2"]}}, r"\[0\]: expected a number .*, got '1e-2'. .* as text; write 0.01$"),
    ({"dola": {"limit": "24"}}, r"dola.limit: expected null or .*, got '24'. YAML reads this as text; write 24$"),
    ({"function_vectors": {"trials": "ten"}}, "trials: expected a whole number from 1 to 100000, got 'ten'$"),
    ({"function_vectors": {"test_items": 0}}, "test_items: expected a whole number from 1 to 100000, got 0"),
    ({"task_vectors": {"dev_items": -1}}, "task_vectors.dev_items: expected a whole number"),
    # Bounds: what no study needs and no machine can plan.
    ({"function_vectors": {"trials": 10**9}}, "trials: expected a whole number from 1 to 100000, got 1000000000"),
    (
        {"function_vectors": {"strengths": [n + 1 for n in range(101)]}},
        "strengths: expected at most 100 entries, got 101",
    ),
    ({"function_vectors": {"control_draws": 10**9}}, "control_draws: expected a whole number from 1 to 1000,"),
    ({"function_vectors": {"n_heads": [10**9]}}, r"n_heads\[0\]: expected a whole number from 1 to 100000,"),
    ({"models": [f"m{n}" for n in range(1001)]}, "models: expected at most 1000 entries, got 1001"),
    ({"models": ["m" * 300]}, r"models\[0\]: expected a name, got 'm{190}.*\.\.\.$"),
    ({"numerics": {"threads": 10**9}}, "threads: expected auto or a whole number from 1 to 4096"),
    ({"study": "s" * 101}, "study: expected a name of lower-case"),
    ({"study": "store"}, r"study: expected a name .* not reserved \(.*, store, tables\), got 'store'"),
    ({"study": "tables"}, r"study: expected a name .* not reserved \(.*, store, tables\), got 'tables'"),
    ({"resources": {f"r{n}": n for n in range(101)}}, "resources: expected at most 100 entries, got 101"),
    ({"dola": {"limit": 0}}, "dola.limit: expected null or a whole number"),
    ({"dola": {"alphas": [1.5]}}, r"dola.alphas\[0\]: expected a number from 0, below 1"),
    ({"dola": {"alphas": [0.1, 1.0]}}, r"dola.alphas\[1\]: expected a number from 0, below 1, got 1.0"),
    ({"dola": {"alphas": [-0.1]}}, r"dola.alphas\[0\]: expected a number from 0, below 1, got -0.1"),
    ({"dola": {"buckets": ["50-0"]}}, "dola.buckets: expected auto or a list, each entry two percentages of depth"),
    ({"dola": {"buckets": ["50-150"]}}, r"dola.buckets: expected .* from 0 to 100, .* such as 0-50, got \['50-150'\]"),
    ({"dola": {"length_bias": -20}}, "dola.length_bias: expected a number from 0 to 1000000, got -20"),
    ({"logit_lens": {"questions": []}}, "logit_lens.questions: expected at least one"),
    ({"numerics": {"dtype": "fp16"}}, "numerics.dtype: expected one of auto, float32, bfloat16, float16, got 'fp16'"),
    ({"dola": {"dtype": "half"}}, "dola.dtype: expected one of auto, float32, bfloat16, float16, got 'half'"),
    ({"dola": {"tasks": ["antonym"]}}, "unknown key dola.tasks; did you mean 'function_vectors.tasks'"),
    ({"task_vectors": {"models": []}}, "task_vectors.models: expected at least one entry"),
    ({"function_vectors": {"large": 3}}, "function_vectors.large: expected a mapping of keys, got 3"),
    ({"function_vectors": {"large": {"n_heads": [2]}}}, "the key function_vectors.large.strengths is missing"),
    (
        {"function_vectors": {"large": {"n_heads": [2], "strengths": [1], "n_head": [3]}}},
        "unknown key function_vectors.large.n_head; did you mean 'function_vectors.large.n_heads'",
    ),
    ({"numerics": {"max_rows": 0}}, "numerics.max_rows: expected auto or a whole number from 1 to 1000000, got 0"),
    ({"numerics": {"threads": "all"}}, "numerics.threads: expected auto or a whole number from 1 to 4096, got 'all'"),
    ({"numerics": {"seed_policy": "mine"}}, "numerics.seed_policy: expected as_published"),
    ({"resources": {"hours": [1]}}, r"resources.hours: expected a number or a text, got \[1\]"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[str(change) for change, _ in BAD])
def test_a_mistake_is_named(change, message):
    with pytest.raises(OffcourseError, match=message) as caught:
        load_study({**LEAST, **change})
    assert str(caught.value).count("\n") == 0


def test_all_mistakes_are_told_at_once():
    with pytest.raises(OffcourseError) as caught:
        load_study({"models": [], "taks": ["antonym"]}, where="my.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3 and all(line.startswith("my.yaml: ") for line in lines)
    assert "my.yaml: the key study is missing" in lines and any("did you mean 'tasks'?" in line for line in lines)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), st.lists, max_leaves=4)
)
@settings(deadline=None, max_examples=50)
def test_no_value_gets_past_as_another_error(value):
    for key in Study.model_fields:
        try:
            load_study({**LEAST, key: value})
        except OffcourseError as error:
            assert str(error).startswith(f"config: {key}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"study: [", "is not YAML"),
        (b"- a\n", "expected a mapping of keys"),
        (b"", "expected a mapping of keys .* got None"),
        (b"study: \xff", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_study(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(OffcourseError, match=message) as caught:
        read_study(path)
    assert "bad.yaml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OffcourseError, match=r"no configuration file .*none\.yaml"):
        read_study(tmp_path / "none.yaml")


def test_check_suggests_models_and_tasks():
    registry = Registry.load()
    with pytest.raises(OffcourseError, match="no model 'gemma-270m'.*did you mean 'gemma-3-270m'"):
        check_study(load_study({**LEAST, "models": ["gemma-270m"]}), registry)
    with pytest.raises(OffcourseError, match="no task 'antonyn'.*did you mean 'antonym'"):
        check_study(load_study({**LEAST, "tasks": ["antonyn"]}), registry)
    with pytest.raises(OffcourseError, match="task english-italian; use data: embedded"):
        check_study(load_study({**LEAST, "tasks": ["english-italian"], "data": "release"}), registry)


def broken(tmp_path, file: str, change):
    """A copy of the resources in which `change` was made to the text of one file."""
    resources = tmp_path / "resources"
    shutil.copytree(RESOURCES, resources, ignore=shutil.ignore_patterns("downloads"))
    text = (resources / file).read_text(encoding="utf-8")
    (resources / file).write_text(change(text), encoding="utf-8")
    return resources


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("questions/passages.tsv", lambda text: text.replace("completion", "ending", 1), "missing columns: completion"),
        ("questions/misconceptions.tsv", lambda text: text + "Why?\tSo\tSo\t\n", "row 72: the cell in column 'false'"),
        ("questions/misconceptions.tsv", lambda text: text + "one cell\n", "line 72: expected 4 tab-separated cells"),
        ("questions/primer.tsv", lambda text: text.replace("answer", "reply", 1), "missing columns: answer"),
        ("words/antonyms.tsv", lambda text: text + "big\t\n", "line 302: the entry in column .* is empty"),
    ],
)
def test_a_mistake_in_our_own_lists_is_told_before_anything_runs(tmp_path, file, change, message):
    """The Snakefile and `offcourse status` call this first; later it would come out of a rule's params."""
    study = load_study(LEAST | {"methods": ["function_vectors", "dola", "logit_lens"]})
    check_study(study, Registry.load())
    with pytest.raises(OffcourseError, match=f"{file.split('/')[1]}.*{message}") as caught:
        check_study(study, Registry.load(), broken(tmp_path, file, change))
    assert str(caught.value).count("\n") == 0


def test_question_sets_of_a_method_that_is_not_run_are_left_alone(tmp_path):
    resources = broken(tmp_path, "questions/passages.tsv", lambda text: "")
    check_study(load_study(LEAST), Registry.load(), resources)


def test_demonstrations_that_leave_nothing_to_evaluate_are_told_before_anything_runs(tmp_path):
    resources = broken(tmp_path, "questions/passages.tsv", lambda text: "\n".join(text.split("\n")[:7]) + "\n")
    study = load_study(LEAST | {"methods": ["dola"], "protocol": {"factor_shots": 6}})
    with pytest.raises(OffcourseError, match="passages: protocol factor_shots takes the last 6 .* the set has 6"):
        check_study(study, Registry.load(), resources)
