"""The package's layers: a module imports from its own layer or a lower one, and the light layers import no torch."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import offcourse

SOURCE = Path(offcourse.__file__).parent

# Lowest first. Packages of one layer do not import one another.
LAYERS = [
    ["errors"],
    ["layout", "files", "settings", "checkout", "printing"],
    ["schemas", "store"],
    ["provenance", "data", "vectors"],
    ["steering"],
    ["study"],
    ["models"],
    ["engine", "adding"],
    ["methods", "analysis"],
    ["claims", "archive"],
    ["tables", "figures"],
    ["report"],
    ["graph"],
    ["run", "audit"],
    ["plan", "published", "share"],
    ["cluster", "check_gpu", "judge"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def test_every_module_is_in_a_layer_and_imports_downwards():
    graph = grimp.build_graph("offcourse", cache_dir=None)
    wrong = []
    for module in graph.modules - {"offcourse"}:
        own = module.split(".")[1]
        for imported in graph.find_modules_directly_imported_by(module) - {"offcourse"}:
            other = imported.split(".")[1]
            if other != own and LEVEL[other] >= LEVEL[own]:
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


def test_no_package_is_above_a_tenth_of_the_lines():
    lines = dict.fromkeys(LEVEL, 0)
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).with_suffix("").parts[0]
        if name != "__init__":
            lines[name] += len(path.read_text(encoding="utf-8").splitlines())
    assert min(lines.values()) > 0
    assert {name: count for name, count in lines.items() if count > sum(lines.values()) / 10} == {}


@pytest.mark.parametrize(
    "modules",
    [
        "offcourse.study.config, offcourse.data.tasks, offcourse.data.prompts, offcourse.store.shards",
        "offcourse.tables.table3, offcourse.report.page, offcourse.figures.sweep",
        "offcourse.archive.digitise, offcourse.archive.dola, offcourse.archive.sweep, offcourse.graph.release",
        "offcourse.cli, offcourse.run.job, offcourse.audit.status, offcourse.plan.forecast, offcourse.cluster.slurm",
    ],
    ids=["study", "present", "published", "cli"],
)
def test_light_layers_import_no_torch(modules):
    code = f"import {modules}; import sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
