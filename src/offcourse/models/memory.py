"""How the C library treats memory that torch frees on the CPU."""

import ctypes
import sys

# Parameters of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_REUSED = 32 << 20  # glibc takes no more
KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Let freed memory be used again by this process instead of going back to the system; whether that was possible.

    A pass frees and allocates the same few megabytes in every block. By default glibc returns them in between, so each
    product first waits for its pages to be mapped and cleared again. At most `KEPT` bytes are held. Only glibc has this
    setting; elsewhere nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_REUSED) and mallopt(M_TRIM_THRESHOLD, KEPT))
