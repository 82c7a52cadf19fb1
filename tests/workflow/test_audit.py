"""Audit of the smoke study: every number is computed again from its sources, every changed byte is found."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from lab import SMOKE, Lab

from offcourse.analysis.cells import plotted, recompute, recompute_point
from offcourse.audit.audit import Audit
from offcourse.audit.lineage import same
from offcourse.cli import main
from offcourse.data.registry import Registry
from offcourse.layout import Layout
from offcourse.models.manifest import changes, note, read_manifest
from offcourse.provenance.records import write_record
from offcourse.published.pages import recorded
from offcourse.study.config import read_study


def audit_of(lab: Lab) -> Audit:
    study = read_study(SMOKE)
    return Audit(study, Registry.load(), Layout(study.study, lab.folder))


def wrong(lab: Lab, *what: str) -> dict[str, str]:
    """State by file of what an audit finds wrong, relative to the lab; the command's exit code must agree."""
    done = lab.offcourse("audit", *what, "--json")
    document = json.loads(done.stdout)
    found = {file["path"]: file["state"] for file in document["files"] if file["state"] != "intact"}
    assert (done.returncode, document["intact"]) == ((1, False) if found else (0, True))
    return found


def rows(folder: Path, names: str = "*.parquet") -> Iterator[tuple[str, dict]]:
    for path in sorted(folder.rglob(names)):
        for row in pd.read_parquet(path).to_dict("records"):
            yield path.relative_to(folder).as_posix(), row


def test_everything_is_intact_after_a_run(finished):
    assert wrong(finished, "--all") == {}


def test_every_cell_of_every_table_is_what_its_sources_give(finished):
    seen = set()
    for path, cell in rows(finished.results / "tables", "table*.parquet"):
        again = recompute(finished.results, cell)
        assert same(cell.get("text", cell["value"]), again), (path, cell["row"], cell["column"], cell["value"], again)
        assert cell["value"] != cell["value"] or json.loads(cell["sources"])
        seen.add(path)
    assert {"table1.parquet", "table2.parquet", "table3.parquet", "table4.parquet", "table10.parquet"} <= seen


def test_every_plotted_number_is_what_its_sources_give(finished):
    columns = set()
    for path, point in rows(finished.results / "figures"):
        for column in plotted(point):
            again = recompute_point(finished.results, point, column)
            assert same(point[column], again), (path, column, point, again)
            columns.add((path.split("/")[0].removesuffix(".parquet"), column))
    # Figure 5 is empty: a model of random weights has no few-shot accuracy to recover (tests/present has its points).
    assert columns == {
        *((figure, column) for figure in ("figure17", "figure18") for column in ("accuracy", "zero_shot", "few_shot")),
        *((figure, column) for figure in ("figure13", "figure14", "figure15") for column in ("value", "peak_recovery")),
        ("figure_off_by_one", "best"),
        ("figure1", "mean"),
        ("figure3", "recovery"),
        ("figure9", "effect"),
        ("figure11", "accuracy"),
        ("figure2", "mean"),
        ("figure8", "mean"),
        ("figure8", "scaled"),
    }


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


TAMPERED = {
    "shard": "results/store/*/*.parquet",
    "note of a shard": "results/store/*/*.json",
    "result": "results/smoke/tiny-llama/fv_sweep/antonym.parquet",
    "vector": "results/smoke/tiny-llama/function_vectors/antonym.safetensors",
    "table as CSV": "results/smoke/tables/table3.csv",
    "cells of a table": "results/smoke/tables/table1.parquet",
    "picture": "results/smoke/figures/figure11.png",
    "facts of a model": "results/smoke/tiny-llama/model.json",
    "weights": "resources/downloads/models/tiny-llama/model.safetensors",
    "tokenizer": "resources/downloads/models/tiny-llama/tokenizer.json",
    "manifest of a model": "resources/downloads/models/tiny-llama/manifest.json",
    "record of a result": "results/smoke/provenance/tiny-llama/icl/antonym.json",
    "record of a table": "results/smoke/provenance/table3.json",
    "report": "results/smoke/report.html",
}


@pytest.mark.parametrize("what", TAMPERED)
def test_one_changed_byte_is_found_and_named(lab, what):
    path = sorted(lab.folder.glob(TAMPERED[what]))[0]
    flip(path)
    name = path.relative_to(lab.folder).as_posix()
    if what == "note of a shard":
        name = next(iter(path.parent.glob(f"{path.stem}.[ps]*"))).relative_to(lab.folder).as_posix()
    found = {finding.path: finding.state for finding in audit_of(lab).everything()}
    assert found[name] == "tampered"
    # Nothing else was written to; what was made from the file may be stale.
    assert {file for file, state in found.items() if state == "tampered"} == {name}


def test_an_audit_of_a_cell_hashes_the_weights_whatever_was_noted_of_them(lab):
    """Also those whose size, times and inode are the ones of the last hashing, which a run takes for unchanged."""
    folder = Layout("smoke", lab.folder).model_folder("tiny-llama")
    flip(folder / "model.safetensors")
    files = read_manifest(folder)["files"]
    note(folder, files, files)
    assert changes(folder) == {}
    cells = pd.read_parquet(lab.results / "tables" / "table3.parquet")
    done = lab.offcourse("audit", "table3", "--row", cells["row"][0], "--column", cells["column"][0], "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["agrees"] and not found["intact"]
    path = (folder / "model.safetensors").relative_to(lab.folder).as_posix()
    assert found["wrong"] == [{"path": path, "state": "tampered", "why": "not what was prepared"}]


def test_what_was_made_on_demand_is_audited_too(lab):
    """Files that a run does not make (`comparison`, `side_by_side`) are no strangers to the study."""
    layout = Layout("smoke", lab.folder)
    picture, read = lab.results / "figures/side_by_side/figure3.svg", lab.results / "tables/table3.parquet"
    picture.parent.mkdir()
    recorded("side_by_side", layout, [str(read)], [picture], lambda: picture.write_text("<svg/>"))
    assert wrong(lab, "--all") == {}
    picture.write_text("<svg />")
    assert wrong(lab, "--all") == {"results/smoke/figures/side_by_side/figure3.svg": "tampered"}


def test_the_command_names_the_changed_file_and_exits_with_1(lab):
    flip(lab.results / "tables" / "table3.csv")
    done = lab.offcourse("audit", "table3")
    assert done.returncode == 1
    assert "tampered: results/smoke/tables/table3.csv: the file is not what its record says" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 tampered")
    assert wrong(lab, "figure11") == {}
    assert wrong(lab, "--all")["results/smoke/tables/table3.csv"] == "tampered"


def test_the_chain_of_a_cell_goes_down_to_model_data_and_items(finished):
    done = finished.offcourse("audit", "table3", "--row", "FV search", "--column", "0.90", "--json")
    assert done.returncode == 0, done.stderr
    chain = json.loads(done.stdout)
    assert chain["agrees"] and chain["intact"] and chain["value"] == chain["recomputed"]
    best = chain["sources"][0]
    assert set(best["where"]) == {"n_heads", "strength", "layer"}
    assert best["items"] == list(range(best["n"]))
    known = chain["artefacts"]["results/smoke/tiny-llama/fv_sweep/antonym.parquet"]
    assert (known["model"]["repo"], known["model"]["revision"]) == ("Llama", "0")
    assert {data["files"] for data in known["data"]} == {"resources/words/antonyms.tsv"}
    assert len(known["model"]["weights"]) == len(known["data"][0]["digest"]) == len(known["sha256"]) == 64
    text = finished.offcourse("audit", "table3", "--row", "FV search", "--column", "0.90").stdout
    assert "computed again from its sources: the same" in text
    assert "resources/words/antonyms.tsv" in text
    assert re.search(r"^Behind it (\d+) files: \1 intact$", text, re.M)


def test_the_chain_of_a_point(finished):
    point = ["--row", "task=antonym layer=2 head=1", "--column", "effect"]
    chain = json.loads(finished.offcourse("audit", "figure9/tiny-llama", *point, "--json").stdout)
    assert chain["agrees"] and chain["sources"][0]["where"] == {"layer": 2, "head": 1}
    assert chain["sources"][0]["items"] == [0, 1]


def test_a_cell_whose_artefact_changed_does_not_pass(lab):
    path = lab.results / "tiny-llama" / "fv_sweep" / "antonym.parquet"
    frame = pd.read_parquet(path)
    frame.assign(hit=~frame["hit"]).to_parquet(path)
    done = lab.offcourse("audit", "table3", "--row", "FV search (count)", "--column", "0.50")
    assert done.returncode == 1
    assert "tampered: results/smoke/tiny-llama/fv_sweep/antonym.parquet" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to audit"),
        (["tabel3"], "no 'tabel3': did you mean 'table3'?"),
        (["table3", "--row", "FV serch", "--column", "0.90"], "no row 'FV serch': did you mean 'FV search'?"),
        (["table3", "--row", "FV search", "--column", "0.91"], "no column '0.91': did you mean '0.90'?"),
        (
            ["table3", "--row", "FV search"],
            "say which number of table3, FV search: --column is one of 0.50, 0.75, 0.90",
        ),
        (
            ["figure9/tiny-llama", "--row", "layr=2"],
            "no column 'layr' to select by, as in task=antonym: did you mean 'layer'?",
        ),
        (["figure9/tiny-llama", "--row", "layer=2"], "points of figure9/tiny-llama are like that; say also task, head"),
        (["figure17", "--row", "layer=2"], "has pages, each with numbers of its own: figure17/tiny-llama_antonym"),
        (["--all", "--row", "FV search"], "--row and --column belong to one table or figure"),
    ],
)
def test_bad_input_is_one_message(finished, monkeypatch, capsys, words, said):
    where = ["--configfile", str(SMOKE), "--directory", str(finished.folder)]
    monkeypatch.setattr("sys.argv", ["offcourse", "audit", *words, *where])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert said in err and err.count("\n") == 1


def test_records_that_do_not_fit_the_files(lab):
    """Without its artefact, without its record, a stranger, and a record that an older version wrote."""
    (lab.results / "tiny-llama" / "icl" / "antonym.parquet").unlink()
    (lab.results / "provenance" / "figure_shots.json").unlink()
    (lab.results / "tables" / "table99.csv").write_text("a,b\n")
    older = lab.results / "provenance" / "table3.json"
    record = {key: value for key, value in json.loads(older.read_text()).items() if key != "digest"}
    write_record(older, {**record, "schema": 1})
    found = {finding.path: finding for finding in audit_of(lab).everything()}
    assert found["results/smoke/tiny-llama/icl/antonym.parquet"].state == "missing"
    assert found["results/smoke/figures/figure11.svg"].state == "unrecorded"
    assert "figure_shots.json is not there" in found["results/smoke/figures/figure11.svg"].why
    assert found["results/smoke/tables/table99.csv"].state == "unrecorded"
    assert found["results/smoke/provenance/table3.json"].state == "stale"
    assert "a record of schema 1, this version writes schema 3" in found["results/smoke/provenance/table3.json"].why
    record = lab.results / "provenance" / "tiny-llama" / "figure_cie.json"
    for path in (lab.results / "figures" / "figure9").iterdir():
        path.unlink()
    found = {finding.path: finding for finding in audit_of(lab).everything()}
    assert "none of the files that this record is about" in found[record.relative_to(lab.folder).as_posix()].why


def test_a_study_that_never_ran(tmp_path):
    done = Lab(tmp_path).offcourse("audit", "table3")
    assert done.returncode == 1
    assert "missing: results/smoke/tables/table3.parquet: it was not made yet, or is gone" in done.stdout


def test_the_report_says_how_to_audit_what_it_shows_and_that_it_was_intact(finished):
    html = (finished.results / "report.html").read_text(encoding="utf-8")
    audit = audit_of(finished)
    for name in ("table1", "table3", "figure2", "figure8", "figure9", "figure11", "figure17", "figure18"):
        code = audit.fingerprint(name)
        said = f"Audit: <code>offcourse audit {name}</code> · code {code} · intact when this report was made"
        assert said in html
