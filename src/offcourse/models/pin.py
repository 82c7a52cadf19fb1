"""Pinning hub models: writing the commit that each branch or tag in models.tsv means today to a lock kept in git."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from datetime import UTC
from pathlib import Path

from offcourse.data.pins import HUB, PUBLIC_CODE, UNKNOWN, Pin, read_lock
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.files import write_whole
from offcourse.models.hub import RefusedError, asking


@dataclass(frozen=True)
class Asked:
    """What the hub was asked: names of models whose revision it resolved, and of those whose commit it confirmed.

    moved: {model: the commit that its revision means now}, where that is another one than the confirmed commit.
    """

    resolved: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)


def pin(models: Mapping[str, Model], names: Sequence[str], lock: Path, update: bool = False) -> Asked:
    """Pin the hub models among `names` in the lock, and confirm commits that the lock has from public code.

    models: the whole table with its own revisions (`Registry.load(locked=False)`). update: ask about every model;
    without it, a model whose repo and revision are in the lock keeps its commit. Rows of the lock that fit no model are
    removed. Without a hub model among `names` there is nothing to pin, and nothing is written.

    The lock is written whole or not at all. Raises `OffcourseError` when the hub cannot be reached, and otherwise one
    error that names every refused model and says what to do.
    """
    asked = Asked()
    if not any(models[name].source == "hub" for name in names):
        return asked
    known = {
        name: row
        for name, row in read_lock(lock).items()
        if name in models and (row.repo, row.revision) == (models[name].repo, models[name].revision)
    }
    problems = []
    for name in (name for name in names if models[name].source == "hub"):
        try:
            if update or name not in known:
                known[name] = _resolve(models[name])
                asked.resolved.append(name)
            elif known[name].source == PUBLIC_CODE:
                now = _resolve(models[name]).commit
                known[name] = _confirmed(models[name], known[name], lock)
                asked.confirmed.append(name)
                if now != known[name].commit:
                    asked.moved[name] = now
        except RefusedError as error:
            problems.append(str(error))
    if problems:
        raise OffcourseError("\n".join([*problems, f"Nothing was pinned; {lock} is as it was."]))
    rows = [astuple(known[name]) for name in models if name in known]
    header = tuple(each.name for each in fields(Pin))
    text = "".join("\t".join(row) + "\n" for row in [header, *rows])
    write_whole(lock, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return asked


def _confirmed(model: Model, row: Pin, lock: Path) -> Pin:
    """The row of a commit that public code names, as the hub knows this commit."""
    try:
        found = replace(_resolve(replace(model, revision=row.commit)), revision=row.revision)
        if found.commit != row.commit:
            raise RefusedError(f"the hub answers with {found.commit}.")
        return found
    except RefusedError as error:
        raise RefusedError(
            f"{model.name}: {lock} has commit {row.commit} from public code, but the hub refuses it ({error}) Delete "
            "the model's row there and run `offcourse pin` again, which takes the commit that "
            f"{model.revision!r} means today."
        ) from error


def _resolve(model: Model) -> Pin:
    """The commit that a model's revision means, after a check that this machine's token may download the files."""
    where = f"{model.name} ({model.repo})"
    unreachable = (
        f"the hub cannot be asked about {where} ({{reason}}). Run the same command where it can be reached "
        "(HF_ENDPOINT names another address of it), and commit the lock. Nothing was pinned."
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
        source=HUB,
    )
