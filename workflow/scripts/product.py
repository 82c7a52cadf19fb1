"""Rules of tables and figures: what each reads and writes is declared in `offcourse.graph.products`."""

from offcourse.run.script import script

with script(snakemake) as run:
    run.make()
