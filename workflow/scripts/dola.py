"""Rule `dola`: one model, every question set of the study."""

from offcourse.jobs.log import logged
from offcourse.jobs.run import run_step
from offcourse.layout import Layout
from offcourse.registry import Registry
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    run_step("dola", study, Registry.load(), Layout(study.study), snakemake.wildcards.model, snakemake.threads)
