"""The package's layers: a module imports from its own layer or a lower one, and the light layers import no torch."""

import subprocess
import sys

import grimp
import pytest

LAYERS = [
    [
        "errors",
        "layout",
        "artefacts",
        "keyed",
        "study",
        "steering",
        "tsv",
        "pins",
        "registry",
        "release",
        "shapes",
        "buckets",
        "budgets",
        "printed",
        "tasks",
        "prompts",
        "questions",
        "task_vector_prompts",
        "store",
        "provenance",
    ],
    ["models"],
    ["engine"],
    ["methods"],
    ["analysis", "present", "published"],
    ["jobs", "cli", "__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def test_every_module_is_in_a_layer_and_imports_downwards():
    graph = grimp.build_graph("offcourse", cache_dir=None)
    wrong = []
    for module in graph.modules - {"offcourse"}:
        own = LEVEL[module.split(".")[1]]
        for imported in graph.find_modules_directly_imported_by(module) - {"offcourse"}:
            if LEVEL[imported.split(".")[1]] > own:
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


@pytest.mark.parametrize(
    "modules",
    [
        "offcourse.study.config, offcourse.tasks, offcourse.prompts, offcourse.store.shards",
        "offcourse.present.tables, offcourse.present.report, offcourse.present.figure_sweep",
        "offcourse.published.digitise, offcourse.published.dola, offcourse.published.sweep, offcourse.jobs.published",
        "offcourse.cli, offcourse.jobs.run, offcourse.jobs.status",
    ],
    ids=["study", "present", "published", "cli"],
)
def test_light_layers_import_no_torch(modules):
    code = f"import {modules}; import sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_registry_knows_exactly_the_classes_of_the_table():
    from offcourse.models.architectures import ARCHITECTURES
    from offcourse.registry import ARCHITECTURES as NAMES

    assert set(NAMES) == set(ARCHITECTURES)
