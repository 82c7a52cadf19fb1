"""Rules `published_{group}`: the authors' results of one group in the schemas of a study's."""

from offcourse.graph.release import Release
from offcourse.graph.release_rules import CONVERTED, NAME
from offcourse.layout import Layout
from offcourse.published.convert import convert
from offcourse.run.declared import place_of
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    release = Release(Layout(NAME))
    group, base = place_of(snakemake.output[0], {release.outputs(group)[0]: group for group in CONVERTED})
    convert(group, Layout(NAME, base), f"published_{group}", snakemake.threads, snakemake.params.original)
