"""Rule `check_model`: the model's facts and self-checks."""

from pathlib import Path

from offcourse.jobs.facts import write_facts
from offcourse.jobs.log import logged
from offcourse.jobs.run import Job
from offcourse.jobs.steps import STEPS
from offcourse.layout import Layout
from offcourse.registry import Registry
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    layout = Layout(study.study)
    job = Job(STEPS["icl"], study, Registry.load(), layout, snakemake.wildcards.model, snakemake.threads)
    write_facts(job, Path(snakemake.output[0]))
