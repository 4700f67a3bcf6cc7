"""Creates thread pools with all of their threads running."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


def started_executor(count: int, thread_name_prefix: str) -> ThreadPoolExecutor:
    """Returns a pool of `count` threads, all of which have started.

    ThreadPoolExecutor starts a thread when a call needs it. That fails without memory for its
    stack, and then the call is lost.
    """
    executor = ThreadPoolExecutor(count, thread_name_prefix)
    barrier = Barrier(count + 1)
    for _ in range(count):
        executor.submit(barrier.wait)
    barrier.wait()
    return executor
