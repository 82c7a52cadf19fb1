"""Judgements whose jobs run in this process, in turn, without Snakemake."""

from pathlib import Path

from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS, checked_by, steps_of
from offcourse.graph.products import PRODUCTS
from offcourse.graph.study_files import results_of
from offcourse.judge import card as cards
from offcourse.judge.asked import Asked
from offcourse.layout import Layout
from offcourse.methods.check_model import check_model
from offcourse.models.fetch import prepare
from offcourse.run.job import run_step
from offcourse.run.plain_context import context_of
from offcourse.run.products import make
from offcourse.study.config import Study, read_study

MODEL = "tiny-llama"


def judged_here(wanted: Asked, folder: Path) -> tuple[Study, Layout, Path]:
    """Run what the card of `wanted` is made from, of the model `MODEL`: (the study, its layout, the study's file)."""
    registry = Registry.load()
    wanted.check(registry)
    path = wanted.write(folder)
    study, layout = read_study(path), Layout(wanted.study()["study"], folder)
    products = [PRODUCTS[name] for name in cards.tables(wanted)]
    needed = {step for product in products for step, _, _ in product.upstream(study, None)}
    while more := {up for step in needed for up in (*STEPS[step].inputs, *STEPS[step].others)} - needed:
        needed |= more
    prepare(registry.model(MODEL), registry, layout.model_folder(MODEL), layout.downloads)
    for step in steps_of(study, MODEL):
        if step in needed:
            run_step(step, study, registry, layout, MODEL, threads=1)
    context = context_of(checked_by(study, MODEL), study, registry, layout, MODEL, 1)
    check_model(context, layout.results / MODEL / "model.json")
    for product in products:
        make(product, results_of(study, registry, layout))
    return study, layout, path
