"""Rule `fetch_questions`: the authors' question files, each checked against its pinned sha256."""

from offcourse.data.release_files import release_file
from offcourse.graph.keys import release_questions
from offcourse.run.script import script

with script(snakemake) as run:
    for spec in release_questions(run.study, run.registry):
        release_file(spec, downloads=run.layout.downloads)
