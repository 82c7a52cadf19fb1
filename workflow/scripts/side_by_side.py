"""Rule `side_by_side`: a study's figures with those of the release."""

from offcourse.jobs.log import logged
from offcourse.jobs.published import Release
from offcourse.jobs.published_rules import NAME
from offcourse.jobs.side_by_side_drawings import make
from offcourse.layout import Layout
from offcourse.registry import Registry
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    make(study, Registry.load(), Layout(study.study), Release(Layout(NAME)), list(snakemake.input))
