"""The whole graph on a tiny model, through the real Snakemake."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress

import pandas as pd
import yaml
from lab import CHECKOUT, SMOKE, Lab

from offcourse.files import sha256
from offcourse.graph.products import PRODUCTS
from offcourse.schemas.function_vectors import CIE, FV_CONTROLS, FV_SWEEP, ICL
from offcourse.schemas.io import read_parquet
from offcourse.schemas.prompts import PROMPT_KINDS, PROMPTS
from offcourse.schemas.questions import APATHY, DOLA, LOGIT_LENS
from offcourse.schemas.task_vectors import TV_SWEEP

NOTHING = "Nothing to be done"

# Draws of each control.
CONTROLS = {
    "random_direction": 1,
    "read_position": 2,
    "read_position_heads": 2,
    "read_position_means": 2,
    "rebuilt": 1,
}


def test_a_run_makes_every_artefact_and_a_second_does_nothing(lab):
    results = lab.results
    for task in ("antonym", "present-past"):
        folder = results / "tiny-llama"
        prompts = read_parquet(folder / "prompts" / f"{task}.parquet", PROMPTS)
        assert set(prompts["kind"]) == set(PROMPT_KINDS)
        icl = read_parquet(folder / "icl" / f"{task}.parquet", ICL)
        assert len(icl) == 4 * 5
        cie = read_parquet(folder / "cie" / f"{task}.parquet", CIE)
        assert len(cie) == 2 * 4 * 4
        sweep = read_parquet(folder / "fv_sweep" / f"{task}.parquet", FV_SWEEP)
        assert len(sweep) == 2 * 2 * 4 * 5
        controls = read_parquet(folder / "fv_controls" / f"{task}.parquet", FV_CONTROLS)
        counts = controls["control"].value_counts().to_dict()
        assert counts == {control: draws * len(sweep) for control, draws in CONTROLS.items()}
        sweep = read_parquet(folder / "tv_sweep" / f"{task}.parquet", TV_SWEEP)
        assert len(sweep) == (3 + 3) * 4
    for name, questions in (("misconceptions", 3), ("passages", 3)):
        dola = read_parquet(results / "tiny-llama" / "dola" / f"{name}.parquet", DOLA)
        assert dola["question"].nunique() == questions
        assert len(dola) == (2 + 4 * 2 * 2) * len(dola[["question", "answer"]].drop_duplicates())
    lens = read_parquet(results / "tiny-llama/logit_lens/misconceptions-mc.parquet", LOGIT_LENS)
    apathy = read_parquet(results / "tiny-llama/apathy/misconceptions-mc.parquet", APATHY)
    assert (len(lens), len(apathy)) == (4 * 5, 4 * 4)
    assert {"MC1 base", "MC1 DoLa"} <= set(pd.read_parquet(results / "tables" / "table1.parquet")["column"])
    table = pd.read_parquet(results / "tables" / "table3.parquet")
    assert {"FV default", "FV search", "TV"} <= set(table["row"])
    assert (results / "report.html").stat().st_size > 10_000
    again = lab.snakemake()
    assert again.returncode == 0
    assert NOTHING in again.stderr + again.stdout
    assert lab.status() == (0, {})
    # A result that went missing under a newer report (a failed job takes its results away) is made again.
    (results / "tiny-llama" / "dola" / "passages.parquet").unlink()
    plan = lab.snakemake("--dry-run")
    assert plan.returncode == 0 and "rule dola:" in plan.stdout + plan.stderr


def test_snakemakes_own_report_has_captions_and_categories(lab, tmp_path):
    out = tmp_path / "report.html"
    done = lab.snakemake("--report", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    html = out.read_text(encoding="utf-8")
    for said in ("Start with the reader", "How many model-task pairs recover", '"Tables"', '"Figures"'):
        assert said in html
    captions = {path.stem for path in (CHECKOUT / "workflow" / "report").glob("*.rst")}
    # Steering methods, of which there are as many as modules, share one caption.
    named = {product.caption or name for name, product in PRODUCTS.items()}
    assert captions == {"workflow", *named} - {"check_model", "ro_crate"}


def test_side_by_side_is_planned_from_both_stores_and_no_part_of_a_run(lab):
    plan = lab.snakemake("--dry-run", "side_by_side")
    assert plan.returncode == 0, plan.stderr
    planned = plan.stdout + plan.stderr
    for rule in ("side_by_side", "published_function_vectors", "published_task_vectors", "published_models"):
        assert f"rule {rule}:" in planned
    assert "rule published_figures:" not in planned and "rule published_dola:" not in planned


def changed_grid(lab, tmp_path, strengths: list, **more) -> None:
    """Let the lab's study have other strengths."""
    study = yaml.safe_load(SMOKE.read_text())
    study["function_vectors"] |= {"strengths": strengths} | more
    lab.configfile = tmp_path / "study.yaml"
    lab.configfile.write_text(yaml.safe_dump(study))


def test_a_larger_grid_reruns_the_sweep_and_what_follows_and_status_says_so(lab, tmp_path):
    changed_grid(lab, tmp_path, [1, 4, 8])
    code, stale = lab.status()
    assert code == 1
    follows = {
        "figure_sweep",
        "figure_overview",
        "figure_recovery",
        "figure_heads",
        "figure_choices",
        "figure_off_by_one",
        "off_by_one",
        "table3",
        "recovery",
        "certainty",
        "steering_summary",
        "sensitivity",
        "report",
        "ro_crate",
    }
    assert {step for step, _, _ in stale} == {"fv_sweep", "fv_controls"} | follows
    assert all("strengths" in " ".join(why) for (step, _, _), why in stale.items() if step == "fv_sweep")
    plan = lab.snakemake("--dry-run")
    assert plan.returncode == 0, plan.stderr
    planned = plan.stdout + plan.stderr
    for rule in {"fv_sweep", "fv_controls"} | follows:
        assert f"rule {rule}:" in planned
    for step in ("prompts", "icl", "head_means", "cie", "function_vectors", "dola", "readings", "task_vectors"):
        assert f"rule {step}:" not in planned


def test_a_damaged_result_is_said_and_mended_from_the_store(lab):
    damaged = lab.results / "tiny-llama" / "cie" / "antonym.parquet"
    before = damaged.read_bytes()
    damaged.write_bytes(before[:-1] + b"x")
    code, stale = lab.status()
    assert code == 1
    assert "damaged" in " ".join(stale["cie", "tiny-llama", "antonym"])
    done = lab.snakemake("--forcerun", "cie", "--until", "cie")
    assert done.returncode == 0, done.stderr
    assert damaged.read_bytes() == before
    log = (lab.results / "logs" / "cie" / "tiny-llama.log").read_text()
    assert log.count("from the store") == 2


def test_ctrl_c_in_the_middle_of_a_step_leaves_whole_files_and_a_rerun_finishes(lab, tmp_path):
    """While the sweep, with a grid that takes it some tenths of a second per task, computes its second task."""
    changed_grid(lab, tmp_path, [1 + i / 1000 for i in range(80)], n_heads=list(range(1, 17)))
    # The steps before it.
    done = lab.snakemake("--until", "function_vectors")
    assert done.returncode == 0, done.stderr
    log = lab.results / "logs" / "fv_sweep" / "tiny-llama.log"
    log.unlink()
    out = tmp_path / "out"
    with open(out, "w") as file:
        run = subprocess.Popen(
            lab.command("--until", "fv_sweep"), cwd=CHECKOUT, stdout=file, stderr=file, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 300
            while not (log.exists() and "antonym: computed" in log.read_text()):
                assert run.poll() is None, out.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            # What a terminal does at Ctrl-C: the signal goes to every process in the foreground.
            os.killpg(run.pid, signal.SIGINT)
            assert run.wait(timeout=120) != 0
        finally:
            # Only a run that this test is about to give up on is still there.
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
    assert "present-past: computed" not in log.read_text()
    assert [path for path in (lab.folder / "results").rglob(".*") if path.is_file()] == []
    for path in (lab.folder / "results").rglob("*.parquet"):
        pd.read_parquet(path)
    for note in (lab.folder / "results" / "store").rglob("*.json"):
        [artefact] = [path for path in note.parent.glob(f"{note.stem}.*") if path != note]
        assert sha256(artefact) == json.loads(note.read_text())["sha256"]
    done = lab.snakemake("--until", "fv_sweep")
    assert done.returncode == 0, done.stderr
    said = log.read_text()
    assert "antonym: from the store" in said
    assert "present-past: computed" in said
    assert "fv_sweep" not in {step for step, _, _ in lab.status()[1]}


def test_a_bad_study_is_one_message_before_anything_runs(tmp_path):
    """An unknown key; every other way to get a study wrong is in tests/study and says it in the same way."""
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"modles": ["tiny-llama"]}))
    done = Lab(tmp_path / "lab", path).snakemake()
    assert done.returncode != 0
    assert "did you mean 'models'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lab" / "results").exists()


def test_a_model_that_cannot_be_had_stops_the_run_before_any_step(tmp_path):
    """A local folder that is not there, beside a model that could run; its terms of use are said first."""
    resources = tmp_path / "resources"
    subprocess.run(["cp", "-r", CHECKOUT / "resources", resources], check=True)
    table = resources / "models.tsv"
    good = next(line for line in table.read_text().splitlines() if line.startswith("tiny-llama\t"))
    bad = good.replace("tiny-llama\t", "absent\t").replace("\trandom\tLlama\t0\t", "\tlocal\t/nowhere\t\t")
    bad = bad.replace("\tMIT\t\t", "\tMIT\tRead the terms first.\t")
    table.write_text(table.read_text() + bad + "\n")
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"models": ["tiny-llama", "absent"]}))
    lab = Lab(tmp_path / "lab", path)
    os.environ["OFFCOURSE_RESOURCES"] = str(resources)
    try:
        done = lab.snakemake()
    finally:
        del os.environ["OFFCOURSE_RESOURCES"]
    assert done.returncode != 0
    assert "absent: /nowhere is neither a model folder" in done.stderr
    assert "absent: Read the terms first." in done.stderr.partition("absent: /nowhere")[0]
    # Making prompts needs a tokenizer only; nothing that needs a model may have run.
    assert {path.parent.name for path in (tmp_path / "lab").rglob("*.parquet")} <= {"prompts"}
    assert not list((tmp_path / "lab").rglob("model.json"))
