"""`multipart/mixed` responses that send each part as soon as it is ready."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from silhouette_seg.api.media_types import MULTIPART_MIXED
from silhouette_seg.api.problem_details import CODE_KEY

CHUNK_BYTES = 2**16
"""Maximum bytes of one write to a client.

They are few enough to tell a slow client, which still reads, from one that is gone.
"""


@dataclass(frozen=True, slots=True)
class MixedPart:
    """One part of a `multipart/mixed` response.

    Header names and values are ASCII, without line breaks. `Content-Length` is added later.
    """

    headers: Mapping[str, str]
    body: bytes


class MixedResponse(StreamingResponse):
    """`multipart/mixed` response that sends each part as soon as the generator `parts` yields it.

    It ends early if the client disconnects, or reads nothing for `write_timeout_s` seconds. In all
    cases it closes `parts` first, and then the exit stack `resources`.
    """

    def __init__(
        self, parts: AsyncGenerator[MixedPart], *, write_timeout_s: float, resources: ExitStack
    ) -> None:
        boundary = secrets.token_hex(16)
        self._chunks = encode_parts(parts, boundary)
        self._write_timeout_s = write_timeout_s
        self._resources = resources
        super().__init__(self._chunks, media_type=f"{MULTIPART_MIXED}; boundary={boundary}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._resources:
            async with aclosing(self._chunks):
                try:
                    await self._send_until_disconnect(receive, send)
                except ClientDisconnect:
                    scope[CODE_KEY] = "client_gone"

    async def _send_until_disconnect(self, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._write_timeout_s):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        sending = asyncio.create_task(self.stream_response(send_in_time))
        disconnect = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait({sending, disconnect}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientDisconnect
            sending.result()
        finally:
            sending.cancel()
            disconnect.cancel()
            await asyncio.gather(sending, disconnect, return_exceptions=True)


async def encode_parts(parts: AsyncGenerator[MixedPart], boundary: str) -> AsyncGenerator[bytes]:
    """Yields the bytes of a `multipart/mixed` body with this boundary, in chunks.

    Closing the generator closes `parts`.
    """
    async with aclosing(parts):
        async for part in parts:
            lines = [f"--{boundary}", f"Content-Length: {len(part.body)}"]
            lines += [f"{name}: {value}" for name, value in part.headers.items()]
            yield "\r\n".join([*lines, "", ""]).encode("ascii")
            for start in range(0, len(part.body), CHUNK_BYTES):
                yield part.body[start : start + CHUNK_BYTES]
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode("ascii")
