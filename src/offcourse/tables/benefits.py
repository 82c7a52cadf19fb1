"""What tables of verdicts without a measure of harm (`analysis.benefits`) have in common: how they are written."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from offcourse.analysis.benefits import BENEFITS, judged
from offcourse.tables import writing


def write_verdicts(out: Path, name: str, title: str, caption: str, rows: Sequence[dict], notes: Sequence[str]) -> None:
    """Write `name` as parquet, csv and md into `out`. rows: of `BENEFITS`, without corrections and verdicts."""
    frame = judged(rows)
    writing.write_plain(out, name, title, caption, frame, BENEFITS, texts(frame), notes)


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed table, all text; a column that no row has is left out."""

    def number(value: float) -> str:
        return "" if pd.isna(value) else f"{value:.2f}"

    def interval(row, name: str) -> str:
        ends = [getattr(row, f"{name}{end}") for end in ("", "_low", "_high")]
        return "" if pd.isna(ends[0]) else "{:+z.2f} [{:+z.2f}, {:+z.2f}]".format(*ends)

    rows = [
        {
            "model": row.model,
            "method": row.method,
            "on": row.on,
            "verdict": row.verdict,
            "measure": row.measure,
            "items": str(row.items),
            "setting": row.setting,
            "unsteered": number(row.unsteered),
            "steered": number(row.steered),
            "few-shot": number(row.few_shot),
            "prompting": number(row.prompting),
            "best control": number(row.control),
            "gain": interval(row, "gain"),
            "over luck": interval(row, "over_luck"),
            "over prompting": interval(row, "over_prompting"),
        }
        for row in frame.itertuples()
    ]
    shown = pd.DataFrame(rows).set_index("model")
    return shown.loc[:, [name for name in shown if (shown[name] != "").any()]]
