"""What `offcourse status` or `offcourse audit` calls not intact, the next run makes again, whatever was done to it."""

import shutil
from pathlib import Path

import pandas as pd
from lab import SMOKE, Lab

from offcourse.audit.audit import Audit
from offcourse.audit.evidence import Evidence
from offcourse.audit.status import status, step_reasons
from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.provenance.records import read_record, write_record
from offcourse.store.sealed_json import read_sealed, write_sealed
from offcourse.study.config import read_study

MODEL = "tiny-llama"


def judged(lab: Lab) -> tuple[dict[str, str], set[tuple[str, str, str]]]:
    """What `audit --all` finds wrong, by file, and what `status` does not call fresh."""
    given = read_study(SMOKE), Registry.load(), Layout("smoke", lab.folder)
    found = {finding.path: finding.state for finding in Audit(*given).everything() if finding.state != "intact"}
    return found, {(state.step, state.model, state.unit) for state in status(*given) if not state.fresh}


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def result(lab: Lab, step: str, unit: str) -> tuple[Path, Path, Path]:
    """A result, its record and its shard."""
    layout = Layout("smoke", lab.folder)
    path, record = layout.artefact(step, ".parquet", MODEL, unit), layout.record(step, MODEL, unit)
    key = read_record(record)["key"]
    return path, record, layout.store / key[:2] / f"{key}.parquet"


def other_numbers(path: Path) -> None:
    """Give a table of numbers other ones, as someone who would rather have them."""
    frame = pd.read_parquet(path)
    name = "hit" if "hit" in frame else frame.columns[-1]
    frame.assign(**{name: ~frame[name] if name == "hit" else frame[name] * 2}).to_parquet(path, index=False)


def say(lab: Lab, record: Path, path: Path) -> None:
    """Let a record say of its output what the file is now, sealed as the workflow seals it."""
    known = read_record(record)
    outputs = known["outputs"] | {path.relative_to(lab.folder).as_posix(): sha256(path)}
    write_record(record, known | {"outputs": outputs})


def forge(lab: Lab, step: str, unit: str, with_shard: bool) -> str:
    path, record, shard = result(lab, step, unit)
    other_numbers(path)
    say(lab, record, path)
    if with_shard:
        shutil.copyfile(path, shard)
        note = shard.with_suffix(".json")
        write_sealed(note, read_sealed(note) | {"sha256": sha256(shard)})
    return path.relative_to(lab.folder).as_posix()


def contents(lab: Lab) -> dict[str, str]:
    """sha256 of every result, table and figure and of the prepared models; reports and records hold times."""
    found = {}
    for folder in ("results/smoke/tiny-llama", "results/smoke/tables", "results/smoke/figures", "resources/downloads"):
        for path in sorted((lab.folder / folder).rglob("*")):
            if path.is_file() and path.name != "seen.json":
                found[path.relative_to(lab.folder).as_posix()] = sha256(path)
    return found


def test_whatever_was_done_the_next_run_makes_it_again(lab, finished):
    """Many kinds at once, each in a file of its own, and one run: the results are those of an undisturbed study."""
    provenance, models = lab.results / "provenance", lab.folder / "resources" / "downloads" / "models"
    wrong = {
        forge(lab, "tv_sweep", "antonym", with_shard=True),
        forge(lab, "fv_sweep", "present-past", with_shard=False),
        forge(lab, "logit_lens", "misconceptions-mc", with_shard=True),
    }
    # A shard alone, with its note.
    path, _, shard = result(lab, "dola", "passages")
    other_numbers(shard)
    note = shard.with_suffix(".json")
    write_sealed(note, read_sealed(note) | {"sha256": sha256(shard)})
    wrong.add(path.relative_to(lab.folder).as_posix())
    # A table with its record, which nothing but later records contradicts.
    table = lab.results / "tables" / "table1.csv"
    table.write_text(table.read_text().replace("0.", "1.", 1))
    say(lab, provenance / "tables_dola.json", table)
    wrong.add("results/smoke/tables/table1.csv")
    # A record that says something else.
    record = provenance / "figure_lens.json"
    write_record(record, (known := read_record(record)) | {"made": known["made"] | {"host": "elsewhere"}})
    wrong.add("results/smoke/provenance/figure_lens.json")
    for record, output in {
        f"{MODEL}/icl/antonym": f"{MODEL}/icl/antonym.parquet",
        "figure_shots": "figures/figure11.svg",
    }.items():
        (provenance / f"{record}.json").unlink()
        wrong.add(f"results/smoke/{output}")
    for name in ("results/smoke/ro-crate/tables/table2.csv", "results/smoke/report.html"):
        flip(lab.folder / name)
        wrong.add(name)
    store = lab.folder / "results" / "store"
    left = [store / "ab" / ".x.parquet.k3_z1abc.parquet", models / ".ghost.part" / "model.gguf"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")

    found, stale = judged(lab)
    assert wrong <= found.keys()
    expected = {("tv_sweep", MODEL, "antonym")}
    expected |= {("fv_sweep", MODEL, "present-past"), ("dola", MODEL, "passages"), ("icl", MODEL, "antonym")}
    expected |= {("logit_lens", MODEL, "misconceptions-mc"), ("tables_dola", "", ""), ("figure_lens", "", "")}
    assert expected | {("report", "", ""), ("ro_crate", "", ""), ("figure_shots", "", "")} <= stale

    done = lab.snakemake()
    assert done.returncode == 0, done.stderr
    assert judged(lab) == ({}, set())
    assert contents(lab) == contents(finished)
    assert not any(path.exists() for path in left) and not left[1].parent.exists()
    assert read_record(provenance / "figure_lens.json")["made"]["host"] != "elsewhere"


def test_a_table_that_later_records_contradict_is_named_by_an_audit_of_it_alone(lab):
    table = lab.results / "tables" / "table3.csv"
    table.write_text(table.read_text() + "9\n")
    say(lab, lab.results / "provenance" / "table3.json", table)
    given = read_study(SMOKE), Registry.load(), Layout("smoke", lab.folder)
    found = {finding.path: finding for finding in Audit(*given).chain("table3") if finding.state != "intact"}
    assert set(found) == {"results/smoke/tables/table3.csv"}
    assert "read another content of results/smoke/tables/table3.csv" in found["results/smoke/tables/table3.csv"].why


def test_a_model_that_is_damaged_or_whose_check_has_no_record_is_made_again(lab, finished):
    """As far as the model's facts; nothing that follows was wrong, so that all is intact and fresh then."""
    weights = lab.folder / "resources" / "downloads" / "models" / MODEL / "model.safetensors"
    receipt = lab.results / MODEL / "manifest.json"
    for path in (weights, receipt):
        flip(path)
    (lab.results / "provenance" / MODEL / "check_model.json").unlink()
    wrong = {path.relative_to(lab.folder).as_posix() for path in (weights, receipt, lab.results / MODEL / "model.json")}
    found, stale = judged(lab)
    assert wrong <= found.keys()
    assert {("prepare_model", MODEL, ""), ("check_model", MODEL, "")} <= stale
    done = lab.snakemake(f"results/smoke/{MODEL}/model.json")
    assert done.returncode == 0, done.stderr
    found, stale = judged(lab)
    assert not wrong & found.keys() and not {("prepare_model", MODEL, ""), ("check_model", MODEL, "")} & stale
    assert contents(lab) == contents(finished)


def test_a_deleted_model_folder_is_prepared_anew(lab):
    """As messages about a damaged folder advise; the run comes as far as the first step."""
    folder = lab.folder / "resources" / "downloads" / "models" / MODEL
    before = (folder / "manifest.json").read_bytes()
    shutil.rmtree(folder)
    assert ("prepare_model", MODEL) in lab.plan()
    done = lab.snakemake(f"results/smoke/{MODEL}/prompts/antonym.parquet")
    assert done.returncode == 0, done.stderr
    assert (folder / "manifest.json").read_bytes() == before
    assert ("prepare_model", MODEL, "") not in lab.status()[1]


def test_deleting_the_output_of_one_study_leaves_what_all_studies_share(lab):
    shared = [path for name in ("resources", "results/store") for path in (lab.folder / name).rglob("*")]
    done = lab.snakemake("--delete-all-output")
    assert done.returncode == 0, done.stderr
    assert len(shared) > 50 and all(path.exists() for path in shared)
    assert not list(lab.results.rglob("*.parquet"))


WRONG_JSON = ["[]", "null", "5", '"text"', "{}", "{", "[" * 100_000]


def test_json_of_another_kind_is_a_finding_and_no_traceback(lab):
    models = lab.folder / "resources" / "downloads" / "models" / MODEL
    _, _, shard = result(lab, "cie", "antonym")
    files = [
        lab.results / "provenance" / MODEL / "icl" / "antonym.json",
        lab.results / "provenance" / "table3.json",
        lab.results / "provenance" / MODEL / "check_model.json",
        lab.results / MODEL / "model.json",
        lab.results / MODEL / "manifest.json",
        lab.results / "ro-crate" / "ro-crate-metadata.json",
        models / "manifest.json",
    ]
    for text in WRONG_JSON:
        for path in (*files, models / "seen.json", shard.with_suffix(".json")):
            path.write_text(text + " " * (path.parent.parent == lab.results))
        found, stale = judged(lab)
        assert {path.relative_to(lab.folder).as_posix() for path in files} <= found.keys()
        assert shard.relative_to(lab.folder).as_posix() in found
        assert {("prepare_model", MODEL, ""), ("table3", "", ""), ("cie", MODEL, "antonym")} <= stale


def test_a_record_whose_fields_were_changed_and_sealed_again_is_stale(lab):
    """Of every field: a value of another kind, and one of its own kind that says something else."""
    record = lab.results / "provenance" / MODEL / "icl" / "antonym.json"
    evidence = Evidence(read_study(SMOKE), Registry.load(), Layout("smoke", lab.folder))
    whole, unseen = read_record(record), set()
    for field in whole:
        for value in ([], None, 5, {"a": 5}, {"a": "b"}, "text"):
            write_sealed(record, whole | {field: value})
            if not step_reasons(STEPS["icl"], evidence, MODEL, "antonym"):
                unseen.add(field)
    # Notes for readers, which no number and no decision depends on.
    assert unseen == {"protocol", "origins"}
