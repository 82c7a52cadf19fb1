"""Names that the whole project shares: where its tables are, methods, steering methods, forms of questions."""

import os
from pathlib import Path

RESOURCES = Path(os.environ.get("OFFCOURSE_RESOURCES", Path(__file__).parents[3] / "resources"))

FORMS = ("primer", "continuation", "letters", "ab")

# Steering methods beyond the paper's, each a module of `offcourse.steering` (docs/extending.md).
STEERING = tuple(
    sorted(path.stem for path in (Path(__file__).parents[1] / "steering").glob("[a-z]*.py") if path.stem != "contract")
)

PAPER = ("function_vectors", "task_vectors", "dola", "logit_lens")
METHODS = (*PAPER, *STEERING)

# Names that no study or model can have, since results/ or results/STUDY has a folder of this name.
RESERVED = ("benchmarks", "figures", "judged", "logs", "others")
RESERVED += ("provenance", "published", "ro-crate", "store", "tables")

ARCHIVE = "steering-off-course"  # name of the row of sources.tsv with the authors' repository
