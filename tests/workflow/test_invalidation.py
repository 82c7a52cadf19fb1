"""Which jobs a change leads to: the workflow's plan, and `offcourse status` saying the same (`Lab.plan`)."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import forking
import pytest
import yaml
from lab import SMOKE, Lab, copy_checkout, jobs, named_by, reasons

from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS, steps_of
from offcourse.graph.products import PRODUCTS
from offcourse.graph.study_files import results_of
from offcourse.layout import Layout
from offcourse.run.products import make
from offcourse.study.config import read_study

MODEL = "tiny-llama"
# Both follow everything that is shown.
REPORT = ("report", "ro_crate")
SWEEPS = ("fv_sweep", "fv_controls")
ALL_STEPS = {"prompts", "icl", "head_means", "cie", "function_vectors", *SWEEPS, "task_vectors", "dola", "readings"}
PAGES = {"figure_sweep", "figure_cie", "figure_task_vectors"}  # a job per model
# Read the results of several methods.
JUDGED = ("certainty", "steering_summary", "sensitivity")
BEHIND_CLAIMS = {"recovery", "dola_changes", "head_overlap"}
# Made from the accuracy of function vectors.
RECOVERED = ("figure_overview", "figure_recovery", "figure_heads", "figure_choices", "figure_off_by_one", "off_by_one")
DRAWN = {"table3", "tables_dola", "tables_facts", *JUDGED, *RECOVERED, "figure_shots", "figure_lens", "figure_apathy"}
DRAWN |= BEHIND_CLAIMS
SHARED = {*DRAWN, *REPORT}


def of_model(*rules: str, model: str = MODEL) -> set[tuple[str, str]]:
    return {(rule, model) for rule in rules}


def of_study(*rules: str) -> set[tuple[str, str]]:
    return {(rule, "") for rule in rules}


EVERYTHING = of_model("check_model", *ALL_STEPS, *PAGES) | of_study(*SHARED)
AFTER_SWEEP = of_model("figure_sweep") | of_study("table3", "recovery", *JUDGED, *RECOVERED, *REPORT)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def edited(lab, tmp_path) -> Lab:
    """The finished study, run from a copy of the checkout that may be edited."""
    checkout = copy_checkout(tmp_path / "checkout")
    return Lab(lab.folder, checkout / "studies" / "smoke.yaml", checkout)


def names(shards: dict, but: dict) -> set[tuple[str, str, str]]:
    """Step, model and unit of the shards that are not among `but`."""
    return {shard[:3] for shard in shards.keys() - but.keys()}


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


def test_new_times_comments_and_branches_rerun_nothing(edited, tmp_path):
    """A checkout with new times, a copy of the results with new times, another branch and back, comments everywhere."""
    moved = tmp_path / "moved"
    subprocess.run(["cp", "-r", edited.folder, moved], check=True)  # in whatever order, all as new as can be
    again = Lab(moved, edited.configfile, edited.checkout)
    tree = edited.checkout
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "-m", "one")
    git(tree, "checkout", "--quiet", "-b", "other")
    for path in [*tree.glob("src/offcourse/**/*.py"), *tree.glob("workflow/scripts/*.py")]:
        path.write_text(
            "# A comment.\n\n" + path.read_text(encoding="utf-8") + "\n\n# Another one.\n", encoding="utf-8"
        )
    edit(tree / "src/offcourse/engine/run.py", '"""', '"""More words. ')
    assert again.plan() == set()
    git(tree, "commit", "--quiet", "--all", "-m", "other")
    git(tree, "checkout", "--quiet", "-")
    for path in tree.rglob("*"):
        path.touch()
    planned, states = again.plan_and_states()
    assert planned == set() and reasons(states) == {}


def test_an_edit_of_code_reruns_what_can_reach_it(edited):
    """Each edit alone, as `status` has it. The statement runs when its module is imported, so it counts."""
    source = edited.checkout / "src" / "offcourse"
    cases = {
        # one figure
        "figures/cie.py": of_model("figure_cie") | of_study(*REPORT),
        # the script of all tables and figures
        "../../workflow/scripts/product.py": of_model(*PAGES) | of_study(*DRAWN, *REPORT),
        # the engine: all but the prompts, which need a tokenizer only
        "engine/run.py": EVERYTHING - of_model("prompts"),
        # modules of DoLa alone
        "methods/dola.py": of_model("dola") | of_study("tables_dola", "dola_changes", *JUDGED, *REPORT),
        # the report's template is no Python
        "report/report.html.j2": of_study(*REPORT),
    }
    before = {name: (source / name).read_text(encoding="utf-8") for name in cases}

    def put(names) -> None:
        for name in names:
            more = "\nassert True\n" if name.endswith(".py") else "\n<!-- x -->\n"
            (source / name).write_text(before[name] + more, encoding="utf-8")

    def take_back() -> None:
        for name, text in before.items():
            (source / name).write_text(text, encoding="utf-8")

    for name, expected in cases.items():
        put([name])
        assert named_by(edited.states()) == expected, name
        take_back()
    # `snakemake -n` says the same of edits that have little in common.
    for some in (["figures/cie.py", "methods/dola.py", "report/report.html.j2"], ["engine/run.py"]):
        put(some)
        assert edited.plan() == set().union(*(cases[name] for name in some)), some
        take_back()


def test_a_switch_reruns_the_steps_that_read_it(lab, tmp_path):
    cases = {
        ("default_heads", "single"): of_study("table3", "recovery", "figure_recovery", "sensitivity", *REPORT),
        ("fv_output_bias", "excluded"): of_model("function_vectors", *SWEEPS) | AFTER_SWEEP,
        ("dola_divergence", "jensen_shannon"): of_model("dola")
        | of_study("tables_dola", "dola_changes", *JUDGED, *REPORT),
    }
    path = tmp_path / "study.yaml"

    def with_switches(*switches: tuple[str, str]) -> Lab:
        protocol = {"protocol": {"base": "as_published", **dict(switches)}}
        path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | protocol))
        return Lab(lab.folder, path)

    for switch, expected in cases.items():
        assert named_by(with_switches(switch).states()) == expected, switch
    assert with_switches(*cases).plan() == set().union(*cases.values())


def test_another_version_of_a_numerical_package_reruns_the_steps_that_import_it(lab, tmp_path):
    """The version is what the package's metadata says; here metadata of other versions stand first on the path."""
    packages = ("torch", "transformers")
    for package in packages:
        metadata = tmp_path / f"{package}-99.9.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.9\n")
    planned, states = Lab(lab.folder, packages=[tmp_path]).plan_and_states()
    assert planned == EVERYTHING - of_model("prompts")
    why = reasons(states)["check_model", MODEL, ""]
    for package in packages:
        assert any(each.startswith(f"package {package}: ") and each.endswith("-> 99.9") for each in why)


def test_damage_is_mended_from_the_store_or_made_again(lab):
    """Results and shards repair each other; only results that are damaged in both places are computed again."""

    def of(step: str, unit: str) -> tuple[Path, bytes, list[Path]]:
        """A result, its content, and its shards."""
        path = lab.results / MODEL / step / f"{unit}.parquet"
        whole = path.read_bytes()
        store = lab.folder / "results" / "store"
        return path, whole, [shard for shard in store.glob("*/*.parquet") if shard.read_bytes() == whole]

    lens, whole, shards = of("logit_lens", "misconceptions-mc")
    sweep, swept, _ = of("fv_sweep", "antonym")
    table = lab.results / "tables" / "table11.csv"
    # A damaged shard is put back from its result, a damaged result is copied from its shard.
    for shard in shards:
        shard.write_bytes(b"damaged")
    sweep.write_bytes(b"damaged")
    assert lab.plan() == set()
    done = lab.snakemake()
    assert "the shard is put back" in done.stderr and "it is copied from its shard" in done.stderr
    assert sweep.read_bytes() == swept and lab.status() == (0, {})
    assert all(shard.read_bytes() == whole for shard in shards)
    # Both are gone: that result is computed, the job's other one is not. A damaged table is made again.
    lens.write_bytes(b"damaged")
    for shard in shards:
        shard.unlink()
    table.write_bytes(table.read_bytes() + b"9")
    expected = of_model("readings") | of_study(
        "tables_facts", "figure_lens", "figure_apathy", "figure_overview", *REPORT
    )
    assert lab.plan() == expected
    done = lab.snakemake()
    assert done.returncode == 0, done.stderr
    assert lab.computed(expected) == {("logit_lens", MODEL, "misconceptions-mc")}
    assert lens.read_bytes() == whole and lab.status() == (0, {})
    assert lab.offcourse("audit", "--all").returncode == 0


def study_of(lab: Lab, **changes) -> None:
    lab.configfile.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | changes))


def start(lab: Lab, out: Path, *python: str) -> subprocess.Popen:
    """A run in a process group of its own, its messages in `out`. python: what starts it instead of Python."""
    _, *words = lab.command()
    with open(out, "w") as file:
        return subprocess.Popen(
            [*(python or [sys.executable]), *words],
            cwd=lab.checkout,
            env=lab.environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def wait_for(happened: Callable[[], bool], run: subprocess.Popen, out: Path) -> None:
    deadline = time.monotonic() + 600
    while not happened():
        assert run.poll() is None, out.read_text()
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.02)


OTHER = "tiny-other"


def another_model(lab: Lab) -> None:
    """A row of a model that is as MODEL is, of another seed."""
    registry = lab.checkout / "resources" / "models.tsv"
    row = next(line for line in registry.read_text().splitlines() if line.startswith(f"{MODEL}\t"))
    new = row.replace(f"{MODEL}\t", f"{OTHER}\t").replace("\trandom\tLlama\t0\t", "\trandom\tLlama\t1\t")
    registry.write_text(registry.read_text() + new + "\n")


def without_first(table: Path) -> None:
    """Take the first row out of a table."""
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(lines[:1] + lines[2:]), encoding="utf-8")


def test_of_a_grown_study_what_is_new_is_planned(edited):
    """A strength, a model and a word less: each alone, as `status` has it, then together."""
    grid = {"function_vectors": yaml.safe_load(SMOKE.read_text())["function_vectors"] | {"strengths": [1, 4, 2]}}
    on_words = ALL_STEPS - {"dola", "readings"}
    of_other = of_model("prepare_model", "check_model", *ALL_STEPS, *PAGES, model=OTHER)

    study_of(edited, **grid)
    assert named_by(edited.states()) == of_model(*SWEEPS) | AFTER_SWEEP

    another_model(edited)
    study_of(edited, models=[MODEL, OTHER])
    assert named_by(edited.states()) == of_other | of_study(*SHARED)

    study_of(edited)
    without_first(edited.checkout / "resources" / "words" / "antonyms.tsv")
    of_tables = of_study("table3", "recovery", "head_overlap", *JUDGED)
    states = edited.states()
    after = of_model(*PAGES) | of_tables | of_study("figure_shots", *RECOVERED, *REPORT)
    assert named_by(states) == of_model(*on_words) | after
    assert {task for step, _, task in reasons(states) if step in STEPS} == {"antonym"}

    study_of(edited, models=[MODEL, OTHER], **grid)
    assert edited.plan() == of_model(*on_words) | of_model(*PAGES) | of_other | of_study(*SHARED)


def test_a_grown_study_computes_what_is_new_also_when_killed_and_started_twice(edited, tmp_path):
    """A model more, a question more for the lens and one less for DoLa, in a study of another name that shares the
    store: run together, killed -9, continued, and disturbed by a second run."""
    another_model(edited)
    without_first(edited.checkout / "resources" / "questions" / "passages.tsv")
    grown = {"study": "grown", "models": [MODEL, OTHER], "methods": ["dola", "logit_lens"], "logit_lens": {"limit": 5}}
    study_of(edited, **grown)
    plan = edited.plan()
    of_models = {job for model in (MODEL, OTHER) for job in of_model("check_model", "dola", "readings", model=model)}
    assert of_models <= plan and ("prompts", MODEL) not in plan
    expected = {("dola", MODEL, "passages"), *((name, MODEL, "misconceptions-mc") for name in ("logit_lens", "apathy"))}
    study = read_study(edited.configfile)
    expected |= {(name, OTHER, unit) for name, step in steps_of(study).items() for unit in step.units(study)}

    log = edited.results / "logs" / "dola" / f"{OTHER}.log"
    at_first = edited.shards()
    run = start(edited, tmp_path / "one")
    wait_for(lambda: log.exists() and "misconceptions: computed" in log.read_text(), run, tmp_path / "one")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    when_killed = edited.shards()
    assert ("dola", OTHER, "misconceptions") in names(when_killed, but=at_first)

    run = start(edited, tmp_path / "two", forking.python())
    wait_for(lambda: "Execute" in (tmp_path / "two").read_text(), run, tmp_path / "two")
    refused = edited.snakemake()
    assert refused.returncode == 1
    assert "offcourse: another run is at work in" in refused.stderr and "Traceback" not in refused.stderr
    assert run.wait(timeout=600) == 0, (tmp_path / "two").read_text()
    executed = jobs((tmp_path / "two").read_text())
    assert of_study(*REPORT) <= executed <= plan
    assert jobs((tmp_path / "one").read_text()) | executed == plan
    at_last = edited.shards()
    assert names(at_last, but=at_first) == expected
    # What was there is neither computed nor written again.
    assert edited.computed(executed) == names(at_last, but=when_killed)
    assert when_killed.items() <= at_last.items()
    planned, states = edited.plan_and_states()
    assert planned == set() and reasons(states) == {}
    assert edited.offcourse("audit", "--all").returncode == 0


def column(name: str, cell: str, new: str) -> Callable[[Lab], None]:
    """Change a cell of a tracked table: that of `name`'s row in the column that `cell` heads."""

    def change(lab: Lab) -> None:
        path = lab.checkout / "resources" / f"{cell.partition('.')[0]}.tsv"
        head, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        [row] = [row for row in rows if row[0] == name]
        row[head.index(cell.partition(".")[2])] = new
        path.write_text("".join("\t".join(each) + "\n" for each in (head, *rows)), encoding="utf-8")

    return change


def test_a_cell_of_a_tracked_table_reruns_the_products_that_declare_it(edited):
    """Each cell alone, as `status` has it, then all of them."""
    cells = {
        ("antonym", "tasks.group", "from-english"): {
            *("table3", "recovery", "figure_recovery", "figure_heads", "sensitivity"),
            *REPORT,
        },
        # A set that no figure shows, and one in figures.
        ("passages", "questions.label", "Other"): set(REPORT),
        ("misconceptions-mc", "questions.label", "Other"): {"figure_lens", "figure_apathy", "figure_overview", *REPORT},
        ("antonym", "tasks.description", "Other words"): set(),
    }
    tables = [edited.checkout / "resources" / name for name in ("tasks.tsv", "questions.tsv")]
    for cell, wanted in cells.items():
        before = [table.read_bytes() for table in tables]
        column(*cell)(edited)
        assert named_by(edited.states()) == of_study(*wanted), cell
        for table, content in zip(tables, before, strict=True):
            table.write_bytes(content)
    for cell in cells:
        column(*cell)(edited)
    assert edited.plan() == of_study(*set().union(*cells.values()))


def test_figures_after_a_change_of_a_group_are_those_drawn_from_nothing(edited, tmp_path):
    """A task's group is in no file of results: status once said fresh where Figure 5 drawn anew differs.

    The random model has no few-shot accuracy, so its Figure 5 is empty; its Figure 3 has a row per group all the same.
    """
    names = {"figure_heads": "figure5", "figure_recovery": "figure3"}
    before = (edited.results / "figures" / "figure3.parquet").read_bytes()
    column("antonym", "tasks.group", "from-english")(edited)
    stale = {state["step"]: " ".join(state["why"]) for state in edited.states() if not state["fresh"]}
    assert all("parameter group of antonym: linguistic -> from-english" in stale[rule] for rule in names)
    done = edited.snakemake("--until", *names)
    assert done.returncode == 0, done.stderr
    study, layout = read_study(SMOKE), Layout("smoke")
    registry = Registry.load(edited.checkout / "resources")
    fresh = replace(results_of(study, registry, layout), folder=tmp_path / "fresh")
    shutil.copytree(edited.results, fresh.folder, ignore=shutil.ignore_patterns("figures", "tables"))
    for rule, figure in names.items():
        make(PRODUCTS[rule], fresh, PRODUCTS[rule].pages(study, registry, None))
        drawn = (fresh.folder / "figures" / f"{figure}.parquet").read_bytes()
        assert drawn == (edited.results / "figures" / f"{figure}.parquet").read_bytes()
    assert drawn != before


def test_a_models_label_redraws_what_shows_it_and_computes_nothing(edited):
    column(MODEL, "models.label", "Tiny")(edited)
    planned = edited.plan()
    assert ("figure_shots", "") in planned and ("report", "") in planned
    assert not {rule for rule, _ in planned} & {"check_model", *ALL_STEPS, "table3"}
