"""Rule `figure_post_training`: Figure 16."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present.figure_post_training import draw
from offcourse.registry import Registry
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study, registry = load_study(snakemake.config), Registry.load()
    models, tasks = study.models_of("task_vectors"), study.tasks_of("task_vectors")
    pairs, groups = registry.post_training(models), {name: registry.task(name).group for name in tasks}
    stem = Path(snakemake.output[0]).with_suffix("")
    draw(Layout(study.study).results, pairs, tasks, groups, study.protocol.tv_direction, stem)
