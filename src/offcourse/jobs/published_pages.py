"""Tables and figures of the authors' release, by the code that makes a study's, and their comparison with both.

Everything below `results/published/`, with a record each. The release's protocol is the published one.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from offcourse import artefacts
from offcourse.analysis.sensitivity import Limits
from offcourse.jobs.published import NAME, Release
from offcourse.layout import Layout
from offcourse.present import (
    contents,
    figure_choices,
    figure_post_training,
    figure_recovery,
    figure_shots,
    figure_sweep,
    figure_task_vectors,
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

TARGETS = {
    "published_models": "offcourse.jobs.published_pages:write_models",
    "published_table3": "offcourse.present.tables:table3",
    "published_tables_dola": "offcourse.present.tables_dola:write",
    "published_figures": "offcourse.jobs.published_pages:draw_figures",
    "published_sensitivity": "offcourse.present.table_sensitivity:write",
    "published_comparison": "offcourse.published.compare:comparison",
}
TARGETS["comparison"] = TARGETS["published_comparison"]
# The function-vector result that the released code had computed last, when it came to task vectors: its Table 3 divides
# the first model's accuracies by it.
LAST = ("falcon-3-7b", "country-capital")
# Families whose tokenizers add a BOS by themselves, so that the released code read their heads one token too early.
ADD_BOS = ("Llama 1", "Llama 2", "Llama 3", "Llama 3.1", "Llama 3.2", "Mistral", "Amber", "Gemma 2")
# Pages of the sweep that the paper shows: Figures 4 and 17.
SWEEP_PAGES = (("mistral-7b-v0.3", "country-capital"), ("gpt-j-6b", "country-capital"))
FIGURES = {"figure13": "n_heads", "figure14": "strength", "figure15": "layer"}
# Figures that the release cannot give, and why.
NOT_RELEASED = {
    "figure2": "samples of the logit lens were not released, only drawings of their means (also Figures 6 and 7)",
    "figure8": "apathy of single questions was not released, only a drawing of its means",
    "figure9": "causal indirect effects were not released, only pictures of them (also Figure 10)",
}


def models_of(release: Release, group: str) -> list[str]:
    """The models of a group that the registry has, in the order of its table, which is the paper's."""
    named = {row.name for row in map(release.model, release.names(group)) if row}
    return [name for name in release.registry.models if name in named]


def all_models(release: Release) -> list[str]:
    """Those of all groups."""
    named = {name for group in ("function_vectors", "task_vectors", "dola") for name in models_of(release, group)}
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
    stems = [results / "figures" / name for name in ("figure3", "figure11", *FIGURES, "figure16")]
    stems += [_sweep_stem(results, *page) for page in SWEEP_PAGES]
    stems += [results / "figures" / "figure18" / name for name in models_of(release, "task_vectors")]
    drawn = [stem.parent / f"{stem.name}.{suffix}" for stem in stems for suffix in ("svg", "png", "parquet")]
    return [*drawn, results / "figures" / "not_released.json"]


def comparison_files(results: Path) -> list[Path]:
    """Where the comparison goes: of the release beside its tables' folder, of a study among its tables."""
    folder = results if results.name == NAME else results / "tables"
    return [folder / "comparison.parquet", folder / "comparison.csv"]


def _tables(results: Path, numbers: list[int]) -> list[Path]:
    return [results / "tables" / f"table{number}.{suffix}" for number in numbers for suffix in SUFFIXES]


def _sweep_stem(results: Path, model: str, task: str) -> Path:
    return results / "figures" / "figure17" / f"{model}_{task}"


def code_of(rule: str) -> str:
    """Digest of the code behind a rule and of its script."""
    return f"{fingerprint(TARGETS[rule])} {script_digest(rule)}"


def make(rule: str, inputs: list[str], layout: Layout) -> None:
    """Run one rule of the release and write its record."""
    release = Release(layout)
    write = {
        "published_models": write_models,
        "published_table3": write_table3,
        "published_tables_dola": write_tables_dola,
        "published_sensitivity": write_sensitivity,
        "published_figures": draw_figures,
        "published_comparison": lambda release: write_comparison(release.layout.results, None),
    }[rule]
    recorded(rule, layout, inputs, outputs(release, rule), lambda: write(release))


def compare_study(inputs: list[str], layout: Layout) -> None:
    """Write a study's comparison and its record."""
    published = Layout(NAME, layout.base).results
    files = comparison_files(layout.results)
    recorded("comparison", layout, inputs, files, lambda: write_comparison(published, layout.results))


def recorded(rule: str, layout: Layout, inputs: list[str], files: list[Path], write: Callable[[], None]) -> None:
    """Call `write`, which makes `files` from `inputs`, and note it."""
    watch = Stopwatch()
    code, program = code_behind(TARGETS[rule]), script_digest(rule)
    settle(code["modules"])
    write()
    record = {
        "rule": rule,
        "wildcards": {},
        "study": layout.study,
        "inputs": hashes(map(Path, inputs), layout.base),
        "outputs": hashes(files, layout.base),
        "parameters": {},
        "protocol": Protocol().model_dump(),
        "code": code,
        "script": program,
        "made": watch.made(),
    }
    write_record(layout.rule_record(rule), record)


def pages_of(release: Release) -> list[contents.Figure]:
    """The pictures among them that a study has as well, for the report."""
    models, tasks = models_of(release, "function_vectors"), tasks_of(release, "function_vectors")
    vectors = models_of(release, "task_vectors")
    methods = ("function_vectors", "task_vectors")
    pages = contents.figures(models, tasks, methods, (), release.registry.post_training(vectors), vectors)
    drawn = set(outputs(release, "published_figures"))
    return [page for page in pages if release.layout.results / page["svg"] in drawn]


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


def draw_figures(release: Release) -> None:
    """Every figure that the release can give, and a list of the others with the reason."""
    results, registry = release.layout.results, release.registry
    figures = results / "figures"
    models, tasks = models_of(release, "function_vectors"), tasks_of(release, "function_vectors")
    figure_shots.draw(results, models, tasks, figures / "figure11")
    for figure, what in FIGURES.items():
        figure_choices.draw(results, models, tasks, what, figures / figure)
    for page in SWEEP_PAGES:
        figure_sweep.draw(results, *page, _sweep_stem(results, *page))
    scopes = {
        method: (models_of(release, method), tasks_of(release, method))
        for method in ("function_vectors", "task_vectors")
    }
    groups = {task.name: task.group for task in registry.tasks.values()}
    switches = {name: getattr(Protocol(), name) for name in ("tv_average", "tv_direction")}
    figure_recovery.draw(results, scopes, groups, switches, figures / "figure3")
    models, tasks = scopes["task_vectors"]
    pairs, direction = registry.post_training(models), Protocol().tv_direction
    figure_post_training.draw(results, pairs, tasks, groups, direction, figures / "figure16")
    for model in models:
        figure_task_vectors.draw(results, model, tasks, figures / "figure18" / model)
    artefacts.write_json(figures / "not_released.json", NOT_RELEASED)


def write_comparison(published: Path, study: Path | None, resources: Path = RESOURCES) -> None:
    """The comparison as parquet and csv, see `published.compare`."""
    frame = compare.comparison(published, study, resources)
    parquet, csv = comparison_files(study or published)
    artefacts.write_parquet(parquet, frame, compare.COMPARISON)
    artefacts.write_whole(csv, lambda path: frame.to_csv(path, index=False, encoding="utf-8"))
