"""Peak memory of every step, each in a process of its own that holds nothing else, for a small grid and the paper's.

`python -m benchmarks.memory` prints a line per model and step. The model must have been prepared (`make`), and data are
the project's own, so nothing is downloaded.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from offcourse.data.names import METHODS
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.models.manifest import MANIFEST

MODELS = ("smollm2-135m-instruct", "gemma-3-270m")
TASK = "present-past"
JOBS = (
    ("prompts",),
    ("icl",),
    ("head_means",),
    ("cie",),
    ("function_vectors",),
    ("fv_sweep",),
    ("tv_icl", "task_vectors", "tv_sweep"),
    ("dola",),
    ("logit_lens", "apathy"),
)
SMALL = {
    "function_vectors": {"shots": 10, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 3},
    "task_vectors": {"dev_items": 3, "test_items": 3, "baseline_items": 3},
    "dola": {"limit": 2, "alphas": [0.1], "buckets": ["0-50"]},
    "logit_lens": {"limit": 3},
}
# The paper's settings, over as few items as show what they need at a time.
FULL = {
    "function_vectors": {
        "shots": 10,
        "trials": 2,
        "n_heads": [2, 16, 32, 64, 128, 256, 512],
        "strengths": [0.5, 1, 2, 4, 8, 16, 32, 64],
        "test_items": 3,
    },
    "task_vectors": {"dev_items": 3, "test_items": 3, "baseline_items": 3},
    "dola": {"limit": 4},
    "logit_lens": {"limit": 12},
}
CHILD = """
import json, sys
from pathlib import Path
from offcourse.run.job import run_steps
from offcourse.layout import Layout
from offcourse.provenance.environment import peak_memory
from offcourse.data.registry import Registry
from offcourse.study.config import load_study
study, base, model, steps = (json.loads(word) for word in sys.argv[1:])
study = load_study(study)
run_steps(steps, study, Registry.load(), Layout(study.study, Path(base)), model)
print(peak_memory())
"""


def peaks(model: str, downloads: Path, grid: dict) -> dict[str, int]:
    """Peak resident bytes by job (its steps joined by +) of one model."""
    study = {"study": "memory", "models": [model], "tasks": [TASK], "methods": list(METHODS), **grid}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout("memory", Path(folder))
        layout.downloads.parent.mkdir(parents=True)
        layout.downloads.symlink_to(downloads.resolve())
        for steps in JOBS:
            words = [json.dumps(word) for word in (study, folder, model, steps)]
            done = subprocess.run([sys.executable, "-c", CHILD, *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise OffcourseError(f"{model}, {' '.join(steps)} failed:\n{done.stderr}")
            found["+".join(steps)] = int(done.stdout.split()[-1])
    return found


def report(downloads: Path) -> dict[str, dict[str, dict[str, int]]]:
    """Print a line per prepared model and job; the same numbers, by model, job and grid."""
    figures: dict[str, dict[str, dict[str, int]]] = {}
    for model in MODELS:
        if not (downloads / "models" / model / MANIFEST).exists():
            print(f"peak memory of {model}: not measured, the model is not prepared (run `make` first)")
            continue
        small, full = (peaks(model, downloads, grid) for grid in (SMALL, FULL))
        figures[model] = {job: {"small": small[job], "full": full[job]} for job in full}
        for job, bytes_ in figures[model].items():
            print(
                f"peak memory of {job}, {model}: {bytes_['small'] / 1e9:.2f} GB with a grid of one setting, "
                f"{bytes_['full'] / 1e9:.2f} GB with the paper's",
                flush=True,
            )
    return figures


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    report(Layout("memory").downloads)
