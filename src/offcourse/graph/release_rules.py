"""The rules of the authors' released results: where the code of each begins. Imports nothing heavy, for audits."""

from typing import Any

from offcourse.graph.products import template

NAME = "published"  # the folder below results/, in the place of a study's name
# Groups of results: rule published_{group}, see `published.release`.
CONVERTED = {
    "function_vectors": "offcourse.archive.sweep:read_sweeps",
    "task_vectors": "offcourse.archive.task_vectors:read_task_vectors",
    "dola": "offcourse.archive.dola:read_dola",
    "readings": "offcourse.archive.lens_pages:read_lens_page",
    "cie": "offcourse.archive.cie_pages:read_cie_page",
}
# Rules that a study runs only when asked, from its results and the release's.
ON_DEMAND = ("comparison", "side_by_side")
# Rules of tables, figures and pages, see `published.files`, made in `published.pages`.
PAGES = {
    "published_models": "offcourse.published.release:write_models",
    "published_table3": "offcourse.tables.table3:table3",
    "published_tables_dola": "offcourse.tables.dola:write",
    "published_tables_facts": "offcourse.tables.model_facts:write",
    "published_figures": "offcourse.published.drawings:draw_figures",
    "published_sweep_page": "offcourse.figures.sweep:draw",
    "published_sensitivity": "offcourse.tables.sensitivity:write",
    "published_comparison": "offcourse.analysis.comparison:comparison",
    "published_report": "offcourse.report.page:write",
    "comparison": "offcourse.analysis.comparison:comparison",
    "side_by_side": "offcourse.published.side_by_side_drawings:make",
}
TARGETS = {f"published_{group}": target for group, target in CONVERTED.items()} | PAGES


def parameters_of(rule: str) -> dict[str, Any]:
    """What such a rule reads beside results and Python: of the report its templates."""
    return {"template": template()} if rule == "published_report" else {}
