"""The rules of the authors' released results: where the code of each begins. Imports nothing heavy, for audits."""

from offcourse.graph.products import PRODUCTS, Product

NAME = "published"  # the folder below results/, in the place of a study's name
# Groups of results: rule published_{group}, see `graph.release`.
CONVERTED = {
    "function_vectors": "offcourse.archive.sweep:read_sweeps",
    "task_vectors": "offcourse.archive.task_vectors:read_task_vectors",
    "dola": "offcourse.archive.dola:read_dola",
    "readings": "offcourse.archive.lens_pages:read_lens_page",
    "cie": "offcourse.archive.cie_pages:read_cie_page",
}
# The group that holds the released results of a step.
GROUPS = {
    "icl": "function_vectors",
    "fv_sweep": "function_vectors",
    "tv_icl": "task_vectors",
    "tv_sweep": "task_vectors",
    "dola": "dola",
    "logit_lens": "readings",
    "apathy": "readings",
    "cie": "cie",
}
# Rules that a study runs only when asked, from its results and the release's.
ON_DEMAND = ("comparison", "side_by_side")
# Tables of a study that the release has as well, each by the rule that makes it of the release.
TABLES = {
    f"published_{name}": product for name, product in PRODUCTS.items() if product.released and not product.figures
}
# Where the code of figures begins, which is found by their declarations.
_FIGURES = tuple(dict.fromkeys(target for each in PRODUCTS.values() if each.figures for target in each.targets))
# Rules of tables, figures and pages, see `published.files`, made in `published.pages`: where the code of each begins.
PAGES = {
    "published_models": ("offcourse.graph.release:write_models",),
    **{rule: product.targets for rule, product in TABLES.items()},
    "published_figures": ("offcourse.published.drawings:draw_figures", *_FIGURES),
    "published_sweep_page": PRODUCTS["figure_sweep"].targets,
    "published_comparison": ("offcourse.analysis.comparison:comparison",),
    "published_report": PRODUCTS["report"].targets,
    "comparison": ("offcourse.analysis.comparison:comparison",),
    "side_by_side": ("offcourse.published.side_by_side_drawings:make", *_FIGURES),
}
TARGETS = {f"published_{group}": (target,) for group, target in CONVERTED.items()} | PAGES


def groups_of(product: Product) -> list[str]:
    """The groups of released results that a product reads."""
    return list(dict.fromkeys(GROUPS[step] for step in product.inputs if step in GROUPS))


def script_of(rule: str) -> str:
    """Name of the script of a rule, without .py."""
    if rule.removeprefix("published_") in CONVERTED:
        return "convert_release"
    return rule if rule in (*ON_DEMAND, "published_sweep_page") else "published"
