"""Verbs about the registry's models."""

from pathlib import Path
from typing import Annotated

import typer

from offcourse.cli.app import AsJson, app, print_json


@app.command()
def pin(
    configfile: Annotated[Path | None, typer.Option(help="Only the models of this study (default: all).")] = None,
    update: Annotated[bool, typer.Option("--update", help="Ask again for models that are pinned already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Resolve the revision of each hub model to a commit, and write resources/models.lock.tsv."""
    from offcourse.data.names import RESOURCES
    from offcourse.data.pins import LOCK
    from offcourse.data.registry import Registry
    from offcourse.models.pin import pin as pin_models
    from offcourse.study.config import read_study

    registry = Registry.load(locked=False)
    names = read_study(configfile).models if configfile else list(registry.models)
    wanted = [registry.model(name).name for name in names]
    lock = RESOURCES / LOCK
    asked = pin_models(registry.models, wanted, lock, update)
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
            print(f"{name}: {model.revision} of {model.repo} means {commit} by now. `--update` would move to it.")
        print(f"{lock}: {len(asked.resolved)} pinned, {len(kept)} pinned before and kept{confirmed}. Commit it.")
