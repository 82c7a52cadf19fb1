"""Verbs for results of several labs: `share` (archives of studies) and `verify` (shards computed anew)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offcourse.cli.app import AsJson, Config, Directory, app, print_json, study_of

if TYPE_CHECKING:
    from offcourse.share.differences import Difference
    from offcourse.share.verify import Verdict

share = typer.Typer(no_args_is_help=True, help="Exchange results with other labs: pack, merge, show.")
app.add_typer(share, name="share")


def _hold(directory: Path) -> None:
    """Hold the lock of a run in a folder, so that no study is at work there."""
    from offcourse.files import writing
    from offcourse.run.lock import hold

    path = directory / ".snakemake" / "offcourse.lock"
    with writing(str(path)):
        hold(path)


@share.command()
def pack(
    out: Annotated[Path, typer.Argument(metavar="OUT.tar.zst", help="The archive; .tar.zst, .tar.gz or .tar.")],
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    allow: Annotated[list[str] | None, typer.Option(help="A word of the data that looks like a private name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a finished study's shards, records and crate into one archive, without names of machines, accounts, folders
    or addresses. The same study gives the same bytes.
    """
    from dataclasses import asdict

    from offcourse.share.pack import pack as pack_study

    _hold(directory)
    study, registry, layout = study_of(configfile, directory)
    packed = pack_study(study, registry, layout, out, allow or ())
    if as_json:
        print_json({"archive": str(out), "study": study.study, **asdict(packed)})
        return
    crate = "" if packed.crate else ", without a crate, which the study has not made yet"
    print(
        f"{out}: {packed.results} results of study {study.study} in {packed.files} files{crate}; {packed.size:,} bytes"
    )


@share.command()
def merge(
    archives: Annotated[list[Path], typer.Argument(metavar="ARCHIVE...", help="Archives of `offcourse share pack`.")],
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Check every hash and key of other labs' archives, and let the store read their shards. What is wrong with one
    archive keeps all of them out. A shard that is there already is kept; another content of it is shown beside it, and
    the exit code is then 1.
    """
    from dataclasses import asdict

    from offcourse.layout import Layout
    from offcourse.share.differences import differences
    from offcourse.share.merge import merge as merge_archives

    _hold(directory)
    found = merge_archives(archives, Layout("", directory))
    if as_json:
        print_json({"merged": [asdict(each) for each in found]})
    else:
        for each in found:
            print(
                f"{each.archive}: study {each.study}, {each.new} shards new, {each.same} there already with the same "
                f"content, {each.different} with another content"
            )
            if each.usable < each.new:
                print(
                    f"  {each.new - each.usable} of the new ones were made by other code or versions than this "
                    "checkout's; no study uses them here until both agree."
                )
        if any(each.different for each in found):
            _print_differences(differences(Layout("", directory)))
            print("The first content of each is used as before; `offcourse share show` prints this table.")
        if len(found) < len(archives):
            print(f"{len(archives) - len(found)} of the archives had been merged before.")
    raise typer.Exit(1 if any(each.different for each in found) else 0)


@app.command()
def verify(
    sample: Annotated[int, typer.Option(min=1, help="How many shards to draw and compute anew.")],
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draw (default: a new one, which is printed).")] = None,
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Compute random shards of a study anew on the real model, and print how many agree: bit for bit, or within what
    rounding alone moves. Exit code 0 if all do, else 1.
    """
    import secrets
    import sys
    from collections import Counter

    from offcourse.share.verify import BEYOND
    from offcourse.share.verify import verify as compute_anew

    seed = secrets.randbelow(2**32) if seed is None else seed
    study, registry, layout = study_of(configfile, directory)
    verdicts, known = compute_anew(
        study, registry, layout, sample, seed, configfile, lambda text: print(text, file=sys.stderr, flush=True)
    )
    counts = Counter(verdict.agrees for verdict in verdicts)
    if as_json:
        found = [verdict.as_dict() for verdict in verdicts]
        print_json({"study": study.study, "seed": seed, "shards": known, "counts": counts, "verdicts": found})
    else:
        _print_verdicts(verdicts)
        said = ", ".join(f"{count} {agrees}" for agrees, count in counts.items())
        print(f"{len(verdicts)} of {known} shards of study {study.study} (--seed {seed}) computed anew agree: {said}")
    raise typer.Exit(1 if counts[BEYOND] else 0)


def _print_verdicts(verdicts: "Sequence[Verdict]") -> None:
    from rich.markup import escape
    from rich.table import Table

    from offcourse.errors import readable
    from offcourse.printing import print_table
    from offcourse.share.distance import TIMES_FLOOR
    from offcourse.share.verify import WITHIN

    table = Table("step", "model", "unit", "key", "computed by", "on", "agrees", box=None)
    for verdict in verdicts:
        shard, made = verdict.shard, verdict.made
        apart = "; ".join(
            f"{name} differs by {distance:.2g}, rounding alone by {verdict.floor[name]:.2g}"
            for name, distance in verdict.distance.items()
        )
        # A floor that is as large as the numbers themselves lets everything pass.
        vague = [name for name, floor in verdict.floor.items() if TIMES_FLOOR * floor >= 1 and verdict.agrees == WITHIN]
        apart += f" (which says little of {', '.join(vague)})" if vague else ""
        why = verdict.why or apart
        agrees = f"{verdict.agrees}: {why}" if why else verdict.agrees
        cells = (shard.step, shard.model, shard.unit, shard.key[:12], made["host"], made["device"], agrees)
        table.add_row(*(escape(readable(str(cell))) for cell in cells))
    print_table(table)


@share.command()
def show(directory: Directory = Path(), as_json: AsJson = False) -> None:
    """Print the merged archives, and side by side the shards that labs computed differently. Exit code 0 if there are
    none, else 1.
    """
    from offcourse.layout import Layout
    from offcourse.share.differences import differences
    from offcourse.share.merge import manifests

    layout = Layout("", directory)
    found, archives = differences(layout), manifests(layout)
    if as_json:
        listed = [
            {"path": str(path), "study": each.study, "results": len(each.results)} for path, each in archives.items()
        ]
        print_json({"archives": listed, "differences": [each.as_dict() for each in found]})
    else:
        for path, each in archives.items():
            print(
                f"{path}: study {each.study}, {len(each.results)} results, packed by Offcourse {each.offcourse.version}"
            )
        _print_differences(found)
        print(f"{len(archives)} archives; {len(found)} shards that labs computed differently")
    raise typer.Exit(1 if found else 0)


def _print_differences(found: "Sequence[Difference]") -> None:
    """A row per content; the first of a shard is what studies use."""
    from rich.markup import escape
    from rich.table import Table

    from offcourse.errors import readable
    from offcourse.printing import print_table

    table = Table("shard", "lab", "sha256", "computed by", "on", "versions", "against the first", box=None)
    for each in found:
        shard = f"{each.result.step} {each.result.model} {each.result.unit} {each.result.key[:12]}"
        for number, content in enumerate(each.contents):
            made = content.made
            apart = ", ".join(f"{name} differs by {distance:.2g}" for name, distance in content.distance.items())
            versions = f"torch {made['packages'].get('torch', '?')}, Python {made['python']}, {made['platform']}"
            said = f"{apart}: {each.verdict}" if number else "used"
            cells = (shard, content.lab, content.sha256[:12], made["host"], made["device"], versions, said)
            table.add_row(*(escape(readable(str(cell))) for cell in cells))
    if found:
        print_table(table)
