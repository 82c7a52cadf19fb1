"""What a record says about the machine."""

import subprocess
import sys

from offcourse.provenance.environment import peak_memory


def test_peak_memory_is_that_of_the_program_itself():
    held = b"x" * 300_000_000
    assert peak_memory() > len(held)
    ask = "from offcourse.provenance.environment import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert 1e6 < int(child.stdout) < len(held)
