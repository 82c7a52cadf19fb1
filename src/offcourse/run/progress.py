"""The progress of a run in one line: what runs, what is left and an estimate; errors and warnings in full.

A terminal has the line at its bottom, renewed every second. Where nobody watches (a file, a pipe, CI), a plain line is
written every half minute.
"""

import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from logging import INFO, LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from offcourse.graph.steps import STEPS

# Seconds between two plain lines.
PAUSE = 30
# Seconds of a job that loads no model.
LIGHT = 8
MODEL_RULES = {step.rule for step in STEPS.values()} | {"check_model"}
# Events whose messages are replaced by the line of progress, at the level of information.
TOLD = {
    LogEvent.WORKFLOW_STARTED,
    LogEvent.RUN_INFO,
    LogEvent.JOB_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.JOB_FINISHED,
    LogEvent.GROUP_INFO,
    LogEvent.PROGRESS,
    LogEvent.RESOURCES_INFO,
    LogEvent.RULEGRAPH,
}
# The other messages of a run that goes well.
ROUTINE = (
    "Using ",
    "Assuming ",
    "Building DAG",
    "Conda environments",
    "host: ",
    "Select jobs",
    "Execute ",
    "Complete log",
    "Elapsed time",
    "[",
)


@dataclass
class Run:
    """What is known of a run. left: {rule: jobs that are not finished}. took: {rule: seconds of finished jobs}."""

    total: int = 0
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    left: Counter = field(default_factory=Counter)
    started: dict[int, tuple[str, str, float]] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=dict)

    def line(self, now: float) -> str:
        """What runs and for how long, what is done, what is left and an estimate."""
        running = ", ".join(
            f"{rule}{f' {model}' if model else ''} ({_clock(now - since)})"
            for rule, model, since in self.started.values()
        )
        words = [f"{self.done} of {self.total} jobs", f"{_clock(now - self.began)} so far"]
        if (left := self.remaining(now)) is not None:
            words.append(f"about {_clock(left)} left")
        return ", ".join(words) + (f": {running}" if running else "")

    def remaining(self, now: float) -> float | None:
        """Seconds until the end, if jobs of a rule go on taking what they took, and as many run side by side as now.

        A rule that runs a model and of which no job has finished is taken for an average one; a table or figure for a
        job of `LIGHT` seconds. None before the first job of a step has finished.
        """
        times = {rule: sum(seconds) / len(seconds) for rule, seconds in self.took.items()}
        steps = [times[rule] for rule in times if rule in MODEL_RULES]
        if not steps:
            return None

        def expected(rule: str) -> float:
            return times.get(rule, sum(steps) / len(steps) if rule in MODEL_RULES else LIGHT)

        work = sum(count * expected(rule) for rule, count in self.left.items())
        spent = [(now - since, expected(rule)) for rule, _, since in self.started.values()]
        work -= sum(min(passed, whole) for passed, whole in spent)
        slowest = max((whole - passed for passed, whole in spent), default=0)
        return max(work / max(1, len(self.started)), slowest, 0)


class LogHandler(LogHandlerBase):
    """A handler of Snakemake's messages, see the module."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.live = self.stream.isatty() and not self.common_settings.dryrun
        self.run, self.jobs, self.bar = Run(), {}, None
        self.told = 0.0
        self.ended = threading.Event()

    def emit(self, record: LogRecord) -> None:
        """Take one message: count it, or write it."""
        event, now = getattr(record, "event", None), time.monotonic()
        self._count(event, record, now)
        if self._is_told(event, record):
            return
        text = self.format(record)
        if text and text != "None":
            self._clear()
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """End the line of progress."""
        self.ended.set()
        with self.lock:
            self._clear()
        super().close()

    def _is_told(self, event: Any, record: LogRecord) -> bool:
        if self.common_settings.dryrun or record.levelno > INFO:
            return False
        message = str(record.msg or "").strip()
        return event in TOLD or not message or (event is None and message.startswith(ROUTINE))

    def _count(self, event: Any, record: LogRecord, now: float) -> None:
        run = self.run
        if event == LogEvent.RUN_INFO and getattr(record, "stats", None):
            run.left = Counter({rule: count for rule, count in record.stats.items() if rule != "total"})
            run.total = sum(run.left.values())
            if not self.common_settings.dryrun:
                threading.Thread(target=self._tick, daemon=True).start()
        elif event == LogEvent.JOB_INFO:
            self.jobs[record.jobid] = (record.rule_name, (record.wildcards or {}).get("model", ""))
            run.started[record.jobid] = (*self.jobs[record.jobid], now)
        elif event == LogEvent.JOB_FINISHED and record.job_id in self.jobs:
            rule, _, since = run.started.pop(record.job_id, (*self.jobs[record.job_id], now))
            run.took.setdefault(rule, []).append(now - since)
            run.left[rule] -= 1
            run.done += 1
        elif event == LogEvent.JOB_ERROR:
            run.started.pop(getattr(record, "jobid", None), None)

    def _tick(self) -> None:
        while not self.ended.wait(1):
            now = time.monotonic()
            with self.lock:
                if self.live:
                    self._renew(self.run.line(now))
                elif now - self.told >= PAUSE:
                    self.told = now
                    print(self.run.line(now), file=self.stream, flush=True)

    def _renew(self, line: str) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(file=self.stream, bar_format="{desc}", leave=False, dynamic_ncols=True)
        self.bar.set_description_str(line)

    def _clear(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
