"""Differences between two studies, found in their records and tables alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.errors import OffcourseError, did_you_mean
from offcourse.graph.release_rules import NAME as RELEASE
from offcourse.graph.release_rules import ON_DEMAND
from offcourse.layout import command_for_release
from offcourse.provenance.records import fingerprint_of, read_record
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS, FACT_CELLS

Pair = list[Any]


def study_folder(name: str, base: Path) -> Path:
    """The folder of a study that was run, or of the release. name: its name below `base`/results, or its path."""
    candidates = [Path(base) / "results" / name, Path(name)]
    for folder in candidates:
        if (folder / "provenance").is_dir():
            return folder
    if name == RELEASE:
        raise OffcourseError(
            f"the authors' release is not in {candidates[0]}. Run `{command_for_release(base)}` first."
        )
    known = [path.parent.name for path in (Path(base) / "results").glob("*/provenance")]
    raise OffcourseError(
        f"there are no records of a study in {' or '.join(map(str, candidates))}; "
        + (did_you_mean(name, known) if known else "run one first, or give the folder results/NAME of one.")
    )


def differences_between(one: Path, other: Path) -> dict[str, Any]:
    """{kind: {name: [value in `one`, value in `other`]}} of everything that differs between two studies' folders.

    Two copies of the authors' release are compared like two studies.

    Kinds: `switches` of the protocol; `parameters`, settings that steps and tables read; `versions` of packages;
    `models`, with source, revision and weights (None if a study lacks the model); `code`, fingerprints by step or rule;
    `commits` of the checkout; `numbers`, cells of tables by table, row and column.

    Raises `OffcourseError` if one folder is a study and the other is the release.
    """
    sides = [_Summary(folder) for folder in (one, other)]
    if sides[0].released != sides[1].released:
        release, study = (one, other) if sides[0].released else (other, one)
        raise OffcourseError(
            f"{release} is the authors' release and {study} a study; diff compares two studies, or two copies of the "
            "release. For the numbers of both beside the paper's: `offcourse compare --configfile FILE`, where FILE is "
            "the study's. For the figures of both on one page: `snakemake side_by_side --cores all --configfile FILE`."
        )
    kinds = ("switches", "parameters", "versions", "models", "code", "commits", "numbers")
    return {kind: _unequal(*(getattr(side, kind) for side in sides)) for kind in kinds}


class _Summary:
    """The compared values of one study or of the release, collected from records and tables."""

    def __init__(self, folder: Path):
        self.switches: dict[str, Any] = {}
        self.parameters: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.models: dict[str, Any] = {}
        self.code: dict[str, Any] = {}
        self.released = False
        commits: set[str] = set()
        for path in sorted((folder / "provenance").rglob("*.json")):
            record = read_record(path)
            what = record.get("step", record["rule"])
            self.released |= record["study"] == RELEASE
            # Comparisons with the release are left out: their records hold the release's protocol, or none.
            if record["rule"] not in ON_DEMAND:
                self.switches |= record.get("protocol", {})
            # Report and crate are left out: they read the whole configuration, whose parts other records hold.
            if record["rule"] not in ("report", "ro_crate"):
                self.parameters |= {f"{what}.{key}": value for key, value in _settings(record).items()}
            self.versions |= record["made"]["packages"] | {"python": record["made"]["python"]}
            self.code[what] = fingerprint_of(record["code"])
            if "source" in record:
                source = record["source"]
                self.models[record["model"]] = f"{source['repo']} {source['revision']} {source['weights'][:12]}"
            git = record["made"]["git"]
            commits.add(f"{git['commit']}{' with changes' if git['dirty'] else ''}" if git["commit"] else "no git")
        self.commits = {"commits": sorted(commits)}
        self.numbers = {
            f"{path.stem} {cell.row} {cell.column}": getattr(cell, "text", None if pd.isna(cell.value) else cell.value)
            for path in sorted((folder / "tables").glob("table*.parquet"))
            for cell in read_parquet(path, CELLS, FACT_CELLS).itertuples()
        }


def _settings(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a record, without those that differ from page to page in records of the release."""
    settings = record["parameters"]
    return {key: settings[key] for key in ("release",) if key in settings} if record["study"] == RELEASE else settings


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Pair]:
    keys = dict.fromkeys((*one, *other))
    return {key: [one.get(key), other.get(key)] for key in keys if one.get(key) != other.get(key)}
