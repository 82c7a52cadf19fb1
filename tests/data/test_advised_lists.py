"""What a message about a word list advises is done literally, as read from the message, and the list is then read."""

import os
import re
import subprocess
import sys
from functools import partial

import pytest

from offcourse.data.names import RESOURCES
from offcourse.data.prompts import build_prompts
from offcourse.data.registry import Registry
from offcourse.data.targets import spread
from offcourse.data.task_vector_prompts import build_task_vector_prompts
from offcourse.data.tasks import load_pairs, require_enough
from offcourse.errors import OffcourseError

ANTONYM = Registry.load().task("antonym")
PAIRS = [(f"in{n}", f"out{n}") for n in range(60)]
SETTINGS = {
    "task": "antonym",
    "shots": 3,
    "trials": 2,
    "test_items": 4,
    "splits": "overlapping",
    "sampling": "global",
    "head_read_position": "last",
    "dummy_queries": 2,
    "dev_items": 4,
    "baseline_items": 4,
}


def refused(run) -> str:
    with pytest.raises(OffcourseError) as caught:
        run()
    return str(caught.value)


@pytest.fixture
def read(tmp_path):
    """`read(lines)`: a word list of these lines as it is loaded."""
    path = tmp_path / "words" / "antonyms.tsv"
    path.parent.mkdir()

    def load(lines: list[str]):
        path.write_bytes("\n".join(["input\toutput", *lines, ""]).encode())
        return load_pairs(ANTONYM, "embedded", tmp_path)

    return load


def test_either_of_two_equal_words_may_be_kept(read):
    lines = ["big\tsmall", "up\tdown", "big\tlittle"]
    said = re.search(r"line (\d+): .* was already on line (\d+); keep one of the two", refused(lambda: read(lines)))
    for number in map(int, said.groups()):
        # The first line has the columns' names.
        assert len(read([line for place, line in enumerate(lines, 2) if place != number])) == 2


@pytest.mark.parametrize("cell", ["sm\u200ball", "sm\u00adall", "\ufeffsmall"])
def test_an_invisible_character_is_removed_where_the_message_says(read, cell):
    said = re.search(r"line (\d+): .*sign number (\d+): U\+(\w+) .* Remove it", refused(lambda: read([f"big\t{cell}"])))
    place = int(said[2]) - 1
    assert (said[1], ord(cell[place])) == ("2", int(said[3], 16))
    assert read([f"big\t{cell[:place]}{cell[place + 1 :]}"]) == [("big", "small")]


def test_a_space_takes_the_place_of_one_that_is_none(read):
    said = refused(lambda: read(["big\tvery\u00a0small"]))
    place = int(re.search(r"sign number (\d+): .* put a plain space where it stands for one", said)[1]) - 1
    cell = "very\u00a0small"
    assert read([f"big\t{cell[:place]} {cell[place + 1 :]}"]) == [("big", "very small")]


def test_quotes_of_a_spreadsheet_are_removed(read):
    said = re.search(
        r"double quote at its edge: '(.*)'\. .* Remove them", refused(lambda: read(['big\t"small, really"']))
    )
    assert read([f"big\t{said[1].strip(chr(34))}"]) == [("big", "small, really")]


def test_a_list_of_the_needed_length_or_fewer_shots_are_enough():
    said = refused(lambda: require_enough(ANTONYM, PAIRS[:7], 5))
    needs = int(re.search(r"need at least (\d+) .* Lower function_vectors.shots or use a longer list", said)[1])
    require_enough(ANTONYM, PAIRS[:needs], 5)
    require_enough(ANTONYM, PAIRS[:7], 4)


def built(pairs, **changed):
    return build_prompts(pairs, SETTINGS | changed, letters, False)


def letters(text: str) -> list[int]:
    return [ord(sign) for sign in text]


def test_fewer_shots_are_advised_only_where_they_help():
    said = refused(lambda: built(PAIRS[:20], shots=20))
    has = int(re.search(r"the word list leaves (\d+)\. Lower function_vectors\.shots or use a longer list", said)[1])
    built(PAIRS[:20], shots=has)
    built(PAIRS, shots=20)
    said = refused(lambda: built(PAIRS[:3]))
    needs = int(re.search(r"need (\d+), the word list leaves 3\. Use a longer list\.$", said)[1])
    assert needs == 4 and refused(lambda: built(PAIRS[:3], shots=1))
    built(PAIRS[:needs], shots=1)


def merging(text: str) -> list[int]:
    """A tokenizer that merges the prompt's colon with one answer."""
    return letters(text.replace("A: out7", "\x01"))


@pytest.mark.parametrize("build", [build_prompts, build_task_vector_prompts])
def test_a_pair_that_shares_a_token_with_its_prompt_is_removed(build):
    if build is build_prompts:
        run = partial(
            build_prompts, settings=SETTINGS | {"test_items": 20, "trials": 40}, encode=merging, adds_bos=False
        )
    else:

        def encode(text):
            return letters(text.replace("->out7", "\x01"))

        counts = {"test_items": 40, "dev_items": 40, "baseline_items": 40}
        run = partial(
            build_task_vector_prompts,
            settings=SETTINGS | counts,
            match="prefix",
            encode=encode,
            encode_bare=letters,
        )
    said = refused(lambda: run(PAIRS))
    answer, word = re.search(r"the answer '\s?(\w+)' to '(\w+)'.*Remove this pair from the word list", said).groups()
    assert (word, answer) in PAIRS
    assert len(run([pair for pair in PAIRS if pair != (word, answer)]))


def test_answers_that_differ_in_their_first_token_are_enough():
    said = refused(lambda: spread([5, 5, 5], "task", str))
    token = int(re.search(r"\(id (\d+)\).* Use answers that differ in their first token", said)[1])
    assert spread([token, token + 1, token], "task", str)["distinct"] == 2


def test_the_checkout_s_resources_are_set(tmp_path):
    program = "from offcourse.data.registry import Registry; print(len(Registry.load(locked=False).models))"

    def run(folder):
        environment = os.environ | {"OFFCOURSE_RESOURCES": str(folder)}
        return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)

    said = run(tmp_path / "nothing").stderr
    assert re.search(
        r"there is no \S+\. Install the project .* or set OFFCOURSE_RESOURCES to the checkout's resources", said
    )
    assert int(run(RESOURCES).stdout) > 30
