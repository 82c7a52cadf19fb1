"""Rules `fetch_words` and `fetch_questions`: the authors' files, each checked against its pinned sha256."""

from offcourse.data.release_files import release_file
from offcourse.graph.keys import release_lists, release_questions
from offcourse.run.script import script

LISTED = {"fetch_words": release_lists, "fetch_questions": release_questions}

with script(snakemake) as run:
    for spec in LISTED[run.rule](run.study, run.registry):
        release_file(spec, downloads=run.layout.downloads)
