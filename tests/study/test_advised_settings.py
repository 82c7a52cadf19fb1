"""What a message about a configuration advises is done literally, as read from the message, and then accepted."""

import copy
import re
from functools import cache

import pytest

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.plan.compute_site import SITE, site_of
from offcourse.study.check import check_study
from offcourse.study.config import Study, load_study, read_study

LEAST = {"study": "mine", "models": ["tiny-llama"], "tasks": ["antonym"]}
STEERED = {**LEAST, "tasks": ["antonym", "present-past"], "methods": ["function_vectors", "caa"]}
BIG = "llama-2-70b"
OUT = object()
# The protocol has a test of its own: its mapping is one of switches.
SECTIONS = {
    name: field.annotation
    for name, field in Study.model_fields.items()
    if hasattr(field.annotation, "model_fields") and name != "protocol"
}
KEYS = [(name,) for name in Study.model_fields] + [
    (section, key) for section, kind in SECTIONS.items() for key in kind.model_fields
]


@cache
def registry() -> Registry:
    return Registry.load(locked=False)


def checked(mapping: dict) -> Study:
    study = load_study(mapping)
    check_study(study, registry())
    return study


def sited(mapping: dict) -> None:
    site_of(load_study(mapping))


def refused(mapping: dict, read=checked) -> str:
    with pytest.raises(OffcourseError) as caught:
        read(mapping)
    return str(caught.value)


def put(mapping: dict, key: str, value) -> dict:
    """A copy of a configuration with the value of a key such as function_vectors.shots; `OUT` leaves the key out."""
    changed = copy.deepcopy(mapping)
    *sections, last = key.split(".")
    place = changed
    for section in sections:
        place = place.setdefault(section, {})
    if value is OUT:
        del place[last]
    else:
        place[last] = value
    return changed


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_the_key_that_is_suggested_is_the_one_that_was_meant(path):
    """Two letters of the last name are exchanged."""
    section, name = path[:-1], path[-1]
    middle = len(name) // 2
    wrong = name[: middle - 1] + name[middle] + name[middle - 1] + name[middle + 1 :]
    wrong = name + "s" if wrong == name else wrong
    value = load_study(LEAST).model_dump(mode="json")
    for part in path:
        value = value[part]
    said = refused(put(LEAST, ".".join((*section, wrong)), value), load_study)
    offered = re.search(r"unknown key \S+; (?:did you mean (.*)\?|known: (.*))$", said, re.M)
    names = re.findall(r"[\w.]+", (offered[1] or offered[2]).replace(" or ", " "))
    assert ".".join(path) in names, said
    load_study(put(LEAST, ".".join(path), value))


def accepted(said: str):
    """A value that fits what a message says of one: `expected ..., got`."""
    expected = re.search(r"expected (.*), got ", said)[1]
    if listed := re.search(r"one of ([\w., -]+)", expected):
        return listed[1].split(", ")[0]
    if number := re.search(r"a (whole )?number (?:from|above) (\d+)", expected):
        return int(number[2]) + 1 if number[1] else float(number[2]) + 0.5
    if "null" in expected:
        return "null"
    return None


# A section in a section has no value of its own.
VALUES = [".".join(path) for path in KEYS if len(path) == 2 and path[-1] != "large"]


@pytest.mark.parametrize("key", ["study", *VALUES])
def test_a_value_of_the_kind_that_a_message_expects_is_accepted(key):
    said = refused(put(LEAST, key, {"no": "such"}), load_study)
    assert said.startswith(f"config: {key}"), said
    value = accepted(said)
    if value == "null":
        assert load_study(put(LEAST, key, OUT) if key in LEAST else LEAST)
    elif value is not None:
        load_study(put(LEAST, key, value))


def test_most_messages_about_a_value_name_one():
    named = [key for key in VALUES if accepted(refused(put(LEAST, key, {"no": "such"}), load_study)) is not None]
    assert len(named) > len(VALUES) / 2


def controls(names: list[str], **more) -> dict:
    return {**LEAST, "tasks": ["antonym", "present-past"], "function_vectors": {"controls": names, **more}}


def test_each_way_out_of_a_control_without_its_draws_works():
    wrong = controls(["rebuilt"])
    key, least, name = re.search(r"Set (\S+) to (\d+) or more, or leave (\w+) out", refused(wrong)).groups()
    checked(put(wrong, key, int(least)))
    checked(put(wrong, "function_vectors.controls", [each for each in ["rebuilt"] if each != name]))


def test_each_way_out_of_draws_that_nothing_reads_works():
    wrong = controls([], build_draws=2)
    names, key, left = re.search(r"Add one of (.*) to (\S+), or leave (\w+) out", refused(wrong)).groups()
    for name in names.split(", "):
        checked(put(wrong, key, [name]))
    checked(put(wrong, f"function_vectors.{left}", OUT))


def test_each_way_out_of_a_second_task_that_is_not_there_works():
    wrong = put(controls(["other_task"]), "tasks", ["antonym"])
    assert "Add a task, or leave other_task out" in refused(wrong)
    checked(put(wrong, "tasks", ["antonym", "present-past"]))
    checked(put(wrong, "function_vectors.controls", []))


def test_each_way_out_of_a_steering_method_without_its_baselines_works():
    wrong = put(STEERED, "methods", ["caa"])
    method, key = re.search(r"; add (\w+) to (\w+)\.", refused(wrong)).groups()
    checked(put(wrong, key, [*wrong[key], method]))
    wrong = put(STEERED, "function_vectors", {"tasks": ["antonym"]})
    missing, key, own = re.search(
        r": ([\w-]+) is not among ([\w.]+), .* Add it there, or leave it out of ([\w.]+)\.", refused(wrong)
    ).groups()
    checked(put(wrong, key, ["antonym", missing]))
    checked(put(wrong, own, [task for task in wrong["tasks"] if task != missing]))


@pytest.mark.parametrize("key", ["n_heads", "large.n_heads"])
def test_a_grid_gets_the_smaller_number_where_the_message_says(key):
    """A large model has a grid of its own, which the message has to name."""
    wrong = put({**LEAST, "models": ["tiny-llama", BIG]}, f"function_vectors.{key}", [60_000])
    wrong = put(wrong, "function_vectors.large.strengths", [1.0]) if "large" in key else wrong
    named, model, heads = re.search(
        r"^(\S+): (\S+) has (\d+) heads .* Add a smaller number", message := refused(wrong, heads_of)
    ).groups()
    assert named == f"function_vectors.{key}" and "or leave the model out" in message
    heads_of(put(wrong, named, [int(heads), 60_000]))
    left = [each for each in wrong["models"] if each != model]
    if key != "n_heads":
        heads_of(put(wrong, "models", left))


def heads_of(mapping: dict) -> None:
    """Only the check of the heads, since the large model is not pinned here."""
    study = load_study(mapping)
    for name in study.models:
        model = registry().model(name)
        study.sized(model.parameters).check_heads(name, model.layers, model.heads)


@pytest.mark.parametrize(("key", "wrong"), [("dola", "misconceptions-mc"), ("logit_lens", "passages")])
def test_every_question_set_that_a_message_offers_has_the_form(key, wrong):
    mapping = {**LEAST, "methods": [key], key: {"questions": [wrong]}}
    offered = re.search(r"does not have the form that is needed; use (.*)$", refused(mapping))[1].split(", ")
    assert offered
    for name in offered:
        if not (row := registry().question_set(name)).file.startswith("hub:"):
            checked(put(mapping, f"{key}.questions", [row.name]))


def test_a_task_without_a_released_list_is_left_out_or_read_from_ours():
    name = next(task.name for task in registry().tasks.values() if not task.releases["function_vectors"])
    wrong = {**LEAST, "tasks": ["antonym", name], "data": "release"}
    key, value = re.search(r"use (\w+): (\w+), or leave the task out", refused(wrong)).groups()
    checked(put(wrong, key, value))
    checked(put(wrong, "tasks", ["antonym"]))


@pytest.mark.parametrize("key", SITE)
def test_a_number_of_the_site_is_suggested_and_taken(key):
    wrong = {**LEAST, "resources": {f"{key}s": SITE[key]}}
    suggested = re.search(r"did you mean '(\w+)'\?", refused(wrong, sited))[1]
    assert suggested == key
    sited({**LEAST, "resources": {suggested: SITE[key]}})
    least = float(re.search(r"from (\S+) up", refused({**LEAST, "resources": {key: -1}}, sited))[1])
    sited({**LEAST, "resources": {key: least}})


def test_either_of_two_equal_keys_may_be_kept(tmp_path):
    lines = ["study: mine", "models: [tiny-llama]", "tasks: [antonym]", "study: other"]
    path = tmp_path / "study.yaml"
    path.write_text("\n".join(lines))
    said = refused(path, read_study)
    for number in map(int, re.search(r"in lines (\d+) and (\d+); keep one", said).groups()):
        path.write_text("\n".join(line for place, line in enumerate(lines, 1) if place != number))
        read_study(path)
    path.write_bytes("study: mine\nmodels: [tiny-llama]\ntasks: [antonym] # größer".encode("latin-1"))
    assert "save it as UTF-8" in refused(path, read_study)
    path.write_text(path.read_bytes().decode("latin-1"), encoding="utf-8")
    read_study(path)


def test_a_switch_of_the_protocol_is_suggested_with_its_values():
    suggested = re.search(r"did you mean '(\w+)'", refused({**LEAST, "protocol": {"selections": "halves"}}))[1]
    said = refused({**LEAST, "protocol": {suggested: "half"}})
    for value in re.search(rf"switch {suggested} is (.*), not", said)[1].split(" or "):
        checked({**LEAST, "protocol": {suggested: value}})
