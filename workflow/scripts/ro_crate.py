"""Rule `ro_crate`: the study's Workflow Run RO-Crate."""

import tempfile
from pathlib import Path

import yaml

from offcourse.graph.study_files import CONFIGURATION, REPORT, WORKFLOW, crate_files, records_of
from offcourse.provenance.crate import write_crate
from offcourse.provenance.environment import CHECKOUT
from offcourse.provenance.records import read_record
from offcourse.run.script import script

with script(snakemake) as run, tempfile.TemporaryDirectory() as scratch:
    configuration = Path(scratch) / CONFIGURATION
    configuration.write_text(yaml.safe_dump(run.study.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    copies = {name: run.results / name for name in crate_files(run.study, run.registry)}
    copies |= {WORKFLOW: CHECKOUT / WORKFLOW, CONFIGURATION: configuration}
    records = {
        path.relative_to(run.results).as_posix(): read_record(path)
        for path in records_of(run.study, run.registry, run.layout)
    }
    write_crate(run.output[0].parent, run.study.study, records, copies, WORKFLOW, CONFIGURATION, REPORT)
