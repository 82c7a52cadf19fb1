"""A machine with GPUs and without Slurm: jobs get cards of their own. The driver's program is pretended."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from forking import python
from lab import CHECKOUT, SMOKE, Lab
from pretended_driver import pretend

from offcourse.data.names import RESOURCES
from offcourse.run.cards import VISIBLE, WITHOUT_CARD


@pytest.fixture
def workstation(tmp_path, monkeypatch):
    """The smoke study with two models: `workstation(MiB of a card, ...)` is its lab on a machine with such cards."""
    resources = tmp_path / "resources"
    shutil.copytree(RESOURCES, resources, ignore=shutil.ignore_patterns("downloads"))
    table = resources / "models.tsv"
    [row] = [line for line in table.read_text().splitlines() if line.startswith("tiny-llama\t")]
    table.write_text(table.read_text() + row.replace("tiny-llama", "tiny-other").replace("Tiny", "Other") + "\n")
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"models": ["tiny-llama", "tiny-other"]}))
    monkeypatch.setenv("OFFCOURSE_RESOURCES", str(resources))
    monkeypatch.setenv(WITHOUT_CARD, "allow")
    monkeypatch.delenv(VISIBLE, raising=False)

    def with_cards(*mebibytes: int) -> Lab:
        lines = [f"{number}, GPU-{number}, {memory}" for number, memory in enumerate(mebibytes)]
        pretend(tmp_path, monkeypatch, *lines)
        return Lab(tmp_path / "lab", study)

    return with_cards


CHECKED = [f"results/smoke/{model}/model.json" for model in ("tiny-llama", "tiny-other")]


def test_with_one_card_one_model_runs_after_the_other(workstation):
    lab = workstation(24564)
    done = lab.snakemake("--cores", "4", *CHECKED)
    assert done.returncode == 0, done.stderr
    made = [json.loads(path.read_text())["made"] for path in lab.results.glob("provenance/*/check_model.json")]
    (_, first_ended), (second_started, _) = sorted((each["started"], each["ended"]) for each in made)
    assert first_ended <= second_started
    for model in ("tiny-llama", "tiny-other"):
        assert "cards of this job: GPU-0\n" in (lab.results / "logs" / "check_model" / f"{model}.log").read_text()


def test_the_profile_asks_for_the_cards_that_the_plan_gives_each_step(workstation):
    lab = workstation(24564, 24564)
    words = ["--profile", "workstation", "--configfile", lab.configfile, "--directory", lab.folder, "--dry-run"]
    done = subprocess.run(
        [python(), "-m", "snakemake", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=lab.environment,
    )
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)", done.stdout + done.stderr, re.M)
    asked = {rule: int(found[1]) for rule, said in jobs if (found := re.search(r"cards=(\d+)", said))}
    assert asked.pop("function_vectors") == 0
    assert {"check_model", "icl", "cie", "dola"} < set(asked) and set(asked.values()) == {1}


def test_cards_that_are_too_small_are_one_message_with_every_model(workstation):
    lab = workstation(1500)
    done = lab.snakemake()
    assert done.returncode != 0 and "Traceback" not in done.stderr
    said = done.stderr[done.stderr.index("offcourse: ") :].splitlines()
    assert said[0] == "offcourse: the cards of this machine are too small for 2 of the 2 models that have to run:"
    assert [line.split(" GB of weights")[0] for line in said[1:3]] == [
        "  tiny-llama does not fit: 0",
        "  tiny-other does not fit: 0",
    ]
    assert said[1].endswith("on 1 card of 1.57 GB") and "`numerics: {offload: allow}`" in said[3]
    assert not (lab.folder / "results" / "smoke" / "tiny-llama").exists()
