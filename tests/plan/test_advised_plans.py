"""What a message of `offcourse plan` advises is typed, as read from the message, and the plan is then made."""

import re

import pytest
import yaml
from lab import SMOKE

from offcourse.cli import main
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.plan.forecast import forecast
from offcourse.plan.rates import A100, rates_path
from offcourse.study.config import load_study

PAPER = yaml.safe_load((SMOKE.parent / "paper.yaml").read_text())
BIG = "llama-2-70b"


def planned(tmp_path, cards=None, **settings) -> None:
    study = load_study({**PAPER, "models": ["gpt-j-6b", BIG], **settings})
    forecast(study, Registry.load(locked=False), Layout(study.study, tmp_path), A100, cards)


def refused(plan) -> str:
    with pytest.raises(OffcourseError) as caught:
        plan()
    return str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x"}', None])
def test_rates_that_cannot_be_read_are_named_again(tmp_path, monkeypatch, capsys, content):
    path = rates_path(tmp_path)
    path.parent.mkdir()

    def run(*words) -> tuple[int | None, str, str]:
        here = ["plan", "--configfile", SMOKE, "--directory", tmp_path]
        monkeypatch.setattr("sys.argv", ["offcourse", *map(str, (*here, *words))])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    if content is not None:
        path.write_text(content)
    code, _, said = run("--rates", path)
    assert code == 2
    option, value = re.search(r"with --calibrate instead of --rates, .* or with (--rates) (\w+)\.", said).groups()
    code, out, _ = run(option, value)
    assert code in (0, None) and "Rates: A100" in out


def test_as_many_cards_as_a_message_says_are_enough(tmp_path):
    said = refused(lambda: planned(tmp_path, cards=1, resources={"gpu_memory": 40}))
    planned(
        tmp_path, int(re.search(r"takes (\d+) cards\. Give at least so many", said)[1]), resources={"gpu_memory": 40}
    )


def test_each_way_out_of_a_model_that_fits_no_node_works(tmp_path):
    small = {"gpu_memory": 24, "gpus_per_node": 2}
    said = refused(lambda: planned(tmp_path, resources=small))
    model, keys = re.search(r"^(\S+) does not fit: .* \((.*)\)\. Leave the model out", said).groups()
    assert model == BIG
    planned(tmp_path, models=["gpt-j-6b"], resources=small)
    for key in keys.split(", "):
        planned(tmp_path, resources=small | {key.removeprefix("resources."): 32 if "node" in key else 160})
