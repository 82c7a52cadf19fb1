"""Rule `fetch_words`: the authors' word lists, each checked against its pinned sha256."""

from offcourse.jobs.script import script
from offcourse.jobs.steps import release_lists
from offcourse.release import release_file

with script(snakemake) as job:
    for spec in release_lists(job.study, job.registry):
        release_file(spec, downloads=job.layout.downloads)
