"""What the C library is told about memory before threads ask for any."""

import ctypes

ARENAS = 2
"""Places that threads allocate from. glibc would make eight for each processor, and what a thread
once had in one of them no other gets: with two, a server is 13 MB smaller after 20 WebRTC sessions.
"""

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def share_arenas() -> bool:
    """Keeps the process to ARENAS; False where the C library has none to keep to.

    Source: mallopt(3), M_ARENA_MAX.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_M_ARENA_MAX, ARENAS))
