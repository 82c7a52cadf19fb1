"""Which jobs a change leads to: the workflow's plan, and `offcourse status` saying the same (`Lab.plan`)."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from lab import SMOKE, Lab, copy_checkout, jobs

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
    assert edited.plan() == set()
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
    assert again.plan() == set()
    assert again.status() == (0, {})


def test_an_edit_of_code_reruns_what_can_reach_it(edited):
    """Each edit alone, taken back before the next. The statement runs when its module is imported, so it counts."""
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
    for name, expected in cases.items():
        path = source / name
        before = path.read_text(encoding="utf-8")
        path.write_text(before + ("\nassert True\n" if path.suffix == ".py" else "\n<!-- x -->\n"), encoding="utf-8")
        assert edited.plan() == expected, name
        path.write_text(before, encoding="utf-8")
    assert edited.plan() == set()


def test_a_switch_reruns_the_steps_that_read_it(lab, tmp_path):
    cases = {
        ("default_heads", "single"): of_study("table3", "recovery", "figure_recovery", "sensitivity", *REPORT),
        ("fv_output_bias", "excluded"): of_model("function_vectors", *SWEEPS) | AFTER_SWEEP,
        ("dola_divergence", "jensen_shannon"): of_model("dola")
        | of_study("tables_dola", "dola_changes", *JUDGED, *REPORT),
    }
    for (switch, value), expected in cases.items():
        path = tmp_path / "study.yaml"
        protocol = {"protocol": {"base": "as_published", switch: value}}
        path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | protocol))
        assert Lab(lab.folder, path).plan() == expected, switch


def test_another_version_of_a_numerical_package_reruns_the_steps_that_import_it(lab, tmp_path):
    """The version is what the package's metadata says; here metadata of another version stand first on the path."""
    for package in ("torch", "transformers"):
        other = tmp_path / package
        metadata = other / f"{package}-99.9.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.9\n")
        changed = Lab(lab.folder, packages=[other])
        assert changed.plan() == EVERYTHING - of_model("prompts")
        reasons = changed.status()[1]["check_model", MODEL, ""]
        assert any(why.startswith(f"package {package}: ") and why.endswith("-> 99.9") for why in reasons)


def test_damage_is_mended_from_the_store_or_made_again(lab):
    """Results and shards repair each other; only results that are damaged in both places are computed again."""
    sweep = lab.results / "tiny-llama" / "fv_sweep" / "antonym.parquet"
    table = lab.results / "tables" / "table3.csv"
    whole = sweep.read_bytes()
    shards = [path for path in (lab.folder / "results" / "store").glob("*/*.parquet") if path.read_bytes() == whole]
    for shard in shards:
        shard.write_bytes(b"damaged")
    assert lab.plan() == set()
    done = lab.snakemake()
    assert "the shard is put back" in done.stderr and lab.status() == (0, {})
    # A damaged result is copied from its shard.
    sweep.write_bytes(b"damaged")
    assert lab.plan() == set()
    done = lab.snakemake()
    assert "it is copied from its shard" in done.stderr and sweep.read_bytes() == whole and lab.status() == (0, {})
    # Both are gone: that result is computed, the other task's is not. A damaged table is drawn again.
    sweep.write_bytes(b"damaged")
    for shard in shards:
        shard.unlink()
    table.write_bytes(table.read_bytes() + b"9")
    assert lab.plan() == of_model("fv_sweep") | AFTER_SWEEP
    done = lab.snakemake()
    assert done.returncode == 0, done.stderr
    executed = of_model("fv_sweep") | AFTER_SWEEP
    assert lab.computed(executed) == {("fv_sweep", MODEL, "antonym")}
    assert sweep.read_bytes() == whole and lab.status() == (0, {})
    assert lab.offcourse("audit", "--all").returncode == 0


def study_of(lab: Lab, **changes) -> None:
    lab.configfile.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | changes))


def start(lab: Lab, out: Path) -> subprocess.Popen:
    """A run in a process group of its own, its messages in `out`."""
    with open(out, "w") as file:
        return subprocess.Popen(
            lab.command(), cwd=lab.checkout, env=lab.environment, stdout=file, stderr=file, start_new_session=True
        )


def wait_for(happened: Callable[[], bool], run: subprocess.Popen, out: Path) -> None:
    deadline = time.monotonic() + 600
    while not happened():
        assert run.poll() is None, out.read_text()
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.02)


def test_a_grown_study_computes_what_is_new_also_when_killed_and_started_twice(edited, tmp_path):
    """A strength, a model and a word less: planned one by one, then run together, killed -9, continued, and disturbed
    by a second run."""
    other = "tiny-other"
    words, registry = (edited.checkout / "resources" / name for name in ("words/antonyms.tsv", "models.tsv"))
    grid = {"function_vectors": yaml.safe_load(SMOKE.read_text())["function_vectors"] | {"strengths": [1, 4, 2]}}
    on_words = ALL_STEPS - {"dola", "readings"}

    study_of(edited, **grid)
    assert edited.plan() == of_model(*SWEEPS) | AFTER_SWEEP

    row = next(line for line in registry.read_text().splitlines() if line.startswith(f"{MODEL}\t"))
    new = row.replace(f"{MODEL}\t", f"{other}\t").replace("\trandom\tLlama\t0\t", "\trandom\tLlama\t1\t")
    registry.write_text(registry.read_text() + new + "\n")
    study_of(edited, models=[MODEL, other])
    of_other = of_model("prepare_model", "check_model", *ALL_STEPS, *PAGES, model=other)
    assert edited.plan() == of_other | of_study(*SHARED)

    study_of(edited)
    lines = words.read_text(encoding="utf-8").splitlines(keepends=True)
    words.write_text("".join(lines[:1] + lines[2:]), encoding="utf-8")
    of_tables = of_study("table3", "recovery", "head_overlap", *JUDGED)
    after = of_model(*PAGES) | of_tables | of_study("figure_shots", *RECOVERED, *REPORT)
    assert edited.plan() == of_model(*on_words) | after
    assert {task for step, _, task in edited.status()[1] if step in STEPS} == {"antonym"}

    study_of(edited, models=[MODEL, other], **grid)
    plan = edited.plan()
    assert plan == of_model(*on_words) | of_model(*PAGES) | of_other | of_study(*SHARED)
    on_tasks = {name: step for name, step in steps_of(read_study(edited.configfile)).items() if not step.on_questions}
    expected = {(name, MODEL, "antonym") for name in on_tasks} | {(name, MODEL, "present-past") for name in SWEEPS}
    study = read_study(edited.configfile)
    expected |= {(name, other, unit) for name, step in steps_of(study).items() for unit in step.units(study)}

    log = edited.results / "logs" / "icl" / f"{other}.log"
    at_first = edited.shards()
    run = start(edited, tmp_path / "one")
    wait_for(lambda: log.exists() and "antonym: computed" in log.read_text(), run, tmp_path / "one")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    when_killed = edited.shards()
    assert ("icl", other, "antonym") in names(when_killed, but=at_first)

    run = start(edited, tmp_path / "two")
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
    assert edited.plan() == set() and edited.status() == (0, {})
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


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            column("antonym", "tasks.group", "from-english"),
            {"table3", "recovery", "figure_recovery", "figure_heads", "sensitivity"},
        ),
        (column("passages", "questions.label", "Other"), REPORT),
        (column("misconceptions-mc", "questions.label", "Other"), {"figure_lens", "figure_apathy", "figure_overview"}),
        (column("antonym", "tasks.description", "Other words"), set()),
    ],
    ids=[
        "group of a task",
        "label of a set that no figure shows",
        "label of a set in figures",
        "description of a task",
    ],
)
def test_a_cell_of_a_tracked_table_reruns_the_products_that_declare_it(edited, change, wanted):
    change(edited)
    assert edited.plan() == of_study(*wanted, *(REPORT if wanted else ()))


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
