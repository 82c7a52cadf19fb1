"""Rule `fetch_questions`: the authors' question files, each checked against its pinned sha256."""

from offcourse.jobs.script import script
from offcourse.jobs.steps import release_questions
from offcourse.release import release_file

with script(snakemake) as job:
    for spec in release_questions(job.study, job.registry):
        release_file(spec, downloads=job.layout.downloads)
