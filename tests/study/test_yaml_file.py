"""YAML files: a key that is there twice, aliases that explode, and files that are no configuration."""

import pytest

from offcourse.errors import OffcourseError
from offcourse.study.config import read_study
from offcourse.study.yaml_file import MOST_BYTES, MOST_VALUES, read_yaml

LEAST = "study: mine\nmodels: [tiny-llama]\ntasks: [antonym]\n"
# Nine levels of nine aliases each stand for 9^9 values, in 300 bytes.
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


WRONG = {
    "top": (LEAST + "study: other\n", "the key study is there twice, in lines 1 and 4; keep one"),
    "section": (
        LEAST + "dola:\n  limit: 3\n  alphas: [0.1]\n  limit: 4\n",
        "dola.limit is there twice, in lines 5 and 7",
    ),
    "quoted": (LEAST + 'dola: {limit: 3, "limit": 4}\n', "the key dola.limit is there twice, in lines 4 and 4"),
    "json": ('{"study": "a", "study": "b"}', "the key study is there twice, in lines 1 and 1"),
    "bomb": (LEAST + BOMB, r"line \d+: a\d stands for \d+ values .* at most 10000"),
    "list in itself": ("a: &a [*a]\n", "line 1: an alias stands inside what it stands for"),
    "mapping in itself": ("a: &a {b: *a}\n", "line 1: an alias stands inside"),
    "deep": ("[" * 5000, "nested too deeply|is not YAML"),
    "digits": ("a: " + "9" * 5000, "is not YAML: Exceeds the limit"),
    "date": ("a: 2024-13-45\n", "is not YAML: month must be in"),
    "bytes": ("#" * (MOST_BYTES + 1), "has 1000001 bytes; a configuration has at most 1000000"),
    "list as a key": ("? [a]\n: b\n", "is not YAML.*unhashable"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=list(WRONG))
def test_a_file_that_would_be_misread_is_refused(written, text, message):
    path = written(text)
    with pytest.raises(OffcourseError, match=f"(?s)mine.yaml.*({message})"):
        read_study(path)


def test_anchors_that_a_study_needs_are_read(written):
    path = written(
        "study: mine\nmodels: &all [tiny-llama, gemma-3-270m]\ntasks: [antonym]\nfunction_vectors: {models: *all}\n"
        "task_vectors: &own {shots: 3}\ncaa: {<<: *own, pairs: 4}\n"
    )
    study = read_study(path)
    assert study.function_vectors.models == study.models and (study.caa.shots, study.caa.pairs) == (3, 4)


def test_the_bound_is_on_values_not_on_files(written):
    assert len(read_yaml(written(f"a: [{', '.join('x' * (MOST_VALUES - 2))}]"))["a"]) == MOST_VALUES - 2
    with pytest.raises(OffcourseError, match="a stands for 10001 values"):
        read_yaml(written(f"a: [{', '.join('x' * MOST_VALUES)}]"))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(OffcourseError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
