"""Lock that is held while models load, also across a fork."""

import os
import threading

LOAD_LOCK = threading.RLock()
"""Held by the thread that loads a model or imports its runtime.

A fork waits for it, so that no process begins with a half-loaded model or a lock that stays locked.
"""

if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(
        before=LOAD_LOCK.acquire,
        after_in_parent=LOAD_LOCK.release,
        after_in_child=LOAD_LOCK.release,
    )
