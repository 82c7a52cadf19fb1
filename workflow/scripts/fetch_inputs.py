"""Rules `fetch_words` and `fetch_questions`: the authors' files, each checked against its pinned sha256."""

from offcourse.data.release_files import pinned_files, refetch
from offcourse.files import write_whole
from offcourse.graph.keys import FETCHED
from offcourse.run.script import script

with script(snakemake) as run:
    specs = FETCHED[run.rule](run.study, run.registry)
    for spec in specs:
        refetch(spec, run.layout.downloads)
    write_whole(run.output[0], lambda path: path.write_text(pinned_files(specs), encoding="utf-8"))
