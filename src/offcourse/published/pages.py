"""Tables and figures of the authors' release, by the code that makes a study's, and their comparison with both.

Everything below `results/published/`, with a record each. The release's protocol is the published one.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from offcourse.analysis import comparison
from offcourse.claims.sensitivity import Limits
from offcourse.files import write_whole
from offcourse.graph import catalogue
from offcourse.graph.release_rules import NAME, parameters_of
from offcourse.graph.release_rules import PAGES as TARGETS
from offcourse.layout import Layout, picture_files
from offcourse.provenance.records import Stopwatch, code_behind, hashes, write_record
from offcourse.published.drawings import draw_figures, sweep_page
from offcourse.published.figures import pages_of
from offcourse.published.files import comparison_files, outputs
from offcourse.published.release import Release, all_models, models_of, tasks_of, write_models
from offcourse.report import page as report
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.store.fingerprint import freeze_imports, script_digest
from offcourse.study.protocol import Protocol
from offcourse.tables import dola, model_facts, sensitivity, table3

# The function-vector result that the released code had computed last, when it came to task vectors: its Table 3 divides
# the first model's accuracies by it.
LAST = ("falcon-3-7b", "country-capital")
# Families whose tokenizers add a BOS by themselves, so that the released code read their heads one token too early.
ADD_BOS = ("Llama 1", "Llama 2", "Llama 3", "Llama 3.1", "Llama 3.2", "Mistral", "Amber", "Gemma 2")


def make(rule: str, inputs: list[str], layout: Layout, threads: int = 1) -> None:
    """Run one rule of the release and write its record."""
    release = Release(layout)
    write = {
        "published_models": write_models,
        "published_table3": write_table3,
        "published_tables_dola": write_tables_dola,
        "published_sensitivity": write_sensitivity,
        "published_tables_facts": write_tables_facts,
        "published_figures": partial(draw_figures, threads=threads),
        "published_comparison": lambda release: write_comparison(release.layout.results, None),
        "published_report": write_report,
    }[rule]
    recorded(rule, layout, inputs, outputs(release, rule), lambda: write(release))


def compare_study(inputs: list[str], layout: Layout) -> None:
    """Write a study's comparison and its record."""
    published = Layout(NAME, layout.base).results
    files = comparison_files(layout.results)
    recorded("comparison", layout, inputs, files, lambda: write_comparison(published, layout.results))


def recorded(
    rule: str,
    layout: Layout,
    inputs: list[str],
    files: list[Path],
    write: Callable[[], None],
    protocol: Protocol | None = None,
    page: str | None = None,
) -> None:
    """Call `write`, which makes `files` from `inputs`, and note it.

    protocol: a study's, None the published one. page: which of its pages, of a rule with many.
    """
    watch = Stopwatch()
    code, program = code_behind(TARGETS[rule]), script_digest(rule)
    freeze_imports(code["modules"])
    write()
    record = {
        "rule": rule,
        "wildcards": {"page": page} if page else {},
        "study": layout.study,
        "inputs": hashes(map(Path, inputs), layout.base),
        "outputs": hashes(files, layout.base),
        "parameters": parameters_of(rule),
        "protocol": (protocol or Protocol()).model_dump(),
        "code": code,
        "script": program,
        "made": watch.made(),
    }
    write_record(layout.rule_record(rule, page), record)


def write_table3(release: Release) -> None:
    """Table 3."""
    protocol = Protocol()
    results, groups = release.layout.results, {task.name: task.group for task in release.registry.tasks.values()}
    table3.table3(
        results,
        models_of(release, "function_vectors"),
        tasks_of(release, "function_vectors"),
        protocol.default_heads,
        results / "tables",
        groups=groups,
        tv_switches={name: getattr(protocol, name) for name in ("tv_denominator", "tv_direction", "tv_score")},
        tv_scope=(models_of(release, "task_vectors"), tasks_of(release, "task_vectors")),
        last=LAST,
    )


def write_tables_dola(release: Release) -> None:
    """Tables 1, 2 and 4 to 10."""
    sets = [(row.name, row.form) for row in (release.question_set(kind) for kind in ("tfqa", "factor"))]
    results = release.layout.results
    dola.write(results, models_of(release, "dola"), sets, False, False, results / "tables")


def write_tables_facts(release: Release) -> None:
    """Tables 11 and 12."""
    results = release.layout.results
    model_facts.write(results, all_models(release), results / "tables", loaded=False)


def draw_sweep_page(inputs: list[str], page: str, layout: Layout) -> None:
    """Draw one more page of the sweep and write its record."""
    draw = sweep_page(layout.results, page)
    recorded("published_sweep_page", layout, inputs, picture_files(draw.args[-1]), draw, page=page)


def write_sensitivity(release: Release) -> None:
    """What each protocol switch moves, of those that released numbers allow to turn."""
    scopes = {
        method: (models_of(release, method), tasks_of(release, method))
        for method in ("function_vectors", "task_vectors")
    }
    sets = [(row.name, row.form) for row in (release.question_set(kind) for kind in ("tfqa", "factor"))]
    results = sensitivity.Results(
        release.layout.results,
        **scopes,
        groups={task.name: task.group for task in release.registry.tasks.values()},
        dola=(models_of(release, "dola"), sets),
        last=LAST,
    )
    families = {name: release.registry.model(name).family for name in scopes["function_vectors"][0]}
    adds_bos = {name: family in ADD_BOS for name, family in families.items()}
    limits = Limits(
        cannot={"selection": {3: "needs single items, which were not released of function vectors"}},
        # Its test accuracy is in a pickle that is not at hand (docs/published.md).
        without={"tv_score": ["qwen2-72b"]},
    )
    sensitivity.write(results, Protocol(), adds_bos, release.layout.results / "tables", limits)


def write_report(release: Release) -> None:
    """The report of the release alone."""
    from offcourse.published.audit import ReleaseAudit

    results, audit = release.layout.results, ReleaseAudit(release.layout.base)
    listed, pages = catalogue.tables(("function_vectors", "task_vectors", "dola")), pages_of(release)
    names = dict.fromkeys([*(table["id"] for table in listed), *(page["figure"] for page in pages), "sensitivity"])
    report.write(
        results,
        None,
        pages,
        listed,
        [],
        results / "report.html",
        audits={name: audit.summary(name) for name in names},
        comparison=read_parquet(results / "comparison.parquet", comparison.COMPARISON),
        released=results,
    )


def write_comparison(published: Path, study: Path | None) -> None:
    """The comparison as parquet and csv, see `analysis.comparison`."""
    frame = comparison.comparison(published, study)
    parquet, csv = comparison_files(study or published)
    write_parquet(parquet, frame, comparison.COMPARISON)
    write_whole(csv, lambda path: frame.to_csv(path, index=False, encoding="utf-8"))
