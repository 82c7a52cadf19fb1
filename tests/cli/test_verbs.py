"""`offcourse diff`, `find` and `capsule` on the smoke study."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from lab import SMOKE, Lab

from offcourse.cli import main


def run(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    monkeypatch.setattr("sys.argv", ["offcourse", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capsys.readouterr()


@pytest.fixture
def other(lab, tmp_path) -> Lab:
    """Beside the study `smoke` a study `other` under another switch, of which only Table 3 is made."""
    path = tmp_path / "other.yaml"
    changes = {"study": "other", "protocol": {"base": "as_published", "fv_output_bias": "excluded"}}
    changes |= {"methods": ["function_vectors"]}
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | changes))
    made = Lab(lab.folder, path)
    done = made.snakemake("results/other/tables/table3.parquet")
    assert done.returncode == 0, done.stderr
    return made


def test_two_studies_differ_in_what_was_changed(other, monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "diff", "smoke", "other", "--directory", other.folder, "--json")
    found = json.loads(out)["differences"]
    assert code == 1
    assert found["switches"] == {"fv_output_bias": ["per_head", "excluded"]}
    assert found["parameters"]["function_vectors.fv_output_bias"] == ["per_head", "excluded"]
    assert found["versions"] == found["models"] == {}
    assert any(key.startswith("table3 TV ") for key in found["numbers"])
    code, out, _ = run(monkeypatch, capsys, "diff", "smoke", "smoke", "--directory", other.folder)
    assert (code, out) == (0, "nothing differs\n")
    code, _, err = run(monkeypatch, capsys, "diff", "smoke", "smok", "--directory", other.folder)
    assert code == 2 and "did you mean 'smoke'?" in err
    words = ["find", "--where", "fv_output_bias=excluded", "--where", "step=fv_sweep", "--directory", other.folder]
    code, out, _ = run(monkeypatch, capsys, *words, "--json")
    names = {result["path"] for result in json.loads(out)["results"]}
    assert code == 0
    assert names == {f"results/other/tiny-llama/fv_sweep/{task}.parquet" for task in ("antonym", "present-past")}


def test_a_study_is_not_diffed_with_the_release_but_compared(lab, monkeypatch, capsys):
    where = "--directory", lab.folder
    code, _, err = run(monkeypatch, capsys, "diff", "smoke", "published", *where)
    assert code == 2 and f"Run `snakemake published --cores all --directory {lab.folder}` first" in err
    done = lab.snakemake("published_models")  # needs none of the released files
    assert done.returncode == 0, done.stderr
    for sides in (("smoke", "published"), ("published", "smoke")):
        code, _, err = run(monkeypatch, capsys, "diff", *sides, *where)
        assert code == 2 and "published is the authors' release" in err and "smoke a study" in err
        assert "offcourse compare" in err and "snakemake side_by_side" in err
    assert run(monkeypatch, capsys, "diff", "published", "published", *where)[:2] == (0, "nothing differs\n")


def test_results_are_found_by_what_made_them(finished, monkeypatch, capsys):
    here = ["--directory", finished.folder]
    code, out, _ = run(monkeypatch, capsys, "find", "--where", "task=antonym", "--where", "step=cie", *here)
    assert (code, out.split()[0]) == (0, "results/smoke/tiny-llama/cie/antonym.parquet")
    code, out, err = run(monkeypatch, capsys, "find", "--where", "task=antonyms", *here)
    assert (code, out) == (1, "") and err == f"no result below {finished.folder}/results has task=antonyms\n"
    code, _, err = run(monkeypatch, capsys, "find", "--where", "tsk=antonym", *here)
    assert code == 2 and "no record below" in err and "did you mean 'task'?" in err
    code, _, err = run(monkeypatch, capsys, "find", "--where", "antonym", *here)
    assert code == 2 and "expected key=value" in err


CELLS = [
    ("table3", "FV search", "0.90"),
    ("table3", "TV (count)", "0.50"),
    ("table1", "tiny-llama (misconceptions)", "MC2 DoLa"),
    ("table1", "tiny-llama (misconceptions)", "McNemar p"),
    ("table2", "tiny-llama (passages)", "accuracy base"),
]


@pytest.mark.parametrize("cell", CELLS, ids=" ".join)
def test_a_capsule_computes_its_cell_again_on_its_own(finished, tmp_path, monkeypatch, capsys, cell):
    name, row, column = cell
    where = ["--configfile", SMOKE, "--directory", finished.folder]
    words = ["capsule", name, tmp_path / "capsule", "--row", row, "--column", column, *where]
    assert run(monkeypatch, capsys, *words)[0] in (0, None)
    # Elsewhere, and with the path of the package out of reach.
    folder = shutil.copytree(tmp_path / "capsule", tmp_path / "elsewhere")
    script = [
        sys.executable,
        "-P",
        "-c",
        "import sys; sys.modules['offcourse'] = None; import runpy; sys.path.insert(0, '.');",
    ]
    script[-1] += "runpy.run_path('recompute.py', run_name='__main__')"
    done = subprocess.run(script, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}, {row}, {column}: " in done.stdout
    asked = [json.loads(line) for path in (folder / "prompts").iterdir() for line in path.open(encoding="utf-8")]
    assert asked and all(line["text"] for line in asked)
    # One changed number is noticed.
    cell = json.loads((folder / "cell.json").read_text())
    (folder / "cell.json").write_text(json.dumps(cell | {"value": cell["value"] + 0.01}))
    assert subprocess.run(script, cwd=folder, capture_output=True).returncode == 1
    code, _, err = run(monkeypatch, capsys, *words)
    assert code == 2 and "is there already and not empty" in err
