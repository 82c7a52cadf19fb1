"""Words are loaded as `datasets`, in a process that has neither torch nor transformers."""

import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.tasks import load_pairs
from offcourse.methods import prompts
from offcourse.run import job
words = load_pairs(Registry.load().task("antonym"), "embedded", RESOURCES, Path())
assert len(words) > 100 and "datasets" in sys.modules
print(*sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_the_step_of_prompts_loads_no_package_of_models():
    """So the step's key holds the version of neither, which the mutation test takes as given."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
