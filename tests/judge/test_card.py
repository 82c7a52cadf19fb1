"""The card: words for every number, the page in a browser, and a card of results that were computed here."""

import json
from pathlib import Path

import pytest
from browser import needs_chromium, visit
from judging import judged_here

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.judge import card as cards
from offcourse.judge import page
from offcourse.judge.asked import Asked, asked
from offcourse.judge.run import run
from offcourse.steering import steering
from offcourse.study.config import load_study

ROW = {
    "model": "tiny-llama",
    "method": "CAA",
    "task": "present-past",
    "items": 40,
    "strength": 4.0,
    "layer": 2,
    "layers": 4,
    "unsteered": 0.1,
    "steered": 0.6,
    "few_shot": 0.7,
    "prompting": 0.4,
    "control": 0.12,
    **{
        f"{name}{end}": value + shift
        for name, value in {"gain": 0.5, "over_luck": 0.48, "over_prompting": 0.2, "perplexity_ratio": 1.2}.items()
        for end, shift in {"": 0, "_low": -0.1, "_high": 0.1}.items()
    },
    "elsewhere": None,
    "elsewhere_low": None,
    "elsewhere_high": None,
    "p_luck": 0.0001,
    "p_prompting": 0.02,
    "p_luck_holm": 0.0002,
    "p_prompting_holm": 0.02,
    "divergence": 0.31,
    "broken": 0.25,
    "broken_elsewhere": None,
    "draws": 3,
    "spread": 0.1,
    "cosine": 0.9,
    "flips": 0.05,
    "precision": "",
    "verdict": "works but harms",
}
ASKED = {
    "model": "tiny-llama",
    "method": "CAA",
    "on": "misconceptions",
    "unit": "question set",
    "measure": "MC1",
    "items": 40,
    "setting": "strength 4 at layer 2 (70% of the choices)",
    "unsteered": 0.2,
    "steered": 0.5,
    "few_shot": None,
    "prompting": 0.3,
    "control": None,
    **{
        f"{name}{end}": value + shift
        for name, value in {"gain": 0.3, "over_luck": 0.3, "over_prompting": 0.2}.items()
        for end, shift in {"": 0, "_low": -0.1, "_high": 0.1}.items()
    },
    "p_luck": 0.0001,
    "p_prompting": 0.01,
    "p_luck_holm": 0.0001,
    "p_prompting_holm": 0.01,
    "verdict": "cannot be told: better than luck and prompting, but harm is not measured",
    "metrics": {
        f"{metric} {what}": {"value": value, "low": value - 0.1, "high": value + 0.1}
        for metric in ("MC1", "MC2")
        for what, value in {"unsteered": 0.2, "steered": 0.25, "change": 0.05}.items()
    },
}
CARD = {
    "judged": {
        "method": "caa",
        "label": "CAA",
        "source": "Rimsky et al. 2024",
        "edits": {"site": "residual", "operation": "add", "positions": "last", "together": False},
        "file": None,
    },
    "pairs": [ROW, ROW | {"task": "country-capital", "verdict": "works", "draws": 1, "spread": None, "cosine": None}],
    "baseline": [ROW | {"method": "Prompting"}],
    "benefits": [ASKED],
    "seconds": 12.3,
    "provenance": {
        "git": {"commit": None, "dirty": None},
        "python": "3.11",
        "packages": {"offcourse": "1", "torch": "2", "transformers": "3"},
        "study": "judge-caa-0",
        "study_file": "results/judged/judge-caa-0/study.yaml",
        "configuration": {},
        "models": {"tiny-llama": {"identity": "owner/name@c0ffee", "weights": "2" * 64, "sha256": {}}},
        "table": "results/judge-caa-0/tables/verdicts.parquet",
        "results": {"results/judge-caa-0/tiny-llama/icl/present-past.parquet": {"key": "0" * 64, "sha256": "1" * 64}},
        "seconds_of_steps": 100.0,
        "audit": {"files": 9, "wrong": [], "command": "offcourse audit verdicts"},
    },
}


def test_a_card_says_every_number_in_words():
    text = "\n".join(cards.lines(CARD))
    for words in (
        "CAA (Rimsky et al. 2024): add, residual stream, the last token of the prompt, each layer alone",
        "tiny-llama, present-past: WORKS BUT HARMS",
        "0.10 without, 0.60 with, 40 items, held out",
        "+0.50 [+0.40, +0.60]",
        "p below 0.001, +0.48 [+0.38, +0.58] over luck, controls 0.12",
        "0.40 (few-shot 0.70), +0.20 [+0.10, +0.30] over it",
        "perplexity times 1.20 [1.10, 1.30], divergence 0.31 nats, other tasks not measured, one task; right answers "
        "that break: 25 % on this task, none to break on others",
        "3 draws: accuracy spreads by 0.10, cosine 0.90, answers flip on 5 %",
        "strength 4, layer 2 (4 swept)",
        "tiny-llama, misconceptions: CANNOT BE TOLD: BETTER THAN LUCK AND PROMPTING, BUT HARM IS NOT MEASURED",
        "0.20 without, 0.50 with, 40 questions, held out",
        "0.30, +0.20 [+0.10, +0.30] over it",
        "MC2         0.20 without, 0.25 with, +0.05 [-0.05, +0.15]",
        "harm        not measured on question sets",
        "strength 4 at layer 2 (70% of the choices)",
    ):
        assert words in text
    assert "one set of vectors; nothing was drawn again" in text and "bfloat16" not in text


@pytest.mark.parametrize(
    ("what", "layers", "how"),
    [
        ({}, None, "residual stream, the last token of the prompt, each layer alone"),
        ({"together": True}, [1, 2], "all layers together"),
        ({"together": None}, None, "sets of layers"),
        ({}, [7], "layer 7"),
        ({"site": "logits", "positions": "answer"}, None, "logits, every token that predicts the answer, behind the"),
        ({"site": "logits", "positions": "answer"}, [0], "logits, every token that predicts the answer, behind the"),
        ({"site": "prompt"}, None, "a text in front of the prompt"),
        ({"site": "logits", "operation": "contrast"}, None, "the final layer against an earlier one"),
    ],
)
def test_a_card_says_which_layers_are_edited(what, layers, how):
    judged = CARD["judged"]
    file = layers and {"layers": layers}
    assert how in cards.edits(judged | {"edits": judged["edits"] | what, "file": file})


def test_a_method_with_layer_sets_of_its_own_edits_sets_of_layers(monkeypatch):
    method = steering("caa")
    study = load_study(
        {"study": "one", "models": ["tiny-llama"], "methods": ["caa"], "caa": {"questions": ["misconceptions"]}}
    )
    wanted = Asked("caa", ["tiny-llama"], [], questions=["misconceptions"])
    assert cards.judged(wanted, study, Path())["edits"]["together"] is False
    monkeypatch.setattr(type(method), "layer_sets", lambda self, layers: [(0, 1), (2, 3)], raising=False)
    assert cards.judged(wanted, study, Path())["edits"]["together"] is None


def test_a_card_of_a_study_with_precisions_says_what_each_gives():
    row = ROW | {"precision": "float32", "float32": 0.6, "bfloat16": 0.55, "float16": None}
    said = dict(cards.facts(row | {"precision_cosine": 0.99912, "precision_flips": 0.1}))
    assert said["precision"] == "float32 0.60, bfloat16 0.55; cosine 0.9991, answers flip on 10 %"


LAYOUT = """({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  out: [...document.querySelectorAll('body *')].filter((each) => !each.closest('.wide, .skip')
    && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((each) => each.outerHTML),
  verdicts: [...document.querySelectorAll('#verdicts tbody .verdict')].map((each) => each.textContent),
})"""


@needs_chromium
@pytest.mark.parametrize("width", [360, 1400])
def test_the_page_fits_a_phone_and_a_screen(tmp_path, width):
    page.write(CARD, tmp_path / "card.html")
    found, errors = visit(tmp_path / "card.html", LAYOUT, width, tmp_path)
    assert errors == []
    assert found == {"overflow": 0, "out": [], "verdicts": ["works but harms", "works", ASKED["verdict"]]}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """(what was asked, the study's file, the folder) of a judgement whose jobs ran in this process, in turn."""
    folder = tmp_path_factory.mktemp("judged")
    wanted = asked("mean_difference", ["tiny-llama"], [], {}, Registry.load(), 4, 2, [1.0])
    _, _, path = judged_here(wanted, folder)
    return wanted, path, folder


def test_a_card_has_the_rows_of_the_table_and_the_key_of_every_result(judged):
    wanted, path, folder = judged
    card = cards.card(wanted, path, folder, 1.0)
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert [(row["model"], row["task"]) for row in card["pairs"]] == [
        ("tiny-llama", "present-past"),
        ("tiny-llama", "country-capital"),
    ]
    assert {row["method"] for row in card["baseline"]} == {"Prompting"}
    provenance = card["provenance"]
    steps = {name.split("/")[-2] for name in provenance["results"]}
    parts = {"mean_difference", *(f"mean_difference_{part}" for part in ("sweep", "side_effects", "draws", "controls"))}
    assert steps == parts | {"prompts", "icl", "prompting_sweep", "prompting_side_effects"}
    # The table was made without Snakemake, so it alone has no record.
    wrong = {finding["path"] for finding in provenance["audit"]["wrong"]}
    assert all("/tables/verdicts" in name or name.endswith(("model.json", "manifest.json")) for name in wrong), wrong
    page.write(card, folder / "card.html")
    text = (folder / "card.html").read_text()
    assert all(row["verdict"] in text for row in card["pairs"]) and provenance["study_file"] in text


def test_a_result_that_was_changed_is_on_the_card(judged):
    wanted, path, folder = judged
    [sweep] = folder.glob("results/*/tiny-llama/mean_difference_sweep/present-past.parquet")
    before = sweep.read_bytes()
    sweep.write_bytes(before + b" ")
    try:
        wrong = cards.card(wanted, path, folder, 1.0)["provenance"]["audit"]["wrong"]
    finally:
        sweep.write_bytes(before)
    assert any(finding["path"].endswith("mean_difference_sweep/present-past.parquet") for finding in wrong)


def test_a_run_that_fails_says_where_its_study_is(tmp_path, capfd):
    (tmp_path / "study.yaml").write_text("study: x\n")
    with pytest.raises(OffcourseError, match="did not finish; what stopped it stands above. Its file is .*study.yaml"):
        run(tmp_path / "study.yaml", tmp_path, [Path("results/x/tables/verdicts.parquet")], "1")
    assert "the key models is missing" in capfd.readouterr().err
