"""What an audit finds of one file."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

INTACT, STALE, MISSING, TAMPERED, UNRECORDED = "intact", "stale", "missing", "tampered", "unrecorded"


@dataclass(frozen=True)
class Finding:
    """The state of one file of a chain.

    state: intact, stale (made from something that has changed since), missing, tampered (changed after it was written)
    or unrecorded (no record says how it was made). why: the reason in words, "" for an intact file.
    """

    path: str
    state: str
    why: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as plain JSON."""
        return asdict(self)


def damaged(wrong: Iterable[Finding]) -> bool:
    """Whether some of these findings are about a file that is not what was written.

    A stale file is whole: what it is made with, such as code or a setting, has changed since it was written.
    """
    return any(finding.state not in (INTACT, STALE) for finding in wrong)
