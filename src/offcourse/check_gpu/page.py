"""The page of a check: the answer (go, or reasons why not), and every number behind it."""

import math
from dataclasses import dataclass, field


@dataclass
class Findings:
    """The measurements of a check.

    exact: rows of (model, precision, check, passed, error, floor, limit). memory: rows of (model, pass, measured and
    planned bytes). speed: rows of `passes.speed`. hits: {precision: share of a sweep's hits that depend on `max_rows`}.
    refused: parts that could not be run, with the reason.
    """

    machine: dict
    exact: list[dict] = field(default_factory=list)
    memory: list[dict] = field(default_factory=list)
    speed: list[dict] = field(default_factory=list)
    hits: dict[str, float] = field(default_factory=dict)
    rates: dict = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def against(self) -> list[str]:
        """Reasons why this machine should not run the study yet; [] if it may."""
        wrong = [
            f"{row['model']} in {row['dtype']}: {row['check']}: error {row['error']:.1e}, allowed {row['limit']:.1e}"
            for row in self.exact
            if not row["passed"]
        ]
        wrong += [
            f"{row['model']}, {row['pass']}: {row['measured'] / 1e6:.0f} MB beside the weights, planned "
            f"{row['planned'] / 1e6:.0f} MB"
            for row in self.memory
            if row["measured"] is not None and row["measured"] > row["planned"]
        ]
        wrong += [
            f"{row['pass']}: not faster than the naive loop ({row['times_faster']:.1f} times)"
            for row in self.speed
            if row["times_faster"] < 1
        ]
        return wrong + self.refused

    def document(self) -> dict:
        """All measurements as JSON, for `--json`. A number that is not finite becomes null, since JSON has no such."""
        against = self.against()
        return _finite({"go": not against, "against": against, **self.__dict__})


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(found: Findings) -> str:
    """The page as Markdown."""
    against = found.against()
    packages = ", ".join(f"{name} {version}" for name, version in found.machine["packages"].items())
    known = {key: value for key, value in found.machine.items() if key not in ("device", "packages")}
    lines = [
        f"# Check of {found.machine['device']}",
        "",
        "**Go.** Every check passed." if not against else "**Not yet.** These checks failed:",
        "",
        *(f"* {reason}" for reason in against),
        *([""] if against else []),
        f"{packages}; " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in known.items()) + f"; "
        f"{found.seconds:.0f} s. Random weights at the real widths of the paper's models; nothing was downloaded.",
        "",
        "## Engine against plain forwards",
        "",
        "Largest error of a final state, relative to the state (of a log-probability in the last column), and in "
        "brackets how many times the rounding floor that is. The floor is what rounding alone does to the plain model. "
        "Up to 4 times pass.",
        "",
        *_exact(found.exact),
        "",
        "## Memory beside the weights",
        "",
        "| model | pass | measured MB | planned MB | planned / measured |",
        "|---|---|---|---|---|",
        *(
            f"| {row['model']} | {row['pass']} | {_mb(row['measured'])} | {_mb(row['planned'])} | "
            + (f"{row['planned'] / row['measured']:.2f} |" if row["measured"] else "not measured |")
            for row in found.memory
        ),
        "",
        "## Speed",
        "",
        "| model | pass | edits | s | naive loop s | times faster | TFLOP | share of the products' rate |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['model']} | {row['pass']} | {row['edits']:,} | {row['seconds']:.3f} | "
            f"{row['naive_seconds']:.1f} | {row['times_faster']:.0f} | {row['tflop']:.2f} | "
            f"{row['share_of_rate']:.0%} |"
            for row in found.speed
        ),
        "",
        "Seconds are per prompt. The naive loop is one forward per edit, timed on six edits and scaled. Operations are "
        "those of products with weights; the rate is the one below for the model's precision.",
        "",
        "Share of a sweep's hits that differ when the rows go through in other numbers at a time: "
        + ", ".join(f"{share:.2%} in {dtype}" for dtype, share in found.hits.items())
        + ".",
        "",
        "## Rates",
        "",
        "| rate | value |",
        "|---|---|",
        *(f"| {name} | {value:.3g} |" for name, value in found.rates.items() if isinstance(value, float)),
        "",
    ]
    return "\n".join(lines)


def _exact(rows: list[dict]) -> list[str]:
    checks = list(dict.fromkeys(row["check"] for row in rows))
    cells: dict[tuple[str, str], dict[str, dict]] = {}
    for row in rows:
        cells.setdefault((row["model"], row["dtype"]), {})[row["check"]] = row
    lines = [f"| model | precision | {' | '.join(checks)} |", "|---|---|" + "---|" * len(checks)]
    for (model, dtype), found in cells.items():
        texts = [_times(found.get(check)) for check in checks]
        lines.append(f"| {model} | {dtype} | {' | '.join(texts)} |")
    return lines


def _times(row: dict | None) -> str:
    if row is None:
        return "not run"
    text = f"{row['error']:.1e} ({row['error'] / row['floor']:.1f})" if row["floor"] else f"{row['error']:.1e}"
    return text if row["passed"] else f"**{text}**"


def _mb(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.0f}"
