"""Settings of the C library for memory that torch frees on the CPU."""

import ctypes
import sys

# Parameters of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_REUSED = 32 << 20  # the largest value that glibc accepts
KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Let this process keep up to `KEPT` freed bytes for itself; returns whether that was possible.

    A pass frees and allocates the same few megabytes in every block. By default glibc returns freed memory to the
    system, so each matrix product first waits until its pages are mapped and cleared again. Only glibc has this
    setting; with other C libraries nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_REUSED) and mallopt(M_TRIM_THRESHOLD, KEPT))
