"""Verbs about the registry's models."""

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from offcourse.cli.app import AsJson, app, print_json


@app.command()
def pin(
    configfile: Annotated[Path | None, typer.Option(help="Only the models of this study (default: all).")] = None,
    update: Annotated[bool, typer.Option("--update", help="Ask again for models that are pinned already.")] = False,
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Take the last commit before this day (UTC), such as 2025-04-08."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Resolve the revision of each hub model to a commit, and write resources/models.lock.tsv."""
    from offcourse.data.names import RESOURCES
    from offcourse.data.pins import LOCK
    from offcourse.data.registry import Registry
    from offcourse.models.pin import pin as pin_models
    from offcourse.study.config import read_study

    registry = Registry.load(locked=False)
    if not configfile:
        registry.require_sound("models")
    names = read_study(configfile).models if configfile else list(registry.models)
    wanted = [registry.model(name).name for name in names]
    lock = RESOURCES / LOCK
    day = as_of.replace(tzinfo=UTC) if as_of else None
    again = [f"--configfile {shlex.quote(str(configfile))}"] if configfile else []
    again += [f"--as-of {day:%Y-%m-%d}"] if day else []
    command = " ".join(["offcourse pin", *again])
    asked = pin_models(registry.models, wanted, lock, update, day, command)
    of_hub = [name for name in wanted if registry.model(name).source == "hub"]
    kept = [name for name in of_hub if name not in asked.resolved]
    if as_json:
        more = {"confirmed": asked.confirmed, "moved": asked.moved}
        print_json({"lock": str(lock), "pinned": asked.resolved, "kept": kept} | more)
    elif not of_hub:
        print(f"Nothing to pin: no model of {configfile} is on the hub. {lock} was not touched.")
    else:
        confirmed = f" ({len(asked.confirmed)} of them from public code, confirmed now)" if asked.confirmed else ""
        for name, commit in asked.moved.items():
            model = registry.model(name)
            when = f"meant {commit} before {day:%Y-%m-%d}" if day else f"means {commit} by now"
            print(f"{name}: {model.revision} of {model.repo} {when}. `--update` would move to it.")
        print(f"{lock}: {len(asked.resolved)} pinned, {len(kept)} pinned before and kept{confirmed}. Commit it.")
