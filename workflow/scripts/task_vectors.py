"""Rule `task_vectors`: baselines, vectors and sweep of task vectors on one model, every task of the study."""

from offcourse.jobs.log import logged
from offcourse.jobs.run import run_steps
from offcourse.layout import Layout
from offcourse.registry import Registry
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    steps = ["tv_icl", "task_vectors", "tv_sweep"]
    run_steps(steps, study, Registry.load(), Layout(study.study), snakemake.wildcards.model, snakemake.threads)
