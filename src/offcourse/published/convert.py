"""Making the tables of the authors' release below `results/published/`, each with a record.

The tables are unpacked from the files that travel with the repository (`published.packed`), or converted from the
authors' original files. A group is the results of one method; the models of a group are done side by side.
`graph.release` lists the tables. The readers of original files are imported where one is read, since unpacking needs
none of them.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from typing import Any

import pandera.pandas as pa
import pyarrow

from offcourse.archive import paths
from offcourse.data.names import ARCHIVE
from offcourse.data.release_files import release_path
from offcourse.files import write_json
from offcourse.graph.release import APATHY_MODELS, CIE_TASKS, Release
from offcourse.graph.release_rules import NAME, script_of, targets_of
from offcourse.layout import Layout
from offcourse.provenance.records import Stopwatch, code_behind, hashes, write_record
from offcourse.provenance.sharing import host_as
from offcourse.published import packed
from offcourse.published.table import Made
from offcourse.schemas.io import write_parquet
from offcourse.schemas.released import (
    APATHY_MEANS,
    CIE_SHADES,
    LENS_MEANS,
    PREMATURE_LAYERS,
    PUBLISHED_DOLA,
    PUBLISHED_FV_SWEEP,
    PUBLISHED_ICL,
    PUBLISHED_TV_SWEEP,
)
from offcourse.store.fingerprint import freeze_imports, script_digest

SCHEMAS: dict[str, pa.DataFrameSchema] = {
    "fv_sweep": PUBLISHED_FV_SWEEP,
    "icl": PUBLISHED_ICL,
    "tv_sweep": PUBLISHED_TV_SWEEP,
    "tv_icl": PUBLISHED_ICL,
    "dola": PUBLISHED_DOLA,
    "premature_layers": PREMATURE_LAYERS,
    "logit_lens": LENS_MEANS,
    "apathy": APATHY_MEANS,
    "cie": CIE_SHADES,
}


def _function_vectors(release: Release, name: str) -> Iterator[Made]:
    from offcourse.archive import sweep

    tasks = release.sweep_tasks(name)
    found = sweep.read_sweeps(release.read, name, tasks, release.model(name))
    for task in tasks:
        each = found[task.name]
        files = (paths.page_path(name, task.name), task.release)
        files += (paths.MEANS,) if each.calibration == "means" else ()
        notes = {
            "calibration": each.calibration,
            "candidates": [list(pair) for pair in each.candidates],
            "missing": [list(setting) for setting in each.missing],
        }
        yield Made("fv_sweep", task.name, each.sweep, files, notes)
        yield Made("icl", task.name, each.shots, files, notes)


def _task_vectors(release: Release, name: str) -> Iterator[Made]:
    from offcourse.archive import task_vectors

    files = {kind: path for kind, path in paths.vector_paths(name).items() if path in release.manifest}
    row, tasks = release.known(name), release.vector_tasks()
    found = task_vectors.read_task_vectors(release.read, name, tasks, row.layers, "pickle" in files)
    for task, tables in found.items():
        for step, frame in zip(("tv_sweep", "tv_icl"), tables, strict=True):
            yield Made(step, task, frame, tuple(files.values()), {"pickle": "pickle" in files})


def _dola(release: Release, name: str) -> Iterator[Made]:
    from offcourse.archive import dola
    from offcourse.data.questions import load_questions

    row = release.known(name)
    for kind in sorted({run.questions for run in release.runs if run.model == name}):
        runs = [run for run in release.runs if (run.model, run.questions) == (name, kind)]
        asked = release.question_set(kind)
        questions = load_questions(asked, None, release.resources, release.layout.downloads)
        scores, layers, unused = dola.read_dola(release.read, runs, row, questions, release.manifest)
        counted = tuple(run.layers_path for run in runs if run.layers_path in release.manifest)
        files = (*(run.path for run in runs if run.path not in unused), *counted, asked.release)
        notes = {"unused": unused, "texts": int(scores["question"].nunique()), "of": len(questions)}
        yield Made("dola", asked.name, scores, files, notes)
        if kind == "tfqa":
            yield Made("premature_layers", asked.name, layers, files, notes)


def _readings(release: Release, name: str) -> Iterator[Made]:
    """The logit lens of a model, from the model's page, and its apathy, from the model's panel on the shared page."""
    from offcourse.archive import lens_pages
    from offcourse.data.questions import load_questions

    row, asked = release.known(name), release.question_set("lens")
    count = len(load_questions(asked, None, release.resources, release.layout.downloads))
    path = paths.lens_path(name)
    lens = lens_pages.read_lens_page(release.read(path), row.layers, count, path)
    yield Made("logit_lens", asked.name, lens, (path, asked.release), {"calibration": "ticks"})
    if row.label not in APATHY_MODELS:
        return
    page = paths.APATHY_PAGE
    layers = {each.label: each.layers for each in release.registry.models.values() if each.label in APATHY_MODELS}
    apathy = lens_pages.read_apathy_page(release.read(page), layers, count, page)[row.label]
    lens_pages.check_top(apathy, lens, f"{page}, {row.label}")
    notes = {"calibration": apathy["calibration"].iloc[0]}
    yield Made("apathy", asked.name, apathy, (page, path, asked.release), notes)


def _cie(release: Release, name: str) -> Iterator[Made]:
    from offcourse.archive import cie_pages

    row, path = release.known(name), paths.cie_path(name)
    found = cie_pages.read_cie_page(release.read(path), row.layers, row.heads, CIE_TASKS, path)
    for task, frame in found.items():
        yield Made("cie", task, frame, (path,), {"scale": bool(frame["effect"].notna().all())})


_CONVERT = {
    "function_vectors": _function_vectors,
    "task_vectors": _task_vectors,
    "dola": _dola,
    "readings": _readings,
    "cie": _cie,
}


@cache
def _release(layout: Layout) -> Release:
    """One object per process: it reads the registry, which takes longer than to unpack a model."""
    return Release(layout)


def _convert(group: str, layout: Layout, rule: str, original: bool, name: str) -> list[dict[str, Any]]:
    """Write the tables of one model and their records. Returns how each page of the sweep was read."""
    release, watch, said = _release(layout), Stopwatch(host_as("digest", layout.base)), []
    code, script = code_behind(*targets_of(rule, original)), script_digest(script_of(rule))
    freeze_imports(code["modules"])
    manifest = release.manifest
    folder, commit = release.folder(name), release.registry.sources[ARCHIVE].file
    for made in _CONVERT[group](release, name) if original else packed.tables(release, group, name):
        target = layout.artefact(made.step, ".parquet", folder, made.unit)
        write_parquet(target, made.frame, SCHEMAS[made.step])
        if original:
            read, more = [release_path(spec, layout.downloads) for spec in made.files], {}
        else:
            read = packed.behind(release.resources, made.step)
            more = {"packed": {spec: manifest[spec].sha256 for spec in made.files}}
        record = {
            "rule": rule,
            "wildcards": {"model": folder},
            "study": NAME,
            "step": made.step,
            "model": folder,
            "task": made.unit,
            "inputs": hashes(read, layout.base),
            "outputs": hashes([target], layout.base),
            "parameters": {"release": commit, "name": name, **made.notes, **more},
            "code": code,
            "script": script,
            "made": watch.made(),
        }
        write_record(layout.record(made.step, folder, made.unit), record)
        if made.step == "fv_sweep":
            said.append({"model": folder, "task": made.unit, **made.notes})
    return said


def convert(group: str, layout: Layout, rule: str, threads: int = 1, original: bool = False) -> None:
    """Write every table of a group and its record, `threads` models at a time.

    original: convert the authors' files, which were fetched before, in place of unpacking `resources/released`.
    Raises `OffcourseError` for a released or packed file that is missing, altered, or of another shape.
    """
    release, pages, watch = Release(layout), [], Stopwatch(host_as("digest", layout.base))
    names = release.names(group)
    # Each process has one core: arrow would start a thread per core and table.
    with ProcessPoolExecutor(threads, initializer=pyarrow.set_cpu_count, initargs=(1,)) as pool:
        for name, said in zip(names, pool.map(partial(_convert, group, layout, rule, original), names), strict=True):
            print(f"{group} {name}", file=sys.stderr, flush=True)
            pages += said
    if group == "function_vectors":
        write_json(release.listed, pages)
        _record_list(release, rule, pages, watch, original)


def _record_list(release: Release, rule: str, pages: list[dict[str, Any]], watch: Stopwatch, original: bool) -> None:
    """Write the record of digitised.json, whose inputs are the converted tables of all pages."""
    layout = release.layout
    tables = [layout.artefact("fv_sweep", ".parquet", page["model"], page["task"]) for page in pages]
    record = {
        "rule": rule,
        "wildcards": {},
        "study": NAME,
        "inputs": hashes(tables, layout.base),
        "outputs": hashes([release.listed], layout.base),
        "parameters": {} if original else {"packed": True},
        "code": code_behind(*targets_of(rule, original)),
        "script": script_digest(script_of(rule)),
        "made": watch.made(),
    }
    write_record(layout.rule_record(rule), record)
