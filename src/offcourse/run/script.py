"""The frame of every script of the workflow: it opens the log, reads the study and writes the record."""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offcourse.checkout import require_own
from offcourse.data.registry import Registry
from offcourse.graph.places import record_places
from offcourse.graph.products import PRODUCTS
from offcourse.graph.study_files import job_parameters, results_of
from offcourse.layout import Layout
from offcourse.provenance.records import Stopwatch, code_behind, hashes, origins, relative, write_record
from offcourse.provenance.sharing import host_as
from offcourse.run import products
from offcourse.run.cards import cards_here, held, require_usable
from offcourse.run.declared import rule_of
from offcourse.run.job import run_steps
from offcourse.run.log import logged
from offcourse.store.fingerprint import freeze_imports, script_digest
from offcourse.study.config import Study, load_study

# Importing torch and transformers makes a million objects that stay. Python's garbage collector walks through all of
# them each time their number has grown by a quarter, which takes a sixth of the time in which a job starts. With this
# threshold it does so a hundred times less often, and looks at young objects as often as ever.
gc.set_threshold(*gc.get_threshold()[:2], 1000)


@dataclass(frozen=True)
class ScriptRun:
    """The job that a script runs. model: None in a job of the whole study. cards: number of cards that it was given.

    tracked: files of the checkout that the job reads, for its record. Snakemake compares paths of inputs, which are
    others in another checkout, so that these files are known by their digests in the rule's `params`.
    """

    rule: str
    study: Study
    registry: Registry
    layout: Layout
    model: str | None
    threads: int
    output: list[Path]
    cards: int = 0
    tracked: list[Path] = field(default_factory=list)

    @property
    def results(self) -> Path:
        """Folder of the study's results."""
        return self.layout.results

    def make(self) -> None:
        """Make the job's table or figure."""
        product = PRODUCTS[self.rule]
        results = results_of(self.study, self.registry, self.layout)
        products.make(product, results, product.pages(self.study, self.registry, self.model))

    def compute(self, *steps: str) -> None:
        """Run steps on the job's model."""
        run_steps(list(steps), self.study, self.registry, self.layout, self.model, self.threads, self.cards)


@contextlib.contextmanager
def script(snakemake: Any) -> Iterator[ScriptRun]:
    """Run the block with its messages in the job's log.

    If the rule declares an output `record`, the record is written after the block: what the job read, wrote and ran.
    Steps write their own records, one per result.
    """
    with logged(snakemake.log[0]):
        require_own(Path(snakemake.scriptdir))
        study = load_study(snakemake.config)
        record = snakemake.output.get("record")
        outputs = [Path(path) for path in snakemake.output if path != record]
        model = snakemake.wildcards.get("model")
        rule, base = rule_of(record or outputs[0], study, model)
        layout = Layout(study.study, base)
        watch = Stopwatch(host_as(study.provenance.host, layout.base))
        own = int(snakemake.resources.get("cards", 0))
        cards = own or int(snakemake.resources.get("gpu", 0))
        run = ScriptRun(rule, study, Registry.load(), layout, model, snakemake.threads, outputs, cards)
        if not record:
            with held(own, cards_here() if own else ()):
                yield run
            return
        product = PRODUCTS[rule]
        code = code_behind(*product.targets)
        program = script_digest(product.script)
        freeze_imports(code["modules"])
        with held(own, cards_here() if own else ()):
            require_usable(cards)
            yield run
        read = [*map(Path, snakemake.input), *run.tracked]
        waited = [relative(path, layout.base) for path in read] if rule == "check_model" else []
        if waited:
            # It waits for every model, and reads one.
            read = [layout.receipt(model)]
        body = {
            "rule": rule,
            "wildcards": dict(snakemake.wildcards.items()),
            "study": study.study,
            "inputs": hashes(read, layout.base),
            "origins": _origins(run, read),
            **({"waited_for": waited} if waited else {}),
            "outputs": hashes(outputs, layout.base),
            "parameters": job_parameters(product, study, run.registry, run.model),
            "protocol": study.protocol.model_dump(),
            "code": code,
            "script": program,
            "made": watch.made(),
        }
        write_record(Path(record), body)


def _origins(run: ScriptRun, read: list[Path]) -> dict[str, str]:
    """`provenance.records.origins` of the files that a job read."""
    places = record_places(run.study, run.registry, run.layout)
    return origins({path: places[path] for path in read if path in places}, run.layout.base)
