"""Tells a lack of memory from other errors.

Some codecs report a failed allocation like a damaged file. Where the address space is limited, a
trial allocation tells the two apart. Elsewhere allocations do not fail.
"""

from functools import cache
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

OPENCV_NO_MEMORY = -4
"""Code of cv2.error for a failed allocation, `cv::Error::StsNoMem`."""
_NEVER_OVERCOMMIT = "2"
"""Mode of Linux in which an allocation fails if it could exceed memory and swap."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Returns True for MemoryError, and for the errors of cv2 for a failed allocation.

    The latter are cv2.error with a code, and SystemError if memory for the result is missing.
    """
    if isinstance(error, SystemError) and error.__cause__ is not None:
        return is_lack_of_memory(error.__cause__)
    return isinstance(error, MemoryError) or getattr(error, "code", None) == OPENCV_NO_MEMORY


def can_allocations_fail() -> bool:
    """Returns True if the system refuses memory before it is used up.

    A limit of the address space (`ulimit -v`) does that, and so does Linux without overcommit.
    """
    if resource is not None and resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return True
    return _never_overcommits()


@cache
def _never_overcommits() -> bool:
    """Returns True if Linux runs without overcommit. Read once: every photo asks for it."""
    try:
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() == _NEVER_OVERCOMMIT
    except OSError:
        return False


def can_allocate(size: int) -> bool:
    """Returns True if a block of `size` bytes can be allocated now. The block is not written."""
    try:
        np.empty(size, np.uint8)
    except MemoryError:
        return False
    return True
