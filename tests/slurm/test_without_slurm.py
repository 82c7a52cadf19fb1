"""What `--profile slurm` says where there is no Slurm, and what the profile names."""

import re
import shutil
import sys
from pathlib import Path

import yaml
from lab import SMOKE, Lab
from slurm_runs import snakemake

from offcourse.cluster.resources import START_MINUTES
from offcourse.data.names import RESOURCES
from offcourse.data.pins import LOCK
from offcourse.graph.keys import steps_of
from offcourse.study.config import read_study


def said(done) -> str:
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    [message] = [line for line in done.stderr.splitlines() if line.startswith("offcourse: ")]
    return message


def test_without_sbatch_a_run_says_where_to_find_it(tmp_path):
    # The executor itself needs `which`.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "which").symlink_to(shutil.which("which"))
    message = said(snakemake(tmp_path / "lab", PATH=f"{Path(sys.executable).parent}:{tmp_path / 'bin'}"))
    assert message.startswith("offcourse: sbatch, sinfo, squeue, scancel, scontrol not found on PATH")
    assert "a login node" in message


def test_a_model_too_large_for_the_cluster_is_refused_before_anything_is_made(tmp_path):
    message = said(snakemake(tmp_path, "--config", "resources={gpu_memory: 2}"))
    assert "tiny-llama does not fit" in message and "resources.gpu_memory" in message
    assert not (tmp_path / "results").exists()


def test_the_literal_command_runs_the_papers_study_and_refuses_models_that_are_not_pinned(tmp_path):
    resources = tmp_path / "resources"
    shutil.copytree(RESOURCES, resources, ignore=shutil.ignore_patterns("downloads", LOCK))
    message = said(snakemake(tmp_path / "lab", study=None, OFFCOURSE_RESOURCES=str(resources)))
    assert "42 of the study's models are not pinned to a commit" in message and "offcourse pin" in message
    assert not (tmp_path / "lab" / "results").exists()


def test_a_run_on_this_machine_asks_for_nothing(tmp_path):
    study = yaml.safe_load(SMOKE.read_text()) | {"resources": {"gpu_memory": 2}}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    done = Lab(tmp_path / "lab", path).snakemake("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "rule icl:" in done.stdout and "gpu" not in done.stdout


def test_all_that_runs_a_model_is_one_job_in_the_gpu_partition(tmp_path):
    """Also steps that no study of this project has run on a cluster: controls, and every steering method."""
    study = yaml.safe_load(SMOKE.read_text())
    study["methods"].append("caa")
    study["function_vectors"] |= {"controls": ["other_task"], "build_draws": 1}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    done = snakemake(tmp_path / "lab", "--dry-run", "--configfile", path)
    assert done.returncode == 0, done.stderr
    outside, group = re.split(r"Group job tiny-llama .*:\n", done.stdout + done.stderr)
    group, *after = re.split(r"\n(?=rule |localrule |\[.*\]\n(?:local)?rule )", group)
    in_group = set(re.findall(r"^ +rule (\w+):$", group, re.M))
    on_model = {step.rule for step in steps_of(read_study(path)).values() if step.reads_weights}
    assert in_group == on_model | {"check_model"}
    assert {"fv_controls", "caa", "caa_sweep", "function_vectors"} < in_group
    assert set(re.findall(r"slurm_partition=(\w+)", group)) == {"gpu"}
    # One step asks for the start-up of the whole job.
    minutes = sorted(map(int, re.findall(r"runtime=(\d+)", group)))
    assert len(minutes) == len(in_group) and minutes[-2] < START_MINUTES < minutes[-1]
    assert set(re.findall(r"slurm_partition=(\w+)", "".join([outside, *after]))) == {"cpu"}
