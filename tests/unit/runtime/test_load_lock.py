"""The lock of loading models, across a fork."""

import os
import threading

import pytest

from silhouette_seg.runtime.load_lock import LOAD_LOCK

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_waits_for_the_lock_and_leaves_it_free():
    held, forking, loaded = threading.Event(), threading.Event(), []
    os.register_at_fork(before=forking.set)  # runs before the lock's own, which is older

    def load() -> None:
        with LOAD_LOCK:
            held.set()
            forking.wait()
            loaded.append(True)

    thread = threading.Thread(target=load)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if loaded and LOAD_LOCK.acquire(blocking=False) else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert LOAD_LOCK.acquire(blocking=False)
    LOAD_LOCK.release()
