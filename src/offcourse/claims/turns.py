"""Where a verdict turns: the same claim with another band, and with other arguments of its rule."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from offcourse.claims.numbers import Found, Numbers
from offcourse.claims.verdicts import Claim, find, verdict

ENDS = ("low", "high")


@dataclass(frozen=True)
class Turn:
    """A claim decided with one value changed. changed: "{argument or end of the band} {value}"."""

    changed: str
    found: Found | None
    verdict: str


def turns(claim: Claim, numbers: Numbers, now: Found | None) -> Iterator[Turn]:
    """The claim with every other value that it lists (`Claim.varied`), one at a time. now: its own number."""
    for key, values in claim.varied.items():
        for value in values:
            other = _with(claim, key, value)
            found = now if key in ENDS else find(other, numbers)[0]
            yield Turn(f"{key} {value}", found, verdict(other, found))


def _with(claim: Claim, key: str, value: str) -> Claim:
    if key in ENDS:
        return replace(claim, **{key: value})
    options = claim.options | {key: value}
    return replace(claim, arguments="; ".join(f"{name}={each}" for name, each in options.items()))


def limits(claim: Claim, found: Found | None) -> list[tuple[str, float, float]]:
    """For each end of the band, between which of its values the verdict is not clear: (end, from, to).

    They are the ends of the interval, so the verdict turns there and nowhere else. Nothing without an interval.
    """
    if found is None or np.isnan(found.low):
        return []
    return [(end, found.low, found.high) for end, stated in (("low", claim.low), ("high", claim.high)) if stated]
