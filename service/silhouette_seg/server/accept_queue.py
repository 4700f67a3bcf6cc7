"""Stops listening without resetting connections that the kernel has already established."""

import asyncio
import ctypes
import select
import socket
import struct
import sys
from contextlib import suppress

MAX_WAIT_S = 1.0
"""Maximum seconds for the server to accept the connections that were established before."""
_SO_ATTACH_FILTER = 26
"""Option of Linux that attaches a packet filter to a socket (socket(7))."""
_DROP_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)
"""Program of the packet filter, one instruction: return 0, which drops the packet."""


async def stop_accepting(listener: socket.socket) -> None:
    """Returns when every established connection has been accepted. Close the listener at once then.

    On Linux no new connection is established from the call on: a client that connects waits, and is
    refused when the listener is closed. On other systems a few may still be reset.
    """
    if sys.platform == "linux":
        _drop_packets(listener)
    with suppress(TimeoutError):
        async with asyncio.timeout(MAX_WAIT_S):
            while _has_waiting_connection(listener):  # noqa: ASYNC110  # no event announces it
                await asyncio.sleep(0)


def _drop_packets(listener: socket.socket) -> None:
    """Drops all packets to a listening socket; accepted connections are not affected."""
    program = ctypes.create_string_buffer(_DROP_ALL)
    option = struct.pack("HP", 1, ctypes.addressof(program))
    with suppress(OSError):  # a sandbox may lack packet filters
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def _has_waiting_connection(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
