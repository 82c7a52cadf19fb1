"""The rules of the authors' released results, and where the code of each begins. Imports nothing heavy, for audits."""

from offcourse.graph.product import Product
from offcourse.graph.products import PRODUCTS

NAME = "published"  # the folder below results/, where a study has its name
# {group of results: "module:function" of its rule `published_{group}`}, see `graph.release`.
CONVERTED = {
    "function_vectors": "offcourse.archive.sweep:read_sweeps",
    "task_vectors": "offcourse.archive.task_vectors:read_task_vectors",
    "dola": "offcourse.archive.dola:read_dola",
    "readings": "offcourse.archive.lens_pages:read_lens_page",
    "cie": "offcourse.archive.cie_pages:read_cie_page",
}
# {step: group that holds the step's released results}.
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
# Rules that run only on request, on the results of a study and of the release.
ON_DEMAND = ("comparison", "side_by_side")
# {rule that makes a table from the release: the table's product}.
TABLES = {
    f"published_{name}": product for name, product in PRODUCTS.items() if product.released and not product.figures
}
# {rule that draws figures of the release: the products that it draws}. A rule draws what reads the same results, in one
# process that reads them once. Snakemake looks at each input once for each output, and inputs are a thousand tables.
FIGURES = {
    rule: tuple(PRODUCTS[name] for name in names)
    for rule, names in {
        "published_figures": (
            *("figure_off_by_one", "figure_overview", "figure_recovery", "figure_heads", "figure_shots"),
            "figure_choices",
        ),
        "published_task_vector_figures": ("figure_task_vectors", "figure_post_training"),
        "published_page_figures": ("figure_sweep", "figure_lens", "figure_apathy", "figure_cie"),
    }.items()
}
# Where the code of all figures begins, from their declarations.
_FIGURES = tuple(dict.fromkeys(target for each in PRODUCTS.values() if each.figures for target in each.targets))
DRAWN = "offcourse.published.drawings:draw_figures"
# {rule of tables, figures or pages: where its code begins}, see `published.files` and `published.pages`.
PAGES = {
    "published_models": ("offcourse.graph.release:write_models",),
    **{rule: product.targets for rule, product in TABLES.items()},
    **{
        rule: tuple(dict.fromkeys((DRAWN, *(target for product in products for target in product.targets))))
        for rule, products in FIGURES.items()
    },
    "published_sweep_page": PRODUCTS["figure_sweep"].targets,
    "published_comparison": ("offcourse.analysis.comparison:comparison",),
    "published_report": PRODUCTS["report"].targets,
    "comparison": ("offcourse.analysis.comparison:comparison",),
    "side_by_side": ("offcourse.published.side_by_side_drawings:make", *_FIGURES),
}
TARGETS = {f"published_{group}": (target,) for group, target in CONVERTED.items()} | PAGES


# Where the code begins that unpacks a group of results, in the place of converting the authors' files.
UNPACKED = ("offcourse.published.packed:tables",)


def targets_of(rule: str, original: bool = False) -> tuple[str, ...]:
    """Where the code of a rule begins. original: converted results are made from the authors' own files."""
    return UNPACKED if rule.removeprefix("published_") in CONVERTED and not original else TARGETS[rule]


def groups_of(*products: Product) -> list[str]:
    """The groups of released results that some products read."""
    return list(dict.fromkeys(GROUPS[step] for each in products for step in each.inputs if step in GROUPS))


def script_of(rule: str) -> str:
    """Name of the script of a rule, without .py."""
    if rule.removeprefix("published_") in CONVERTED:
        return "convert_release"
    return rule if rule in (*ON_DEMAND, "published_sweep_page") else "published"
