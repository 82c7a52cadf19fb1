"""Rule `fetch_words`: the authors' word lists, each checked against its pinned sha256."""

from offcourse.jobs.log import logged
from offcourse.jobs.steps import release_lists
from offcourse.layout import Layout
from offcourse.registry import Registry
from offcourse.release import release_file
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    for spec in release_lists(study, Registry.load()):
        release_file(spec, downloads=Layout(study.study).downloads)
