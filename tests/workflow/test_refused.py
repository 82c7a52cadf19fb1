"""What the workflow refuses before it plans a job, with one message and nothing written."""

import re

import pytest
from lab import SMOKE, Lab

STUDY = SMOKE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("study: other\n", r"mine.yaml: the key study is there twice, in lines \d+ and \d+; keep one"),
        ("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n", "mine.yaml: unknown key a"),
        (
            "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(10)),
            "stands for .* values once its aliases are written out",
        ),
    ],
    ids=["key twice", "small anchor", "aliases that explode"],
)
def test_a_configfile_that_would_be_misread_is_refused(tmp_path, more, message):
    """Snakemake reads the file itself, and takes the last of two equal keys."""
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY + more, encoding="utf-8")
    done = Lab(tmp_path / "run", path).snakemake("--dry-run")
    said = [line for line in done.stderr.splitlines() if line.startswith("offcourse: ")]
    assert done.returncode == 1 and len(said) == 1
    assert re.search(message, said[0]), said
    assert not (tmp_path / "run" / "results").exists()
