"""Rules `fetch_words` and `fetch_questions`: the authors' files and sets of the hub, each as it is pinned."""

from offcourse.data.fetched import fetch, pinned_files
from offcourse.files import write_whole
from offcourse.graph.keys import FETCHED
from offcourse.run.script import script

with script(snakemake) as run:
    specs = FETCHED[run.rule](run.study, run.registry)
    for spec in specs:
        fetch(spec, run.layout.downloads)
    write_whole(run.output[0], lambda path: path.write_text(pinned_files(specs), encoding="utf-8"))
