"""The converted tables of the authors' release, packed and unpacked again (`archive.packed` says where they are).

A file per step holds the tables of every model and task, and `origins.parquet` says what each table was made from.
`make published ORIGINAL=1` converts the 901 original files anew and must give the tables that are packed here, byte for
byte; a test with the mirror does so. Beside the converted tables are the tables and numbers of figures that were made
from them, which the report of every study shows. No text of a question is packed.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.archive.manifest import MANIFEST
from offcourse.archive.packed import AGAIN, DIGESTS, ORIGINS, folder, whole
from offcourse.errors import OffcourseError
from offcourse.files import known_sha256, sha256, write_whole
from offcourse.graph.release import Release
from offcourse.graph.release_rules import CONVERTED
from offcourse.layout import Layout
from offcourse.provenance.records import read_record, relative
from offcourse.published.table import Made
from offcourse.schemas.io import read_unchecked

# Best compression of zstd: the files are written once and read by everyone.
LEVEL = 19


def tables(release: Release, group: str, name: str) -> Iterator[Made]:
    """The converted tables of one model of a group; `name` is what the authors call the model.

    Raises `OffcourseError` for a packed file that is missing or changed, or that was made from other released files
    than the manifest lists.
    """
    origins, *_ = behind(release.resources, "")
    listed = _read(whole(origins, release.resources), known_sha256(origins))
    mine = listed[(listed["group"] == group) & (listed["name"] == name)]
    for step, rows in mine.groupby("step", sort=False):
        *_, path = behind(release.resources, step)
        packed = _by_table(whole(path, release.resources), known_sha256(path))
        for row in rows.itertuples():
            _require_listed(release, origins, row)
            frame = packed[row.model, row.unit].reset_index(drop=True)
            yield Made(step, row.unit, frame, tuple(json.loads(row.files)), json.loads(row.notes))


# Cached, since one process unpacks many models. content: the sha256 of the file as it is now.
@cache
def _read(path: Path, content: str) -> pd.DataFrame:
    return read_unchecked(path)


@cache
def _by_table(path: Path, content: str) -> dict[tuple[str, str], pd.DataFrame]:
    """The tables of a packed file by model and unit."""
    packed = _read(path, content)
    return {key: rows.drop(columns=["model", "unit"]) for key, rows in packed.groupby(["model", "unit"], sort=False)}


def behind(resources: Path, step: str) -> list[Path]:
    """The packed files that the tables of a step are unpacked from."""
    return [folder(resources) / name for name in (ORIGINS, f"{step}.parquet")]


def pack(layout: Layout, target: Path) -> list[Path]:
    """Pack what `make published ORIGINAL=1` made below `results/published` into the folder `target`.

    Raises `OffcourseError` when results/published was unpacked and not converted, or is not complete.
    """
    release = Release(layout)
    origins, parts = [], {}
    for group in CONVERTED:
        named = {release.folder(name): name for name in release.names(group)}
        for step, model, unit in release.results_of(group):
            record = read_record(layout.record(step, model, unit))
            if "packed" in record["parameters"]:
                raise OffcourseError("results/published was unpacked. Run `make published ORIGINAL=1` before packing.")
            origins.append((group, step, model, unit, named[model], *_origin(release, record)))
            frame = read_unchecked(layout.artefact(step, ".parquet", model, unit))
            parts.setdefault(step, []).append(frame.assign(model=model, unit=unit))
    columns = ["group", "step", "model", "unit", "name", "files", "notes"]
    frames = {step: pd.concat(frames, ignore_index=True) for step, frames in parts.items()}
    written = [_write(target / ORIGINS, pd.DataFrame(origins, columns=columns))]
    written += [_write(target / f"{step}.parquet", frame) for step, frame in frames.items()]
    for name in shown_files(layout.results):
        written.append(_write(target / name, read_unchecked(layout.results / name)))
    lines = "".join(f"{path.relative_to(target).as_posix()}\t{sha256(path)}\n" for path in sorted(written))
    write_whole(target / DIGESTS, lambda path: path.write_text(f"file\tsha256\n{lines}", encoding="utf-8"))
    return [*written, target / DIGESTS]


def shown_files(results: Path) -> list[str]:
    """The tables and the numbers of figures of the release that a study's report shows, below a results folder."""
    # Imported here: it imports all rules of claims, and unpacking needs none.
    from offcourse.report.claims import EVIDENCE, RELEASED, TABLES

    names = [f"tables/table{number}.parquet" for number in TABLES] + [f"tables/{name}.parquet" for name in EVIDENCE]
    patterns = [f"figures/{pattern}.parquet" for patterns in RELEASED.values() for pattern in patterns]
    return names + [path.relative_to(results).as_posix() for each in patterns for path in sorted(results.glob(each))]


def _origin(release: Release, record: Mapping[str, Any]) -> tuple[str, str]:
    """The released files behind a converted table, with their sha256, and how the table was read: both as JSON."""
    released = relative(release.layout.downloads / "release", release.layout.base) + "/"
    files = {path.removeprefix(released): digest for path, digest in record["inputs"].items()}
    read = {key: value for key, value in record["parameters"].items() if key not in ("release", "name")}
    return json.dumps(files), json.dumps(read)


def _write(path: Path, frame: pd.DataFrame) -> Path:
    write_whole(path, lambda its: frame.to_parquet(its, index=False, compression="zstd", compression_level=LEVEL))
    return path


def _require_listed(release: Release, origins: Path, row: Any) -> None:
    """Refuse a table that was made from files other than those of the manifest."""
    for spec, digest in json.loads(row.files).items():
        listed = release.manifest.get(spec)
        if listed is None or listed.sha256 != digest:
            raise OffcourseError(
                f"{origins}: {row.step} of {row.model}, {row.unit} was made from a {spec} that {MANIFEST} does not "
                f"list with this sha256. {AGAIN}"
            )
