"""Client side of a WebSocket stream: sends video frames and receives a result for each.

The service grants credits: the number of frames that may be unanswered at the same time.
"""

import asyncio
import time
from base64 import b64encode
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from json import JSONDecodeError, loads
from typing import Any, Self, Unpack

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from silhouette_seg.client.errors import (
    ABNORMAL_CLOSURE,
    ClientError,
    Refused,
    StreamClosed,
    translate_handshake_errors,
)
from silhouette_seg.client.parameters import StreamParameters, split_background
from silhouette_seg.streaming import protocol

MAX_RESULT_BYTES = 128 * 2**20
"""Maximum bytes of a message that the client accepts from the service."""
_SEQUENCE_MODULUS = 2**32
_PROTOCOL_ERROR = 1002
"""WebSocket close code of a peer that violates the protocol (RFC 6455, 7.4.1)."""


@dataclass(frozen=True, slots=True)
class Result:
    """Answer to a frame that was segmented: an image file of `width` x `height` pixels."""

    seq: int
    timestamp_us: int
    """Time at which the frame was sent, in microseconds of `time.monotonic`."""
    round_trip_s: float
    picture: bytes
    width: int
    height: int
    foreground: bool
    """True if the frame shows a person."""
    dropped: int
    """Number of frames of the stream that were skipped so far."""
    server_s: float
    """Seconds that the server spent on the frame."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Answer to a frame that was not segmented, because a newer frame replaced it."""

    seq: int
    timestamp_us: int
    round_trip_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Answer to a frame that could not be segmented; the stream continues."""

    seq: int
    timestamp_us: int
    round_trip_s: float
    code: str
    detail: str
    retryable: bool


Answer = Result | Skipped | Failed


@asynccontextmanager
async def open_stream(
    url: httpx.URL, headers: Mapping[str, str], timeout_s: float, options: StreamParameters
) -> AsyncIterator["Stream"]:
    """Opens a WebSocket stream at the service `url`, sends `options`, and yields the stream.

    The end of the block closes it. Raises Refused for a rejected handshake or option, StreamClosed
    if the service closes the stream, and Unreachable without a connection in `timeout_s` seconds.
    """
    stream_url = url.copy_with(
        scheme="wss" if url.scheme == "https" else "ws",
        path=f"{url.path.rstrip('/')}/v1/stream",
    )
    with translate_handshake_errors(url):
        socket = await connect(
            str(stream_url),
            subprotocols=[Subprotocol(protocol.SUBPROTOCOL)],
            additional_headers=headers,
            compression=None,  # pictures are compressed already
            max_size=MAX_RESULT_BYTES,
            open_timeout=timeout_s,
        )
    stream = Stream(socket)
    reader = asyncio.create_task(stream.receive())
    try:
        await stream.configure(**options)
        yield stream
    finally:
        stream.closed = True
        await socket.close()
        await reader


class Stream:
    """Open video stream: `send` frames and iterate over the answers in two tasks, or use `map`.

    A frame may be sent while fewer than `credits` answers are unread. A slow consumer therefore
    slows the sender down, and no answer ages in a queue. Methods raise StreamClosed if the service
    closes the stream.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.closed = False
        """True once the client has closed the stream; the iteration over answers then ends."""
        self.session = ""
        """Id of the stream, which the service chooses; empty until it is known."""
        self.options: dict[str, Any] = {}
        """All options in effect by name, as the service reports them."""
        self.credits = protocol.FRAME_CREDITS
        """Maximum number of sent frames with an unread answer."""
        self.max_bytes: int | None = None
        """Maximum bytes of a message that the service accepts; None until it is known."""
        self.warnings: list[str] = []
        """Faults of frames that cost no pixel, as sentences; each once."""
        self._socket = socket
        self._seq = 0
        self._unanswered = 0
        self._answers: deque[Answer] = deque()
        self._replies: deque[dict[str, Any]] = deque()
        self._configuring = asyncio.Lock()
        self._error: ClientError | None = None
        self._changed = asyncio.Event()

    async def configure(self, **options: Unpack[StreamParameters]) -> None:
        """Changes the named options from the next frame on, and waits for the service's reply.

        Raises Refused for an invalid option; the service then changes none. Raises InvalidArgument
        for a background of another type, and OSError for a file that cannot be read.
        """
        sent = await asyncio.to_thread(_to_json, options)
        async with self._configuring:
            await self._send(protocol.text_message(protocol.TextType.CONFIG, sent))
            await self._wait_for(lambda: bool(self._replies))
            reply = self._replies.popleft()
        if reply["type"] != protocol.TextType.READY:
            raise Refused(
                str(reply.get("code", "")),
                str(reply.get("detail", "")),
                retryable=bool(reply.get("retryable")),
            )
        self.session = reply["session"]
        self.options = reply["options"]
        self.credits = reply["credits"]
        self.max_bytes = reply["max_bytes"]

    async def reset(self) -> None:
        """Makes the service forget the previous frames, so that the next mask is not smoothed."""
        await self._send(protocol.text_message(protocol.TextType.RESET, {}))

    async def send(self, picture: bytes) -> int:
        """Sends a frame, an image file, and returns its sequence number, 0..2**32-1.

        First it waits until fewer than `credits` answers are unread. Raises ValueError for a frame
        that is larger than the service accepts.
        """
        await self._wait_for(lambda: self._unanswered < self.credits)
        seq = (self._seq + 1) % _SEQUENCE_MODULUS
        message = protocol.pack(
            protocol.MessageHeader(protocol.MessageKind.FRAME, seq, _now_us()), picture
        )
        if self.max_bytes is not None and len(message) > self.max_bytes:
            raise ValueError(f"a message has at most {self.max_bytes} bytes, not {len(message)}")
        self._seq = seq
        self._unanswered += 1
        await self._send(message)
        return seq

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Answer:
        if self.closed:
            raise StopAsyncIteration
        await self._wait_for(lambda: bool(self._answers))
        return self._next_answer()

    async def map(self, frames: AsyncIterable[bytes]) -> AsyncGenerator[Answer, None]:
        """Sends the frames, image files, and yields exactly one answer to each as they arrive.

        A newer frame replaces a waiting one: of two frames that arrive together, the first may be
        Skipped. If you need every picture, send one and wait for its answer. Raises the errors of
        `frames`.
        """
        sending = asyncio.create_task(self._send_all(frames))
        sending.add_done_callback(lambda _: self._changed.set())
        try:
            while True:
                await self._wait_for(
                    lambda: bool(self._answers) or (sending.done() and not self._unanswered)
                )
                if not self._answers:
                    break
                yield self._next_answer()
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def receive(self) -> None:
        """Reads messages of the service until the connection ends; `open_stream` runs it."""
        try:
            async for message in self._socket:
                self._on_message(message)
                self._changed.set()
            self._error = self._close_error()
        except ConnectionClosed:
            self._error = self._close_error()
        except (protocol.ProtocolError, JSONDecodeError, KeyError) as error:
            self._error = StreamClosed(
                _PROTOCOL_ERROR, f"the service violated the protocol: {error!r}"
            )
        finally:
            self._changed.set()

    def _on_message(self, message: str | bytes) -> None:
        if not isinstance(message, str):
            self._answers.append(_parse_answer(message))
            return
        reply = protocol.parse_text_message(message)
        if reply["type"] == protocol.TextType.WARNING:
            self.warnings.append(str(reply["detail"]))
        else:
            self._replies.append(reply)

    def _next_answer(self) -> Answer:
        """Removes and returns the oldest answer, so that a waiting `send` may continue."""
        self._unanswered -= 1
        self._changed.set()
        return self._answers.popleft()

    async def _send_all(self, frames: AsyncIterable[bytes]) -> None:
        async for frame in frames:
            await self.send(frame)

    async def _send(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            raise self._close_error() from None

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until the condition is true. Raises StreamClosed if the connection ends before."""
        while not condition():
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()

    def _close_error(self) -> StreamClosed:
        code = self._socket.close_code
        reason = self._socket.close_reason or ""
        return StreamClosed(ABNORMAL_CLOSURE if code is None else code, reason)


def _parse_answer(message: bytes) -> Answer:
    """Parses a binary message of the service to the answer that it holds.

    Raises ProtocolError for a message that breaks `silhouette.v1`, and KeyError or JSONDecodeError
    for a malformed error message.
    """
    header, body = protocol.unpack(message)
    common = (header.seq, header.timestamp, (_now_us() - header.timestamp) / 1e6)
    match header.kind:
        case protocol.MessageKind.RESULT:
            result, picture = protocol.unpack_result(body)
            return Result(
                *common,
                picture=bytes(picture),
                width=result.width,
                height=result.height,
                foreground=protocol.MessageFlags.FOREGROUND in header.flags,
                dropped=result.skipped,
                server_s=result.server_us / 1e6,
            )
        case protocol.MessageKind.SKIPPED:
            return Skipped(*common)
        case protocol.MessageKind.ERROR:
            error = loads(bytes(body))
            return Failed(*common, error["code"], error["detail"], error["retryable"])
    raise protocol.ProtocolError(f"the service must not send {header.kind.name}")


def _to_json(options: StreamParameters) -> dict[str, Any]:
    """Returns the members of a `config` message; a background image is in base64."""
    members, background = split_background(options)
    if background is not None:
        members["background_image"] = b64encode(background).decode("ascii")
    return members


def _now_us() -> int:
    return time.monotonic_ns() // 1000
