"""Rule `task_vectors`: baselines, vectors and sweep of task vectors on one model, every task of the study."""

from offcourse.run.script import script

with script(snakemake) as run:
    run.compute("tv_icl", "task_vectors", "tv_sweep")
