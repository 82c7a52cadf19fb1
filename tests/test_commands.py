"""Commands that the pages show run as they are written: each is started, or listed here with the reason why not."""

import re
import shlex
import subprocess

import pytest
from forking import python
from lab import CHECKOUT, SMOKE

from offcourse.plan.rates import A100, rates_path, write_rates

PAGES = ["README.md", "config.yaml", *(f"docs/{path.name}" for path in sorted((CHECKOUT / "docs").glob("*.md")))]
PROGRAMS = ("snakemake", "offcourse", "make", "python")
# Commands that cannot run in a test, by their beginnings, and why.
ELSEWHERE = {
    "make": "a target is parsed by make (--dry-run), since most install or run for minutes",
    "offcourse pin": "asks the model hub (tests/models/test_pin.py has one on this machine)",
    "offcourse add-model": "needs a model of the user's own (tests/adding/test_add_model.py makes some)",
    "offcourse add-task": "needs a list of the user's own (tests/data/test_add_task.py makes one)",
    "offcourse check-gpu": "needs minutes, and a card to say anything (tests/check_gpu)",
    "offcourse audit --all --published": "reads the release that `make published` makes (tests/published)",
    "offcourse audit table6 --published": "reads the release that `make published` makes (tests/published)",
    "offcourse status --published": "reads the release that `make published` makes (tests/published)",
    "offcourse judge": "runs a study for minutes (tests/judge)",
    "offcourse export-vector": "needs a study with the method (tests/steering/test_vector_file.py)",
    "offcourse share": "needs archives of other labs (tests/share)",
    "offcourse verify": "loads the model and computes (tests/share/test_share_verify.py)",
    "snakemake --cores all --directory elsewhere": "needs the archive of another lab",
    "offcourse compare": "reads the release that `make published` makes (tests/published)",
    "offcourse audit table_methods": "the smoke study has no such table (tests/workflow/test_extending.py audits one)",
    "offcourse plan --calibrate": "measures this machine (tests/workflow/test_plan_of_a_run.py)",
    "snakemake -n --configfile studies/paper.yaml": "asks for pinned models (tests/workflow/test_paper.py pins them)",
    "snakemake --profile slurm": "submits to Slurm (tests/slurm has one on this machine)",
    "python -m benchmarks.startup": "measures for minutes",
}
# Pages whose commands are about files that they add, and which have a test of their own.
OWN_TEST = {"docs/extending.md": "tests/workflow/test_extending.py"}
# What a command of a page names that the smoke study has by another name.
HERE = {"gemma-3-270m": "tiny-llama", "llama-7b": "tiny-llama", "FILE": str(SMOKE), "[TABLE]": "table3"}
# Verbs without a study, or with one of their own.
NO_STUDY = ("diff", "find", "--version", "--help")


def commands(page: str) -> list[str]:
    """The commands of a page: lines of a block or comment that begin with a program, and those between backticks."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.M | re.S)) if page.endswith(".md") else text
    # Code that is set in by four blanks is a block too.
    blocks += "\n" + "\n".join(re.findall(r"^    (\w.*)$", text, re.M))
    names = "|".join(PROGRAMS)
    lines = re.findall(rf"^(?:#? *)((?:{names})(?: .*)?)$", blocks, re.M)
    lines += re.findall(rf"`((?:{names}) [^`]+)`", text)
    cut = (" ".join(re.split(r"\s+# |\s{3,}", line, maxsplit=1)[0].split()) for line in lines)
    return list(dict.fromkeys(line for line in cut if " = " not in line and "<<" not in line))


def elsewhere(line: str) -> str:
    """Why a command is not run here; "" for one that is."""
    for beginning, reason in ELSEWHERE.items():
        if line == beginning or line.startswith(f"{beginning} "):
            return reason
    if line.startswith("python "):
        script = line.split()[1]
        return "a script of this checkout" if (CHECKOUT / script).is_file() else ""
    return ""


WRITTEN = [(page, line) for page in PAGES if page not in OWN_TEST for line in commands(page)]
# A command that several pages show runs once.
ONCE = list({line: (page, line) for page, line in reversed(WRITTEN)}.values())[::-1]


def test_pages_show_commands_and_every_exception_is_needed():
    lines = [line for _, line in WRITTEN]
    assert len(lines) > 40
    for beginning in ELSEWHERE:
        assert any(line == beginning or line.startswith(f"{beginning} ") for line in lines), beginning
    for test in OWN_TEST.values():
        assert (CHECKOUT / test).exists()


@pytest.mark.parametrize(("page", "line"), [pair for pair in ONCE if pair[1].startswith("make")])
def test_make_knows_its_targets(page, line):
    done = subprocess.run([*shlex.split(line), "--dry-run"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{page}: {line}: {done.stderr}"


@pytest.mark.parametrize(
    ("page", "line"), [pair for pair in ONCE if pair[1].startswith("snakemake") and not elsewhere(pair[1])]
)
def test_snakemake_starts(page, line, finished):
    """As written, but on the smoke study and as a dry run."""
    words = [HERE.get(word, word) for word in shlex.split(line)[1:]]
    own = ["--configfile", str(SMOKE)] if "--configfile" not in words else []
    command = [python(), "-m", "snakemake", *words, *own, "--directory", str(finished.folder)]
    command += [] if {"-n", "--report"} & set(words) else ["--dry-run"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=finished.environment, check=False)
    assert done.returncode == 0, f"{page}: {line}: {done.stderr}"


@pytest.mark.parametrize(
    ("page", "line"), [pair for pair in ONCE if pair[1].startswith("offcourse") and not elsewhere(pair[1])]
)
def test_a_verb_runs(page, line, finished, tmp_path):
    """As written, but on the smoke study. Exit code 2 means bad input: the page would be wrong."""
    words = shlex.split(line.replace("gemma-3-270m", "tiny-llama"))[1:]
    words = [HERE.get(word, str(tmp_path / "out") if word == "DIR" else word) for word in words]
    if "A" in words:
        kept = [str(finished.folder / "results" / "smoke")] * 2
        words = [word for word in words if word not in ("A", "B")] + kept
    if "--configfile" in words:
        place = words.index("--configfile")
        del words[place : place + 2]
    if words[0] == "plan" and not rates_path(finished.folder).exists():
        # This machine's rates take half a minute of both cores; tests/workflow/test_plan_of_a_run.py measures them.
        write_rates(rates_path(finished.folder), A100, {})
    own = [] if words[0] in NO_STUDY or "--published" in words else ["--configfile", str(SMOKE)]
    own += [] if words[0] in ("diff", "--version", "--help") else ["--directory", str(finished.folder)]
    command = [python(), "-m", "offcourse", *words, *own]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=finished.environment, check=False)
    assert done.returncode in (0, 1), f"{page}: {line}: {done.stderr}"
