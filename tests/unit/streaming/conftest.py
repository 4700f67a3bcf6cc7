"""A thread pool for the tests of streams."""

import pytest

from silhouette_seg.runtime.thread_pool import ThreadPool


@pytest.fixture
def workers():
    pool = ThreadPool(2)
    yield pool
    pool.close()
