"""The status of the rules of the authors' released results: fresh, or stale with what is missing or changed.

Converted files are hashed. The 901 released files are not, since that is the audit's task: the sha256 that a record
read is compared with the sha256 in the manifest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offcourse.audit.release_changes import changes
from offcourse.data.release_files import release_path
from offcourse.files import sha256
from offcourse.provenance.records import fingerprint_of, located
from offcourse.published.audit import ReleaseAudit


@dataclass(frozen=True)
class RuleState:
    """The state of the files of one rule. there: how many of the `files` files exist. why: reasons, empty if fresh."""

    rule: str
    files: int
    there: int
    why: tuple[str, ...] = ()

    @property
    def fresh(self) -> bool:
        """Whether every file of the rule exists and is what this version would make."""
        return not self.why

    def as_dict(self) -> dict[str, Any]:
        """The state as plain JSON."""
        return {**asdict(self), "fresh": self.fresh}


def status(base: Path = Path()) -> list[RuleState]:
    """The state of each rule of `make published` below `base`, in an order in which they can be made."""
    audit = ReleaseAudit(base)
    rules = audit.rules()
    makers = {path: rule for rule, files in rules.items() for path in files}
    digests = _digests(audit, makers)
    found: dict[str, RuleState] = {}
    for rule, files in rules.items():
        there = [path for path in files if path in digests]
        if not there:
            found[rule] = RuleState(rule, len(files), 0, ("not made yet",))
            continue
        records = [audit.records[record] for record in dict.fromkeys(files.values()) if record in audit.records]
        read = {path: digest for record in records for path, digest in record["inputs"].items()}
        before = dict.fromkeys(makers[path] for path in read if makers.get(path, rule) != rule)
        why = [*_some([path for path in files if path not in digests], "missing"), *_wrong(audit, files, digests)]
        if follows := [f"follows {name}" for name in before if not found[name].fresh]:
            why += follows
        else:
            other = [path for path, digest in read.items() if digest != _digest(audit, path, digests)]
            why += _some(other, "not what it was made from")
        found[rule] = RuleState(rule, len(files), len(there), (*why, *_changes(records)))
    return list(found.values())


def _digests(audit: ReleaseAudit, made: Iterable[str]) -> dict[str, str]:
    """{path: sha256} of the made files that exist (hashed) and of the released files (from the manifest)."""
    base, downloads = audit.layout.base, audit.layout.downloads
    there = {path: sha256(located(path, base)) for path in made if located(path, base).exists()}
    released = audit.release.manifest.items()
    return there | {audit.path(release_path(spec, downloads)): row.sha256 for spec, row in released}


def _digest(audit: ReleaseAudit, path: str, digests: Mapping[str, str]) -> str | None:
    """sha256 of an input; None if it does not exist. An input that is not in `digests` is a tracked table."""
    file = located(path, audit.layout.base)
    return digests.get(path) or (sha256(file) if file.exists() else None)


def _wrong(audit: ReleaseAudit, files: Mapping[str, Path], digests: Mapping[str, str]) -> Iterator[str]:
    """Faults of the files that exist, and of their records, in words."""
    there = [path for path in files if path in digests]
    yield from _some(
        [path for path in there if files[path] in audit.broken], "with a record that was changed or is old"
    )
    known = audit.records.keys() | audit.broken.keys()
    yield from _some([path for path in there if files[path] not in known], "without a record")
    kept = [path for path in there if files[path] in audit.records]
    edited = [path for path in kept if audit.records[files[path]]["outputs"].get(path) != digests[path]]
    yield from _some(edited, "damaged or edited (delete what is to be made again)")


def _changes(records: list[dict[str, Any]]) -> list[str]:
    """Changes of code and packages since the records of a rule were written; records of one run are alike."""
    alike = {(fingerprint_of(record["code"]), record.get("script")): record for record in records}
    return list(dict.fromkeys(reason for record in alike.values() for reason in changes(record)))


def _some(paths: Sequence[str], what: str) -> Iterator[str]:
    """At most one phrase that says `what` of some files; none without files."""
    if len(paths) == 1:
        yield f"{paths[0]} is {what}"
    elif paths:
        yield f"{len(paths)} files are {what}, such as {paths[0]}"
