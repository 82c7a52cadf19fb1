"""Offcourse: a reproduction of *Steering off Course* that can be rerun, checked and extended."""

import time

__version__ = "0.3.0"

# When this process began to read the package's code, in seconds since the epoch: `store.fingerprint.freeze_imports`
# compares with it.
STARTED = time.time()
