"""What is missing before a study can run on a cluster, found before anything is downloaded or submitted.

One message has all findings. Otherwise a user would mend one, run again, and only then hear of the next.
"""

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from offcourse.cluster.resources import Sizes
from offcourse.data.names import RESOURCES
from offcourse.data.pins import LOCK
from offcourse.data.registry import Registry
from offcourse.data.rows import Model, is_commit
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.models.bins import pickled
from offcourse.models.fetch import FILES, asked_of
from offcourse.models.hub import RefusedError
from offcourse.models.looked_up import LookedUp, look
from offcourse.models.manifest import read_manifest
from offcourse.plan.jobs import disk, downloads
from offcourse.study.check import unpinned
from offcourse.study.config import Study


def told(findings: Iterable[str]) -> str:
    """One message of all findings; "" without one."""
    found = list(dict.fromkeys(findings))
    if len(found) < 2:
        return "".join(found)
    return "\n".join([f"{len(found)} things are missing; nothing was submitted:", *(f"- {each}" for each in found)])


def missing(sizes: Sizes, registry: Registry, layout: Layout, models: Collection[str] | None = None) -> list[str]:
    """What keeps a study from running, one finding each: pins, room on cards, models that cannot be downloaded, disk.

    models: those that the run will prepare (None: all of the study). The hub is asked about pinned models that are not
    prepared yet.
    """
    study = sizes.study
    wanted = [registry.model(name) for name in study.models if models is None or name in models]
    absent = [model for model in wanted if not _is_there(model, registry, layout)]
    refused, sizes_of = _downloads(absent, layout)
    return [*unpinned(study, registry), *sizes.problems(), *refused, *_disk(study, registry, layout, absent, sizes_of)]


def _is_there(model: Model, registry: Registry, layout: Layout) -> bool:
    try:
        return read_manifest(layout.model_folder(model.name))["asked"] == asked_of(registry, model)
    except OffcourseError:
        return False


def _downloads(absent: Collection[Model], layout: Layout) -> tuple[list[str], dict[str, float]]:
    """What the hub refuses, and {model: bytes on disk} of the others."""
    findings, found = [], {}
    of_hub = [model for model in absent if model.source == "hub" and model.pinned]
    advice = (
        f"{len(of_hub)} models of the study are not in {layout.downloads / 'models'} yet, and the process that you "
        "start downloads them: run it where the hub can be reached (HF_ENDPOINT names another address of it)."
    )
    for model in of_hub:
        try:
            answer = look(model, advice)
            found[model.name] = _bytes(answer)
            if is_commit(model.revision) and answer.commit != model.revision:
                findings.append(
                    f"{model.name} ({model.repo}): {RESOURCES / LOCK} has commit {model.revision}, but the hub answers "
                    f"with {answer.commit}. Delete the model's row there and run `offcourse pin --configfile FILE`, "
                    "where FILE is the study's."
                )
        except RefusedError as error:
            findings.append(str(error))
        except OffcourseError as error:
            # It would say so about every other model too.
            return [*findings, str(error)], found
    return findings, found


def _bytes(answer: LookedUp) -> float:
    """Bytes on disk of a download; `.bin` files stay until their safetensors are written."""
    bins = pickled(answer.files)
    taken = sum(size for path, size in answer.files.items() if any(Path(path).match(pattern) for pattern in FILES))
    return taken + 2 * sum(answer.files[name] for name in bins)


def _disk(
    study: Study, registry: Registry, layout: Layout, absent: Collection[Model], known: dict[str, float]
) -> list[str]:
    """Whether the disk has room for models that are not there and, before the first run, for results."""
    try:
        expected = downloads(study, registry) | known
        results = 0.0 if layout.results.exists() else disk(study, registry)["results"]
    except OffcourseError:
        # A model without the facts for it is refused by the plan.
        return []
    models = sum(expected.get(model.name, 0.0) for model in absent)
    place = next(path for path in (layout.downloads.resolve(), *layout.downloads.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if models + results <= free:
        return []
    return [
        f"the disk of {place} has {free / 1e9:.3g} GB left; {len(absent)} models that are not prepared take "
        f"{models / 1e9:.3g} GB, and results {results / 1e9:.3g} GB. Make room, or run in a folder on another disk "
        "(--directory)."
    ]
