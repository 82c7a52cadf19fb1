"""Which rule a job is of, and below which folder its study lies: both from the declared place of a file that it makes.

A workflow that uses this one as a module may rename rules (`use rule * from offcourse as oc_*`) and put all paths below
a folder (`prefix:`); what it cannot change is the end of a path.
"""

from collections.abc import Mapping
from pathlib import Path

from offcourse.errors import OffcourseError
from offcourse.graph.keys import FETCHED
from offcourse.graph.products import PRODUCTS
from offcourse.graph.steps import STEPS
from offcourse.layout import Layout
from offcourse.study.config import Study


def place_of(path: str | Path, declared: Mapping[Path, str]) -> tuple[str, Path]:
    """The name whose declared path `path` ends with, and the folder that stands before it.

    Raises `OffcourseError` for a path that no declaration has.
    """
    parts = Path(path).parts
    for place, name in declared.items():
        if parts[-len(place.parts) :] == place.parts:
            return name, Path(*parts[: -len(place.parts)])
    raise OffcourseError(
        f"{path} is not where Offcourse has this file. A workflow that uses this one as a module may put another "
        "folder before its paths (prefix), but not replace parts of them (replace_prefix)."
    )


def rule_of(path: str | Path, study: Study, model: str | None) -> tuple[str, Path]:
    """Rule and working folder of the job of a study that makes `path`: its record, or else one of its outputs."""
    layout = Layout(study.study)
    declared = {layout.rule_record(name, model if each.per_model else None): name for name, each in PRODUCTS.items()}
    declared |= {layout.fetched(name): name for name in FETCHED}
    if model:
        declared[layout.receipt(model)] = "prepare_model"
        declared |= {
            layout.artefact(name, step.suffix, model, unit): step.rule
            for name, step in STEPS.items()
            for unit in step.units(study)
        }
    return place_of(path, declared)
