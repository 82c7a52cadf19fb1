"""Rule `comparison`: the study's tables beside the printed and the released ones."""

from offcourse.layout import Layout
from offcourse.published.pages import compare_study
from offcourse.run.declared import place_of
from offcourse.run.log import logged
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    name = load_study(snakemake.config).study
    _, base = place_of(snakemake.output.record, {Layout(name).rule_record("comparison"): name})
    compare_study(list(snakemake.input), Layout(name, base))
