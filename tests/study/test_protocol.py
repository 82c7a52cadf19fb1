"""The switches of the protocol."""

from typing import get_args

import pytest
import yaml

from offcourse.study.config import load_study
from offcourse.study.protocol import Protocol

LEAST = {"study": "mine", "models": ["tiny-llama"], "tasks": ["antonym"]}
SWITCHES = [
    "head_read_position",
    "splits",
    "sampling",
    "cie_output_bias",
    "fv_output_bias",
    "default_heads",
    "tv_denominator",
    "tv_average",
    "tv_direction",
    "tv_score",
    "dola_divergence",
    "dola_premature_norm",
    "dola_mask",
    "score_dtype",
    "logits_dtype",
    "ties",
    "length_bias",
    "factor_shots",
    "selection",
]


def test_the_switches_are_the_fixed_ones_and_explained():
    assert list(Protocol.model_fields) == SWITCHES
    for field in Protocol.model_fields.values():
        for value in get_args(field.annotation)[:1]:
            assert field.description and value


def test_as_published_and_corrected_differ_in_every_switch_but_one():
    published, corrected = Protocol.parse("as_published").model_dump(), Protocol.parse("corrected").model_dump()
    same = [switch for switch in SWITCHES if published[switch] == corrected[switch]]
    assert same == ["factor_shots"] and published["factor_shots"] == "0"
    assert corrected["head_read_position"] == "last" and corrected["splits"] == "disjoint"
    assert corrected["sampling"] == "keyed" and corrected["cie_output_bias"] == "kept"
    assert corrected["fv_output_bias"] == "excluded" and corrected["default_heads"] == "single"


def test_a_mapping_sets_single_switches():
    assert Protocol.parse({}) == Protocol.parse("as_published")
    protocol = Protocol.parse({"base": "corrected", "splits": "overlapping", "factor_shots": 6})
    changed = {k for k, v in protocol if v != getattr(Protocol.parse("corrected"), k)}
    assert changed == {"splits", "factor_shots"} and protocol.factor_shots == "6"
    assert load_study({**LEAST, **yaml.safe_load("protocol: {sampling: keyed}")}).protocol.sampling == "keyed"


def test_a_protocol_cannot_change():
    with pytest.raises(ValueError, match="frozen"):
        Protocol.parse("corrected").splits = "overlapping"
