from collections.abc import Iterator

import cv2
import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Single-threaded torch: the work is tiny, and sums repeat exactly."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])
