"""`offcourse judge` as a user starts it, through Snakemake, on a tiny random model: a task and a question set."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
from forking import python
from lab import CHECKOUT, Lab

from offcourse.analysis import verdicts
from offcourse.analysis.benefits import BENEFITS, verdict
from offcourse.judge import card as cards
from offcourse.layout import Layout
from offcourse.models.manifest import read_manifest
from offcourse.schemas.io import read_parquet

ASKED = ["mean_difference", "--model", "tiny-llama", "--tasks", "present-past", "--questions", "misconceptions"]
SIZES = ["--items", "6", "--passages", "2", "--strengths", "1", "--cores", "2"]


def offcourse(folder, *words) -> subprocess.CompletedProcess:
    command = [python(), "-m", "offcourse", *words, "--directory", str(folder)]
    return subprocess.run(command, cwd=CHECKOUT, env=Lab(folder).environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(working directory, what the command printed, its folder of the card, the card)."""
    base = tmp_path_factory.mktemp("judged run")
    done = offcourse(base, "judge", *ASKED, *SIZES)
    assert done.returncode == 0, done.stderr
    [folder] = (base / "results/judged").iterdir()
    return base, done.stdout, folder, json.loads((folder / "card.json").read_text())


def table(ran, name: str, schema) -> pd.DataFrame:
    base, _, folder, _ = ran
    return read_parquet(base / "results" / folder.name / f"tables/{name}.parquet", schema)


def test_the_card_is_printed_and_written_as_html_and_json(ran):
    _, printed, folder, card = ran
    assert printed.splitlines()[:-1] == list(cards.lines(card))
    assert str(folder / "card.html") in printed.splitlines()[-1]
    html = (folder / "card.html").read_text()
    assert "Difference in means (Zou et al. 2023), judged" in html and "misconceptions" in html


def test_verdicts_are_those_of_the_tables_and_follow_from_their_numbers(ran):
    """The rules are applied to the numbers of the tables once more, and each number on the card is in its table."""
    card = ran[3]
    for rows, name, schema, rule in (
        (card["pairs"], "verdicts", verdicts.VERDICTS, verdicts.verdict),
        (card["benefits"], "verdicts_questions", BENEFITS, verdict),
    ):
        own = table(ran, name, schema).query("method == 'Difference in means'")
        assert len(own) == len(rows) == 1
        [row], [mine] = own.to_dict("records"), rows
        assert mine["verdict"] == row["verdict"] == rule(row)
        for key, value in row.items():
            same = mine[key] is None if pd.isna(value) else mine[key] == value
            assert same, key
    [mine] = card["benefits"]
    base, _, folder, _ = ran
    cells = pd.read_parquet(base / "results" / folder.name / "tables/table_methods_questions.parquet")
    cells = cells[cells["row"] == "Difference in means, tiny-llama (misconceptions)"].set_index("column")
    assert set(mine["metrics"]) == set(cells.index) and {name.split()[0] for name in cells.index} == {
        "MC1",
        "MC2",
        "MC3",
    }
    for name, metric in mine["metrics"].items():
        np.testing.assert_equal(list(metric.values()), cells.loc[name, ["value", "ci_low", "ci_high"]].tolist())
    # Both tables hold the same number of the metric that decides, since both are held out.
    assert [mine[f"gain{end}"] for end in ("", "_low", "_high")] == list(mine["metrics"]["MC1 change"].values())


def test_provenance_names_the_model_the_commit_and_every_result(ran):
    base, _, folder, card = ran
    said = card["provenance"]
    manifest = read_manifest(Layout("", base).model_folder("tiny-llama"))
    assert said["models"] == {
        "tiny-llama": {"identity": "random Llama, seed 0", "weights": manifest["digest"], "sha256": manifest["files"]}
    }
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True)
    assert said["git"]["commit"] == (git.stdout.strip() if git.returncode == 0 else None)
    assert manifest["digest"] in (folder / "card.html").read_text()
    assert {path.split("/")[-2] for path in said["results"]} >= {
        "mean_difference_controls",
        "mean_difference_answers",
        "prompting_answers",
    }
    assert said["audit"]["wrong"] == [] and said["audit"]["files"] > 20


def test_a_second_run_computes_nothing(ran):
    base, _, folder, card = ran
    made = {path: path.stat().st_mtime_ns for path in (base / "results").rglob("*.parquet")}
    assert any("store" in path.parts for path in made)
    done = offcourse(base, "judge", *ASKED, *SIZES)
    assert done.returncode == 0 and "Nothing to be done" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (base / "results").rglob("*.parquet")} == made
    again = json.loads((folder / "card.json").read_text())
    assert again | {"seconds": 0} == card | {"seconds": 0}


@pytest.mark.parametrize(
    ("name", "row", "column"),
    [
        ("verdicts", "Difference in means, present-past", "gain"),
        ("verdicts_questions", "Difference in means, misconceptions", "gain"),
    ],
)
def test_the_audit_of_a_judged_cell_passes(ran, name, row, column):
    base, _, folder, card = ran
    where = ["--configfile", str(folder / "study.yaml")]
    done = offcourse(base, "audit", name, "--row", row, "--column", column, "--json", *where)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["agrees"] and found["value"] == found["recomputed"]
    key = "pairs" if name == "verdicts" else "benefits"
    assert found["value"] == card[key][0]["gain"]
