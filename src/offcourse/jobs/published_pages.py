"""Tables and figures of the authors' release, by the code that makes a study's, and their comparison with both.

Everything below `results/published/`, with a record each. The release's protocol is the published one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from offcourse import artefacts
from offcourse.analysis.sensitivity import Limits
from offcourse.errors import OffcourseError
from offcourse.jobs.drawings import template
from offcourse.jobs.published import APATHY_MODELS, CIE_TASKS, NAME, Release
from offcourse.jobs.published import TARGETS as GROUPS
from offcourse.jobs.published_rules import PAGES as TARGETS
from offcourse.layout import Layout
from offcourse.present import (
    contents,
    figure_apathy,
    figure_choices,
    figure_cie,
    figure_heads,
    figure_lens,
    figure_overview,
    figure_post_training,
    figure_recovery,
    figure_shots,
    figure_sweep,
    figure_task_vectors,
    report,
    table_facts,
    table_sensitivity,
    tables,
    tables_dola,
)
from offcourse.present.forms import SUFFIXES
from offcourse.provenance.records import Stopwatch, code_behind, hashes, write_record
from offcourse.published import compare
from offcourse.registry import RESOURCES
from offcourse.store.fingerprint import fingerprint, script_digest, settle
from offcourse.study.protocol import Protocol

# The function-vector result that the released code had computed last, when it came to task vectors: its Table 3 divides
# the first model's accuracies by it.
LAST = ("falcon-3-7b", "country-capital")
# Families whose tokenizers add a BOS by themselves, so that the released code read their heads one token too early.
ADD_BOS = ("Llama 1", "Llama 2", "Llama 3", "Llama 3.1", "Llama 3.2", "Mistral", "Amber", "Gemma 2")
# Pages of the sweep that the paper shows: Figures 4 and 17.
SWEEP_PAGES = (("mistral-7b-v0.3", "country-capital"), ("gpt-j-6b", "country-capital"))
FIGURES = {"figure13": "n_heads", "figure14": "strength", "figure15": "layer"}
# The models of the paper's figures of the logit lens, and of its heat maps of causal effects (Figures 9 and 10).
LENS_FIGURES = {
    "figure2": ("llama-7b", "pythia-6.9b", "llama-3-8b", "mistral-7b-v0.1"),
    "figure6": ("olmo-7b-0724-20b", "olmo-7b-0724-100b", "olmo-7b-0724-2700b", "olmo-7b-0724"),
    "figure7": ("llama-2-70b", "qwen2-7b", "gemma-2-9b"),
}
CIE_FIGURES = ("gpt-j-6b", "llama-3.1-8b")
NO_SCALE = "Here its means were read back from drawings; that of Llama-3 70B, in Figure 7, has no scale."
ONLY_SHADES = (
    "The release has shades of a drawing only: the place of each head between the least and the largest effect of the "
    "task, without a zero; the task with numbers in its title has a scale."
)
# Parts of figures that the release cannot give, and why.
NOT_RELEASED = {
    "figure7": "Llama-3 70B: its only drawing is a panel whose vertical axis has no labels, and no page of its own was "
    "released. The top of the axis is 1 as in the other panels, but nothing says where 0 is.",
    "figure8": "means before they were scaled to 0..1, and their intervals: only the scaled ones were drawn",
    "figure9": "effects as numbers (also Figure 10): shades give the order of the heads of a task, to 1/256 of the "
    "range between its least and its largest effect; only the last task of a page has a scale. Present-past and "
    "country-capital were not drawn.",
    "figure11": "10-shot accuracy: only its mean over a model's tasks was drawn",
    "figure17": "single items: the pages are of counts",
}


def models_of(release: Release, group: str) -> list[str]:
    """The models of a group that the registry has, in the order of its table, which is the paper's."""
    named = {row.name for row in map(release.model, release.names(group)) if row}
    return [name for name in release.registry.models if name in named]


def all_models(release: Release) -> list[str]:
    """Those of all groups."""
    named = {name for group in GROUPS for name in models_of(release, group)}
    return [name for name in release.registry.models if name in named]


def tasks_of(release: Release, method: str) -> list[str]:
    """The tasks of function vectors or of task vectors."""
    return [task.name for task in release.registry.tasks.values() if task.releases[method]]


def outputs(release: Release, rule: str) -> list[Path]:
    """The files of a rule, without its record."""
    results = release.layout.results
    if rule == "published_models":
        return [results / name / "model.json" for name in all_models(release)]
    if rule == "published_table3":
        return _tables(results, [3])
    if rule == "published_tables_dola":
        return _tables(results, list(tables_dola.CAPTIONS))
    if rule == "published_sensitivity":
        return [results / "tables" / f"sensitivity.{suffix}" for suffix in ("parquet", "csv", "md")]
    if rule == "published_comparison":
        return comparison_files(results)
    if rule == "published_report":
        return [results / "report.html"]
    if rule == "published_tables_facts":
        return _tables(results, list(table_facts.NUMBERS))
    stems = [figure.args[-1] for job in drawings(release) for figure in job]
    return [*(path for stem in stems for path in picture(stem)), results / "figures" / "not_released.json"]


def picture(stem: Path) -> list[Path]:
    """The files of a figure."""
    return [stem.parent / f"{stem.name}.{suffix}" for suffix in ("svg", "png", "parquet")]


def sweep_page(results: Path, page: str) -> partial:
    """The drawing of a page of the sweep, called {model}_{task}. Raises `OffcourseError` for one that is none."""
    model, _, task = page.partition("_")
    if not task or not (results / model / "fv_sweep" / f"{task}.parquet").exists():
        raise OffcourseError(f"the release has no sweep {page!r}; expected {{model}}_{{task}}, as gpt-j-6b_antonym")
    return partial(figure_sweep.draw, results, model, task, results / "figures" / "figure17" / page)


def comparison_files(results: Path) -> list[Path]:
    """Where the comparison goes: of the release beside its tables' folder, of a study among its tables."""
    folder = results if results.name == NAME else results / "tables"
    return [folder / "comparison.parquet", folder / "comparison.csv"]


def _tables(results: Path, numbers: list[int]) -> list[Path]:
    return [results / "tables" / f"table{number}.{suffix}" for number in numbers for suffix in SUFFIXES]


def code_of(rule: str) -> str:
    """Digest of the code behind a rule and of its script; of the report's also that of its templates."""
    return f"{fingerprint(TARGETS[rule])} {script_digest(rule)} {template() if rule == 'published_report' else ''}"


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
    settle(code["modules"])
    write()
    record = {
        "rule": rule,
        "wildcards": {"page": page} if page else {},
        "study": layout.study,
        "inputs": hashes(map(Path, inputs), layout.base),
        "outputs": hashes(files, layout.base),
        "parameters": {},
        "protocol": (protocol or Protocol()).model_dump(),
        "code": code,
        "script": program,
        "made": watch.made(),
    }
    write_record(layout.rule_record(rule, page), record)


def pages_of(release: Release) -> list[contents.Figure]:
    """The pictures among them that a study has as well, for the report."""
    models, tasks = models_of(release, "function_vectors"), tasks_of(release, "function_vectors")
    vectors, asked = models_of(release, "task_vectors"), release.question_set("lens").name
    methods = ("function_vectors", "task_vectors", "logit_lens")
    pages = contents.figures(models, tasks, methods, (asked,), release.registry.post_training(vectors), vectors)
    drawn = set(outputs(release, "published_figures"))
    return [each for page in pages for each in _as_released(page) if release.layout.results / each["svg"] in drawn]


def _as_released(page: contents.Figure) -> Iterator[contents.Figure]:
    """A page of a study as the release has it: the lens in three, and of heat maps only the shades."""
    if page["figure"] == "figure2":
        for name in LENS_FIGURES:
            stem = page["id"].replace("figure2", name)
            said = f"{page['explanation']} {NO_SCALE}"
            yield contents.Figure({**page, "id": stem, "svg": f"figures/{stem}.svg", "explanation": said})
    elif page["figure"] == "figure9":
        yield contents.Figure({**page, "explanation": f"{page['explanation']} {ONLY_SHADES}"})
    else:
        yield page


def write_models(release: Release) -> None:
    """`model.json` of every released model: what models.tsv says of it. No weights were read."""
    for name in all_models(release):
        facts: Mapping[str, Any] = json.loads(json.dumps(asdict(release.registry.model(name))))
        artefacts.write_json(release.layout.results / name / "model.json", facts)


def write_table3(release: Release) -> None:
    """Table 3."""
    protocol = Protocol()
    results, groups = release.layout.results, {task.name: task.group for task in release.registry.tasks.values()}
    tables.table3(
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
    tables_dola.write(results, models_of(release, "dola"), sets, False, False, results / "tables")


def write_tables_facts(release: Release) -> None:
    """Tables 11 and 12."""
    results = release.layout.results
    table_facts.write(results, all_models(release), results / "tables", loaded=False)


def draw_sweep_page(inputs: list[str], page: str, layout: Layout) -> None:
    """Draw one more page of the sweep and write its record."""
    draw = sweep_page(layout.results, page)
    recorded("published_sweep_page", layout, inputs, picture(draw.args[-1]), draw, page=page)


def write_sensitivity(release: Release) -> None:
    """What each protocol switch moves, of those that released numbers allow to turn."""
    scopes = {
        method: (models_of(release, method), tasks_of(release, method))
        for method in ("function_vectors", "task_vectors")
    }
    sets = [(row.name, row.form) for row in (release.question_set(kind) for kind in ("tfqa", "factor"))]
    results = table_sensitivity.Results(
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
    table_sensitivity.write(results, Protocol(), adds_bos, release.layout.results / "tables", limits)


def drawings(release: Release) -> list[list[partial]]:
    """Every figure that the release can give, as calls whose last argument is its path without a suffix.

    Figures of one list read the same results, which one process then reads once.
    """
    results, registry = release.layout.results, release.registry
    figures, protocol = results / "figures", Protocol()
    models, tasks = models_of(release, "function_vectors"), tasks_of(release, "function_vectors")
    scopes = {
        method: (models_of(release, method), tasks_of(release, method))
        for method in ("function_vectors", "task_vectors")
    }
    groups = {task.name: task.group for task in registry.tasks.values()}
    vectors, its_tasks = scopes["task_vectors"]
    pairs, asked = registry.post_training(vectors), release.question_set("lens").name
    apathy = [row.name for row in registry.models.values() if row.label in APATHY_MODELS]
    rows = {"logit_lens": figure_overview.Row(models_of(release, "readings"), [asked])}
    rows |= {method: figure_overview.Row(*scope) for method, scope in scopes.items()}
    heads = models, tasks, groups, registry.post_training(models)
    wide = [
        partial(figure_recovery.draw, results, scopes, groups, protocol.model_dump(), figures / "figure3"),
        partial(figure_heads.draw, results, *heads, figures / "figure5"),
        *(partial(figure_choices.draw, results, models, tasks, what, figures / name) for name, what in FIGURES.items()),
        partial(figure_shots.draw, results, models, tasks, figures / "figure11"),
    ]
    change = results, pairs, its_tasks, groups, protocol.tv_direction
    single = [
        partial(figure_overview.draw, results, rows, figures / "figure1"),
        partial(figure_post_training.draw, *change, figures / "figure16"),
        *(partial(figure_sweep.draw, results, *page, figures / "figure17" / "_".join(page)) for page in SWEEP_PAGES),
        *(
            partial(figure_lens.draw, results, shown, asked, figures / name / asked)
            for name, shown in LENS_FIGURES.items()
        ),
        partial(figure_apathy.draw, results, apathy, asked, figures / "figure8" / asked),
        *(partial(figure_cie.draw, results, name, CIE_TASKS, figures / "figure9" / name) for name in CIE_FIGURES),
        *(
            partial(figure_task_vectors.draw, results, model, its_tasks, figures / "figure18" / model)
            for model in vectors
        ),
    ]
    return [wide, *([each] for each in single)]


def draw_figures(release: Release, threads: int = 1) -> None:
    """Draw them, `threads` lists at a time, and list what cannot be drawn with the reason."""
    with ProcessPoolExecutor(max_workers=threads) as pool:
        list(pool.map(_draw, drawings(release)))
    artefacts.write_json(release.layout.results / "figures" / "not_released.json", NOT_RELEASED)


def _draw(job: list[partial]) -> None:
    for figure in job:
        figure()


def write_report(release: Release) -> None:
    """The report of the release alone."""
    from offcourse.jobs.published_audit import ReleaseAudit

    results, audit = release.layout.results, ReleaseAudit(release.layout.base)
    listed, pages = contents.tables(("function_vectors", "task_vectors", "dola")), pages_of(release)
    names = dict.fromkeys([*(table["id"] for table in listed), *(page["figure"] for page in pages), "sensitivity"])
    report.write(
        results,
        None,
        pages,
        listed,
        [],
        results / "report.html",
        audits={name: audit.summary(name) for name in names},
        comparison=artefacts.read_parquet(results / "comparison.parquet", compare.COMPARISON),
        released=results,
    )


def write_comparison(published: Path, study: Path | None, resources: Path = RESOURCES) -> None:
    """The comparison as parquet and csv, see `published.compare`."""
    frame = compare.comparison(published, study, resources)
    parquet, csv = comparison_files(study or published)
    artefacts.write_parquet(parquet, frame, compare.COMPARISON)
    artefacts.write_whole(csv, lambda path: frame.to_csv(path, index=False, encoding="utf-8"))
