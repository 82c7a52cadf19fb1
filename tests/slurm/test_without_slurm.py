"""What `--profile slurm` says where there is no Slurm, and what the profile names."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forking
import hub
import pytest
import yaml
from lab import CHECKOUT, SMOKE, Lab
from slurm_runs import snakemake

from offcourse.cluster.resources import START_MINUTES
from offcourse.data.names import RESOURCES
from offcourse.data.pins import LOCK
from offcourse.graph.keys import steps_of
from offcourse.study.config import read_study


def said(done) -> str:
    """The one message of a run that submits nothing; further findings are lines that begin with a dash."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    _, *messages = re.split(r"^(?=offcourse: )", done.stderr, flags=re.M)
    assert len(messages) == 1, done.stderr
    first, *more = messages[0].splitlines()
    return "\n".join([first, *itertools.takewhile(lambda line: line.startswith("- "), more)])


def jobs_by_group(output) -> tuple[dict[str, str], str]:
    """What a dry run prints of each group, and of all jobs in none. Snakemake prints groups in no fixed order."""
    groups, alone = {}, []
    for block in re.split(r"^(?=\[.*\])", output, flags=re.M):
        if named := re.match(r"\[.*?\] Group job (\S+) ", block):
            groups[named[1]] = block
        else:
            alone.append(block)
    return groups, "".join(alone)


@pytest.fixture
def path(tmp_path):
    """A path without Slurm's commands. The executor itself needs `which`."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "which").symlink_to(shutil.which("which"))
    return f"{Path(sys.executable).parent}:{tmp_path / 'bin'}"


def test_without_sbatch_a_run_says_where_to_find_it(tmp_path, path):
    message = said(snakemake(tmp_path / "lab", PATH=path))
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


def paper_of_three(tmp_path, lock=()):
    """A study of three models of the hub in a folder of its own, and a lock that pins `lock`."""
    resources = tmp_path / "resources"
    shutil.copytree(RESOURCES, resources, ignore=shutil.ignore_patterns("downloads", LOCK))
    header = "name\trepo\trevision\tcommit\tdate\tlicence\tgated\tsource"
    rows = [f"{name}\t{repo}\tmain\t{commit}\tnot stated\tnot stated\tnot stated\thub" for name, repo, commit in lock]
    (resources / LOCK).write_text("\n".join([header, *rows]) + "\n")
    study = yaml.safe_load(SMOKE.read_text()) | {"models": ["pythia-6.9b", "llama-2-7b", "llama-2-70b", "gemma-2-2b"]}
    study["resources"] = {"gpu_memory": 24, "gpus_per_node": 2}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path, {"OFFCOURSE_RESOURCES": str(resources)}


THREE = [
    ("pythia-6.9b", "EleutherAI/pythia-6.9b", "a" * 40),
    ("llama-2-7b", "meta-llama/Llama-2-7b-hf", "b" * 40),
    ("llama-2-70b", "meta-llama/Llama-2-70b-hf", "c" * 40),
]


def test_all_that_is_missing_is_one_message(tmp_path, path):
    """Pins, cards, licences, a commit that the hub lacks, one that it knows by another name, disk, Slurm."""
    study, resources = paper_of_three(tmp_path, THREE)
    with hub.serving(hub.Hub()) as served:
        served.gated = {"meta-llama/Llama-2-7b-hf"}
        served.missing = {("EleutherAI/pythia-6.9b", "a" * 40)}
        served.moved["meta-llama/Llama-2-70b-hf", "c" * 40] = "d" * 40
        served.files["meta-llama/Llama-2-70b-hf"] = {"model.safetensors": 10**18}
        more = resources | served.environment(tmp_path / "home") | {"PATH": path}
        message = said(snakemake(tmp_path / "lab", study=study, **more))
    first, *findings = message.splitlines()
    assert first == f"offcourse: {len(findings)} things are missing; nothing was submitted:"
    for begins, holds in (
        ("- sbatch, ", "not found on PATH"),
        ("- 1 of the study's models are not pinned to a commit: gemma-2-2b", "offcourse pin"),
        ("- llama-2-70b does not fit: 138 GB of weights", "on 2 cards of 24 GB"),
        ("- llama-2-7b (meta-llama/Llama-2-7b-hf) is gated", "accept its licence (Llama 2 Community License)"),
        (
            "- pythia-6.9b (EleutherAI/pythia-6.9b) has no branch, tag or commit 'aaaa",
            "`offcourse pin --configfile FILE`",
        ),
        ("- llama-2-70b (meta-llama/Llama-2-70b-hf): ", f"has commit {'c' * 40}, but the hub answers with {'d' * 40}"),
        ("- the disk of ", "4 models that are not prepared take 1e+09 GB"),
    ):
        [found] = [line for line in findings if line.startswith(begins)]
        assert holds in found
        findings.remove(found)
    assert findings == [] and not (tmp_path / "lab" / "results").exists()


def test_a_hub_that_cannot_be_reached_is_said_once(tmp_path, path):
    study, resources = paper_of_three(tmp_path, THREE)
    message = said(
        snakemake(
            tmp_path / "lab", study=study, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0", PATH=path, **resources
        )
    )
    assert (
        message.count("cannot be asked") == 1
        and "not found on PATH" in message
        and "3 models of the study are not in " in message
    )


def test_with_every_model_pinned_the_literal_command_needs_no_step_before_it(tmp_path):
    """Nothing but the lock of the checkout: no download, no file of an earlier command."""
    resources = tmp_path / "resources"
    shutil.copytree(RESOURCES, resources, ignore=shutil.ignore_patterns("downloads", LOCK))
    with hub.serving(hub.Hub()) as served:
        variables = served.environment(tmp_path / "home") | {"OFFCOURSE_RESOURCES": str(resources)}
        words = [forking.python(), "-m", "offcourse", "pin", "--configfile", "studies/paper.yaml", "--json"]
        given = forking.environment() | variables
        pinned = subprocess.run(words, capture_output=True, text=True, cwd=CHECKOUT, env=given)
        assert len(json.loads(pinned.stdout)["pinned"]) == 42
    done = snakemake(tmp_path / "lab", "--dry-run", study=None, OFFCOURSE_RESOURCES=str(resources))
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(re.findall("^ *rule check_model:$", done.stdout + done.stderr, re.M)) == 42


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
    groups, alone = jobs_by_group(done.stdout + done.stderr)
    assert set(groups) == {"tiny-llama", "tables_and_figures"}
    group = groups["tiny-llama"]
    in_group = set(re.findall(r"^ +rule (\w+):$", group, re.M))
    on_model = {step.rule for step in steps_of(read_study(path)).values() if step.reads_weights}
    assert in_group == on_model | {"check_model"}
    assert {"fv_controls", "caa", "caa_sweep", "function_vectors"} < in_group
    assert set(re.findall(r"slurm_partition=(\w+)", group)) == {"gpu"}
    # One step asks for the start-up of the whole job.
    minutes = sorted(map(int, re.findall(r"runtime=(\d+)", group)))
    assert len(minutes) == len(in_group) and minutes[-2] < START_MINUTES < minutes[-1]
    assert set(re.findall(r"slurm_partition=(\w+)", alone + groups["tables_and_figures"])) == {"cpu"}
