"""`offcourse plan` on the smoke study: finished jobs, a probe of this machine, and measured times."""

import json

import pytest
from lab import SMOKE

from offcourse.cli import main
from offcourse.plan.machine import has_cards


def told(monkeypatch, capsys, *words) -> tuple[int, dict, str]:
    """Exit code and document of `offcourse plan`, and its messages."""
    monkeypatch.setattr("sys.argv", ["offcourse", "plan", "--configfile", str(SMOKE), "--json", *map(str, words)])
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    out, messages = capsys.readouterr()
    return code, json.loads(out), messages


def test_what_is_done_is_what_status_calls_fresh(lab, monkeypatch, capsys):
    here = ["--directory", lab.folder, "--rates", "a100"]
    code, found, _ = told(monkeypatch, capsys, *here)
    assert code == 0 and all(job["done"] for job in found["jobs"])
    assert found["gpu_hours_left"] == 0 < found["gpu_hours"] and found["wall"]["hours_left"] == 0
    other = found["other_jobs"]
    assert other["of them done"] == other["tables, figures, report and crate"] > 10

    (lab.folder / "results/smoke/tiny-llama/cie/antonym.parquet").unlink()
    (lab.folder / "results/smoke/provenance/tiny-llama/cie/antonym.json").unlink()
    _, found, _ = told(monkeypatch, capsys, *here)
    left = {job["name"] for job in found["jobs"] if not job["done"]}
    assert left == {"cie", "function_vectors", "fv_sweep", "fv_controls"}
    assert found["gpu_hours_left"] == pytest.approx(
        sum(job["gpu_hours"] for job in found["jobs"] if job["name"] in left)
    )


def test_a_machine_is_measured_once_and_compared_with_the_records(lab, monkeypatch, capsys):
    """A machine has no cards where its drivers say so, and is measured; for one with cards an A100 is assumed."""
    here, path = ["--directory", lab.folder], lab.folder / "results" / "rates.json"
    path.unlink(missing_ok=True)
    _, found, messages = told(monkeypatch, capsys, *here)
    assert path.exists() == ("are measured first" in messages) == (not has_cards())
    if has_cards():
        assert "A100" in found["rates"]["name"]
        _, found, _ = told(monkeypatch, capsys, *here, "--calibrate")
    before = path.read_bytes()
    kept = json.loads(before)
    assert found["rates"]["name"] == kept["name"] and kept["name"].endswith("measured")
    assert kept["device"] == ("gpu" if has_cards() else "cpu") and kept["places"] * kept["threads"] >= 1
    # Of any machine that runs this, busy or not.
    assert min(kept[name] for name in ("flops", "flops_half", "memory", "elementwise", "exponentials", "load")) > 1e6
    assert 0 < kept["call"] < 1e-3 < kept["imports"] < kept["start"]
    assert found["gpu_hours"] == 0 < found["hours"] and found["energy"]["cpu_power"] == 10

    code, compared, messages = told(monkeypatch, capsys, *here, "--measured")
    assert compared["rates"]["name"] == kept["name"]
    assert "are measured first" not in messages and path.read_bytes() == before
    steps = {row["step"]: row for row in compared["steps"] if not row["model"]}
    assert set(steps) == {job["name"] for job in found["jobs"]}
    assert code == (0 if all(row["within"] for row in steps.values()) else 1)
    record = json.loads((lab.folder / "results/smoke/provenance/tiny-llama/check_model.json").read_text())
    assert steps["check_model"]["measured"] == pytest.approx(record["made"]["seconds"])
    # A tiny model's jobs are all start: none that makes passes is off by an order of magnitude.
    passes = steps.keys() - {"prompts", "function_vectors"}
    assert all(0.1 < steps[step]["ratio"] < 10 for step in passes)
