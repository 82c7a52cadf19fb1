"""A study with controls of function vectors, through the whole graph: rule, records, figure and audit."""

import shutil

import pandas as pd
import pytest
import yaml
from lab import SMOKE, Lab

from offcourse.analysis.cells import recompute_point
from offcourse.analysis.off_by_one import SILENT
from offcourse.claims.sensitivity import ALIKE, NOT_DEFINED
from offcourse.schemas.function_vectors import FV_CONTROLS
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import OFF_BY_ONE

CONTROLS = ["random_direction", "other_task", "read_position"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, finished):
    """The finished smoke study after other controls; what both studies share is there already."""
    folder = tmp_path_factory.mktemp("controls") / "lab"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2, symlinks=True)
    study = yaml.safe_load(SMOKE.read_text())
    study["function_vectors"] |= {"controls": CONTROLS, "control_draws": 2}
    configfile = folder / "controls.yaml"
    configfile.write_text(yaml.safe_dump(study))
    lab = Lab(folder, configfile)
    done = lab.snakemake()
    assert done.returncode == 0, done.stderr
    return lab


def test_the_step_is_made_fresh_and_audited_with_the_vector_it_borrows(lab):
    for task in ("antonym", "present-past"):
        path = lab.results / "tiny-llama" / "fv_controls" / f"{task}.parquet"
        controls = read_parquet(path, FV_CONTROLS)
        draws = controls.groupby(["control", "draw"], sort=False).size()
        # Two numbers of heads, two strengths, five items, and the layers of the tiny model.
        assert list(draws.index) == [
            ("random_direction", 0),
            ("random_direction", 1),
            ("other_task", 0),
            ("read_position", 0),
            ("read_position", 1),
        ]
        assert set(draws) == {2 * 2 * 5 * controls["layer"].nunique()}
    assert lab.status() == (0, {})
    audited = lab.offcourse("audit", "--all")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    other = lab.results / "tiny-llama" / "function_vectors" / "present-past.safetensors"
    chain = lab.offcourse("audit", "figure17/tiny-llama_antonym", "--json").stdout
    assert other.relative_to(lab.folder).as_posix() in chain


def test_the_page_draws_them_and_a_point_leads_back(lab):
    numbers = pd.read_parquet(lab.results / "figures" / "figure17" / "tiny-llama_antonym.parquet")
    assert set(numbers["control"]) == {"", *CONTROLS}
    for point in numbers[numbers["layer"] == 1].to_dict("records"):
        assert recompute_point(lab.results, point, "accuracy") == point["accuracy"]
    row = "control=other_task n_heads=2 strength=4 layer=1"
    done = lab.offcourse("audit", "figure17/tiny-llama_antonym", "--row", row, "--column", "accuracy")
    assert done.returncode == 0 and "fv_controls/antonym.parquet" in done.stdout, done.stdout + done.stderr


def test_the_table_of_switches_has_recovery_at_both_read_positions(lab):
    frame = pd.read_parquet(lab.results / "tables" / "sensitivity.parquet")
    here = (frame["row"] == "tiny-llama") & (frame["switch"] == "head_read_position")
    rows = frame[here].to_dict("records")
    assert [row["change"] for row in rows] == ["as_coded → last", "as_coded → one_early"]
    # A random model says no answer. Its tokenizer adds a BOS, so as coded its heads are read one token early anyway.
    assert [row["note"] for row in rows] == [NOT_DEFINED, f"{NOT_DEFINED}; {ALIKE}"]


def test_the_table_of_both_tokens_is_there_and_the_figure_leads_back(lab):
    frame = read_parquet(lab.results / "tables" / "off_by_one.parquet", OFF_BY_ONE)
    assert set(frame["vector"]) == {"last", "one_early"} and set(frame["verdict"]) == {SILENT}
    row = "panel=runs task=antonym read=last"
    done = lab.offcourse("audit", "figure_off_by_one", "--row", row, "--column", "best")
    assert done.returncode == 0 and "fv_controls/antonym.parquet" in done.stdout, done.stdout + done.stderr
    html = (lab.results / "report.html").read_text(encoding="utf-8")
    assert "read one token early for 1 of 1 models" in html


def test_with_fewer_controls_only_what_shows_controls_reruns(lab):
    """The control that stays is swept again; pages, report and crate are made again, and no other step."""
    study = yaml.safe_load(lab.configfile.read_text())
    study["function_vectors"]["controls"] = ["read_position"]
    fewer = lab.folder / "fewer.yaml"
    fewer.write_text(yaml.safe_dump(study))
    rules = {rule for rule, _ in Lab(lab.folder, fewer).plan()}
    drawn = {"figure_sweep", "figure_recovery", "figure_off_by_one", "off_by_one"}
    assert rules == {"fv_controls", *drawn, "certainty", "sensitivity", "report", "ro_crate"}


def test_without_controls_they_are_stale_nowhere(lab):
    study = yaml.safe_load(lab.configfile.read_text())
    study["function_vectors"] |= {"controls": [], "build_draws": 1}
    plain = lab.folder / "plain.yaml"
    plain.write_text(yaml.safe_dump(study))
    assert not {rule for rule, _ in Lab(lab.folder, plain).plan()} & {"fv_controls", "off_by_one"}
