"""Stops listening without resetting connections that the kernel has already established."""

import asyncio
import select
import socket
from contextlib import suppress

MAX_WAIT_S = 1.0
"""Maximum seconds for the server to accept the connections that were established before."""


async def accept_all(listener: socket.socket) -> None:
    """Returns when every established connection has been accepted; close the listener at once then.

    A client that connects in between is reset, so a busy client must be ready to connect again.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(MAX_WAIT_S):
            while _has_waiting_connection(listener):  # noqa: ASYNC110  # no event announces it
                await asyncio.sleep(0)


def _has_waiting_connection(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
