"""What `--profile slurm` says where there is no Slurm, and what the profile names."""

import re
import shutil
import sys
from pathlib import Path

import yaml
from lab import CHECKOUT, SMOKE, Lab
from slurm_runs import snakemake

PROFILE = CHECKOUT / "slurm" / "config.yaml"


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


def test_a_run_on_this_machine_asks_for_nothing(tmp_path):
    study = yaml.safe_load(SMOKE.read_text()) | {"resources": {"gpu_memory": 2}}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    done = Lab(tmp_path / "lab", path).snakemake("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "rule icl:" in done.stdout and "gpu" not in done.stdout


def test_the_profile_sends_exactly_the_rules_that_ask_for_a_card_to_the_gpu_partition(tmp_path):
    done = snakemake(tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    partitions = {}
    for block in re.split(r"\n(?=rule \w+:\n)", done.stdout + done.stderr)[1:]:
        asked = re.search(r"resources: .*", block)[0]
        partitions[re.match(r"rule (\w+):", block)[1]] = ("gpu=1" in asked, "slurm_partition=gpu" in asked)
    on_gpu = {rule for rule, (card, _) in partitions.items() if card}
    assert on_gpu == {rule for rule, (_, partition) in partitions.items() if partition}
    assert on_gpu == set(yaml.safe_load(PROFILE.read_text())["set-resources"])
    assert {"prompts", "table3", "function_vectors"} <= set(partitions) - on_gpu
