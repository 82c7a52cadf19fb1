"""Memory that is freed stays with the process: the next round of the same allocations needs no new pages."""

import subprocess
import sys

import pytest

CODE = """
import ctypes, resource
from offcourse.models.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [libc.malloc(1 << 16) for _ in range(400)]
        for block in blocks:
            ctypes.memset(block, 1, 1 << 16)
        for block in blocks:
            libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is a setting of glibc")
def test_freed_memory_is_used_again():
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", CODE.format(keep=keep)], capture_output=True, check=True).stdout)
        for keep in (True, False)
    )
    # Ten rounds of 25 MiB are 64,000 pages of 4 KiB.
    assert returned > 10_000
    assert kept < 1_000
