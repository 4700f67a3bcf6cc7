"""A thread pool for the tests of this folder."""

import pytest

from silhouette_seg.runtime.thread_pool import ThreadPool


@pytest.fixture(scope="package")
def workers():
    pool = ThreadPool(2)
    yield pool
    pool.close()
