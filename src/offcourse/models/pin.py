"""Pinning hub models: writing the commit that each branch or tag in models.tsv means today to a lock kept in git."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path

from offcourse.data.pins import PUBLIC_CODE, Pin, read_lock
from offcourse.data.rows import Model, is_commit
from offcourse.errors import OffcourseError
from offcourse.files import write_whole
from offcourse.models.hub import RefusedError
from offcourse.models.looked_up import asking_about, look


@dataclass(frozen=True)
class Asked:
    """What the hub was asked: names of models whose revision it resolved, and of those whose commit it confirmed.

    moved: {model: the commit that its revision means now}, where that is another one than the confirmed commit.
    """

    resolved: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)


def pin(
    models: Mapping[str, Model],
    names: Sequence[str],
    lock: Path,
    update: bool = False,
    as_of: datetime | None = None,
    command: str = "offcourse pin",
) -> Asked:
    """Pin the hub models among `names` in the lock, and confirm commits that the lock has from public code.

    models: the whole table with its own revisions (`Registry.load(locked=False)`). update: ask about every model;
    without it, a model whose repo and revision are in the lock keeps its commit. as_of: take the last commit before
    this time in place of the newest one. command: what the user has to run again, for messages. Rows of the lock that
    fit no model are removed. Without a hub model among `names` there is nothing to pin, and nothing is written.

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
                known[name] = look(_before(models[name], as_of)).pin(models[name])
                asked.resolved.append(name)
            elif known[name].source == PUBLIC_CODE:
                now = look(_before(models[name], as_of)).commit
                known[name] = _confirmed(models[name], known[name], lock, command)
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


def _before(model: Model, as_of: datetime | None) -> Model:
    """The model at the last commit of its branch before a time; at its revision where no time is given."""
    if as_of is None or is_commit(model.revision):
        return model
    with asking_about(model):
        from huggingface_hub import HfApi

        commits = HfApi().list_repo_commits(model.repo, revision=model.revision)
    earlier = [commit for commit in commits if commit.created_at < as_of]
    if not earlier:
        first = min((commit.created_at for commit in commits), default=None)
        raise RefusedError(
            f"{model.name} ({model.repo}) has no commit of {model.revision!r} before {as_of:%Y-%m-%d}; the first is of "
            f"{f'{first:%Y-%m-%d}' if first else 'no date'}. Give a later --as-of."
        )
    return replace(model, revision=max(earlier, key=lambda commit: commit.created_at).commit_id)


def _confirmed(model: Model, row: Pin, lock: Path, command: str) -> Pin:
    """The row of a commit that public code names, as the hub knows this commit."""
    try:
        found = look(replace(model, revision=row.commit)).pin(model)
        if found.commit != row.commit:
            raise RefusedError(f"the hub answers with {found.commit}.")
        return found
    except RefusedError as error:
        raise RefusedError(
            f"{model.name}: {lock} has commit {row.commit} from public code, but the hub refuses it ({error}) Delete "
            f"the model's row there and run `{command}` again, which takes the commit that "
            f"{model.revision!r} means today."
        ) from error
