"""Offcourse: a reproduction of *Steering off Course* that can be rerun, checked and extended."""

import gc
import time

__version__ = "0.3.0"

# Importing torch and transformers makes a million objects that stay. Python's garbage collector walks through all of
# them each time their number has grown by a quarter, which takes a sixth of the time in which a job starts. With this
# threshold it does so a hundred times less often, and looks at young objects as often as ever.
gc.set_threshold(*gc.get_threshold()[:2], 1000)

# When this process began to read the package's code, in seconds since the epoch: `store.fingerprint.freeze_imports`
# compares with it.
STARTED = time.time()
