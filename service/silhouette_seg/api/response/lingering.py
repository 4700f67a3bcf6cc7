"""HTTP response that lets a client finish sending its body before the connection closes."""

import asyncio
import contextlib

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

LINGER_S = 2.0
"""Maximum seconds for which the rest of a request body is read and discarded."""


class LingeringResponse(Response):
    """Response that is sent at once; the rest of the request body is then read and discarded.

    Closing a connection with unread bytes resets it. A client that is still sending would then
    lose the response.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_end(message: Message) -> None:
            await send({**message, "more_body": True} if "body" in message else message)

        await super().__call__(scope, receive, send_without_end)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})
