"""Rule `fetch_words`: the authors' word lists, each checked against its pinned sha256."""

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.registry import Registry
from offcourse.release import release_file
from offcourse.study.config import load_study
from offcourse.tasks import release_list

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    registry = Registry.load()
    for task in study.tasks:
        release_file(release_list(registry.task(task)), downloads=Layout(study.study).downloads)
