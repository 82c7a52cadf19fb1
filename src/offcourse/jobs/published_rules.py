"""The rules of the authors' released results: where the code of each begins. Imports nothing heavy, for audits."""

from collections.abc import Mapping
from typing import Any

from offcourse.jobs.drawings import template
from offcourse.jobs.status import differences
from offcourse.provenance.records import code_behind
from offcourse.store.fingerprint import script_digest

NAME = "published"  # the folder below results/, in the place of a study's name
# Groups of results: rule published_{group}, see `jobs.published`.
STORE = {
    "function_vectors": "offcourse.published.sweep:read_sweeps",
    "task_vectors": "offcourse.published.task_vectors:read_task_vectors",
    "dola": "offcourse.published.dola:read_dola",
    "readings": "offcourse.published.lens_pages:read_lens_page",
    "cie": "offcourse.published.cie_pages:read_cie_page",
}
# Rules that a study runs only when asked, from its results and the release's.
ON_DEMAND = ("comparison", "side_by_side")
# Rules of tables, figures and pages, see `jobs.published_files`, made in `jobs.published_pages`.
PAGES = {
    "published_models": "offcourse.jobs.published:write_models",
    "published_table3": "offcourse.present.tables:table3",
    "published_tables_dola": "offcourse.present.tables_dola:write",
    "published_tables_facts": "offcourse.present.table_facts:write",
    "published_figures": "offcourse.jobs.published_drawings:draw_figures",
    "published_sweep_page": "offcourse.present.figure_sweep:draw",
    "published_sensitivity": "offcourse.present.table_sensitivity:write",
    "published_comparison": "offcourse.published.compare:comparison",
    "published_report": "offcourse.present.report:write",
    "comparison": "offcourse.published.compare:comparison",
    "side_by_side": "offcourse.jobs.side_by_side_drawings:make",
}
TARGETS = {f"published_{group}": target for group, target in STORE.items()} | PAGES


def parameters_of(rule: str) -> dict[str, Any]:
    """What such a rule reads beside results and Python: of the report its templates."""
    return {"template": template()} if rule == "published_report" else {}


def changes(record: Mapping[str, Any]) -> list[str]:
    """What changed in code, packages and templates since the record of one of these rules was written."""
    rule = record["rule"]
    if rule not in TARGETS:
        return ["this version has no such rule"]
    code = code_behind(TARGETS[rule])
    before = {key: record["code"].get(key) for key in ("modules", "packages")} | {"script": record.get("script")}
    now = {key: code[key] for key in ("modules", "packages")} | {"script": script_digest(rule)}
    parameters = parameters_of(rule)
    # A converted table's record also says how its page was read.
    before["parameters"] = {name: record["parameters"].get(name) for name in parameters}
    return differences(before, now | {"parameters": parameters})
