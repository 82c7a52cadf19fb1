"""Rule `side_by_side`: a study's figures with those of the release."""

from offcourse.data.registry import Registry
from offcourse.graph.release import Release
from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.side_by_side_drawings import make
from offcourse.run.declared import place_of
from offcourse.run.log import logged
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    _, base = place_of(snakemake.output.record, {Layout(study.study).rule_record("side_by_side"): study.study})
    release = Release(Layout(NAME, base))
    make(study, Registry.load(), Layout(study.study, base), release, list(snakemake.input))
