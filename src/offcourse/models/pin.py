"""Pinning hub models: writing the commit that each branch or tag in models.tsv means today to a lock kept in git."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from datetime import UTC
from pathlib import Path

from offcourse.data.pins import Pin, read_lock
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.files import write_whole
from offcourse.models.hub import RefusedError, asking

UNKNOWN = "not stated"


def pin(models: Mapping[str, Model], names: Sequence[str], lock: Path, update: bool = False) -> list[str]:
    """Pin the hub models among `names` in the lock; returns the names of the models that the hub was asked about.

    models: the whole table with its own revisions (`Registry.load(locked=False)`). update: ask about every model;
    without it, a model whose repo and revision are in the lock keeps its commit. Rows of the lock that fit no model are
    removed. Without a hub model among `names` there is nothing to pin, and nothing is written.

    The lock is written whole or not at all. Raises `OffcourseError` when the hub cannot be reached, and otherwise one
    error that names every refused model and says what to do.
    """
    if not any(models[name].source == "hub" for name in names):
        return []
    known = {
        name: row
        for name, row in read_lock(lock).items()
        if name in models and (row.repo, row.revision) == (models[name].repo, models[name].revision)
    }
    asked = [name for name in names if models[name].source == "hub" and (update or name not in known)]
    problems = []
    for name in asked:
        try:
            known[name] = _resolve(models[name])
        except RefusedError as error:
            problems.append(str(error))
    if problems:
        raise OffcourseError("\n".join([*problems, f"Nothing was pinned; {lock} is as it was."]))
    rows = [astuple(known[name]) for name in models if name in known]
    header = tuple(field.name for field in fields(Pin))
    text = "".join("\t".join(row) + "\n" for row in [header, *rows])
    write_whole(lock, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return asked


def _resolve(model: Model) -> Pin:
    """The commit that a model's revision means, after a check that this machine's token may download the files."""
    where = f"{model.name} ({model.repo})"
    unreachable = (
        f"the hub cannot be asked about {where} ({{reason}}). Run `offcourse pin` where it can be reached (HF_ENDPOINT "
        "names another address of it), and commit the lock. Nothing was pinned."
    )
    with asking(model, where, unreachable):
        from huggingface_hub import HfApi

        api = HfApi()
        info = api.model_info(model.repo, revision=model.revision)
        if info.gated:
            # The description of a gated model is public, but its files need a token that may download them.
            api.auth_check(model.repo)
    licence = info.card_data.get("license") if info.card_data else None
    return Pin(
        name=model.name,
        repo=model.repo,
        revision=model.revision,
        commit=info.sha,
        date=info.last_modified.astimezone(UTC).isoformat(timespec="seconds") if info.last_modified else UNKNOWN,
        licence=str(licence or UNKNOWN),
        gated=str(info.gated or "no"),
    )
