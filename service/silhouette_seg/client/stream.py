"""One stream of live frames: at most as many unanswered as the service gave credits for."""

import asyncio
import time
from base64 import b64encode
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from json import JSONDecodeError, loads
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from silhouette_seg.client.errors import (
    BROKEN,
    ClientError,
    Refused,
    StreamClosed,
    handshake_errors,
)
from silhouette_seg.streaming import protocol

Value = str | int | float | bool
"""Of a parameter."""
Option = Value | bytes | None
"""Of a stream: bytes are a picture, None takes back what was asked for before."""

MAX_RESULT_BYTES = 128 * 2**20
_SEQUENCES = 2**32
_PROTOCOL_ERROR = 1002


@dataclass(frozen=True, slots=True)
class Result:
    """What was made of a frame: a picture of `width` x `height`."""

    seq: int
    timestamp_us: int
    """When it was sent, on the clock of `time.monotonic`."""
    round_trip_s: float
    picture: bytes
    width: int
    height: int
    foreground: bool
    """Whether there is a person in it."""
    dropped: int
    """Frames of the stream skipped so far."""
    server_s: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A newer frame took this one's place."""

    seq: int
    timestamp_us: int
    round_trip_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing can be made of this frame; the stream goes on."""

    seq: int
    timestamp_us: int
    round_trip_s: float
    code: str
    detail: str
    retryable: bool


Answer = Result | Skipped | Failed


@asynccontextmanager
async def open_stream(
    url: httpx.URL, headers: Mapping[str, str], timeout_s: float, options: Mapping[str, Option]
) -> AsyncIterator["Stream"]:
    """Raises StreamClosed, Refused or Unreachable."""
    where = url.copy_with(
        scheme="wss" if url.scheme == "https" else "ws",
        path=f"{url.path.rstrip('/')}/v1/stream",
    )
    with handshake_errors(url):
        socket = await connect(
            str(where),
            subprotocols=[Subprotocol(protocol.SUBPROTOCOL)],
            additional_headers=headers,
            compression=None,  # pictures are compressed
            max_size=MAX_RESULT_BYTES,
            open_timeout=timeout_s,
        )
    stream = Stream(socket)
    reading = asyncio.create_task(stream.read())
    try:
        await stream.configure(**options)
        yield stream
    finally:
        stream.ended = True
        await socket.close()
        await reading


class Stream:
    """`send` frames in one task and iterate over the answers in another, or let `map` do both.

    A credit comes back when its answer is taken: whoever is slow to read is slow to send, and no
    answer grows old in a queue. Ends with the block that opened it; raises StreamClosed when the
    service ends it before.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.ended = False
        """By us: then iteration stops."""
        self.session = ""
        self.options: dict[str, Any] = {}
        """In effect, as the service says."""
        self.credits = protocol.FRAME_CREDITS
        self.max_bytes: int | None = None
        """Of one message."""
        self._socket = socket
        self._seq = 0
        self._unanswered = 0
        self._answers: deque[Answer] = deque()
        self._replies: deque[dict[str, Any]] = deque()
        self._configuring = asyncio.Lock()
        self._closed: ClientError | None = None
        self._news = asyncio.Event()

    async def configure(self, **options: Option) -> None:
        """Changes the options that are named, for the frames from the next one on.

        Raises Refused for options that are not allowed, and then nothing changes.
        """
        async with self._configuring:
            sent = {name: _json(value) for name, value in options.items()}
            await self._say(protocol.text_message("config", sent))
            await self._until(lambda: bool(self._replies))
            reply = self._replies.popleft()
        if reply["type"] != "ready":
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
        """The next frame owes nothing to those before it."""
        await self._say(protocol.text_message("reset", {}))

    async def send(self, picture: bytes) -> int:
        """Waits for a credit, sends a JPEG, PNG or WebP, and returns its number.

        Raises ValueError for a picture that is too big for the service to take.
        """
        await self._until(lambda: self._unanswered < self.credits)
        seq = (self._seq + 1) % _SEQUENCES
        message = protocol.pack(
            protocol.MessageHeader(protocol.MessageKind.FRAME, seq, _now_us()), picture
        )
        if self.max_bytes is not None and len(message) > self.max_bytes:
            raise ValueError(f"a message has at most {self.max_bytes} bytes, not {len(message)}")
        self._seq = seq
        self._unanswered += 1
        await self._say(message)
        return seq

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Answer:
        if self.ended:
            raise StopAsyncIteration
        await self._until(lambda: bool(self._answers))
        return self._take()

    async def map(self, frames: AsyncIterable[bytes]) -> AsyncGenerator[Answer, None]:
        """Exactly one answer to every frame, as they come; raises what `frames` raises.

        The newest frame wins here too: of two that reach an idle service together, the first may
        be Skipped. Whoever must have every picture sends one and waits for its answer.
        """
        sending = asyncio.create_task(self._send_all(frames))
        sending.add_done_callback(lambda _: self._news.set())
        try:
            while True:
                await self._until(
                    lambda: bool(self._answers) or (sending.done() and not self._unanswered)
                )
                if not self._answers:
                    break
                yield self._take()
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def read(self) -> None:
        """Takes in what the service sends, until the connection ends; `open_stream` runs it."""
        try:
            async for message in self._socket:
                self._take_in(message)
                self._news.set()
            self._closed = self._why()
        except ConnectionClosed:
            self._closed = self._why()
        except (protocol.ProtocolError, JSONDecodeError, KeyError) as error:
            self._closed = StreamClosed(
                _PROTOCOL_ERROR, f"the service broke the protocol: {error!r}"
            )
        finally:
            self._news.set()

    def _take_in(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._replies.append(protocol.parse_text_message(message))
        else:
            self._answers.append(_read_answer(message))

    def _take(self) -> Answer:
        """Whoever waits for its credit is told."""
        self._unanswered -= 1
        self._news.set()
        return self._answers.popleft()

    async def _send_all(self, frames: AsyncIterable[bytes]) -> None:
        async for frame in frames:
            await self.send(frame)

    async def _say(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            raise self._why() from None

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Raises StreamClosed where it can no longer come true."""
        while not condition():
            if self._closed is not None:
                raise self._closed
            self._news.clear()
            await self._news.wait()

    def _why(self) -> StreamClosed:
        code = self._socket.close_code
        return StreamClosed(BROKEN if code is None else code, self._socket.close_reason or "")


def _read_answer(message: bytes) -> Answer:
    """Raises WireError, and KeyError or JSONDecodeError for an error that is not as it should."""
    header, body = protocol.unpack(message)
    about = (header.seq, header.timestamp, (_now_us() - header.timestamp) / 1e6)
    match header.kind:
        case protocol.MessageKind.RESULT:
            result, picture = protocol.unpack_result(body)
            return Result(
                *about,
                picture=bytes(picture),
                width=result.width,
                height=result.height,
                foreground=protocol.MessageFlags.FOREGROUND in header.flags,
                dropped=result.skipped,
                server_s=result.server_us / 1e6,
            )
        case protocol.MessageKind.SKIPPED:
            return Skipped(*about)
        case protocol.MessageKind.ERROR:
            said = loads(bytes(body))
            return Failed(*about, said["code"], said["detail"], said["retryable"])
    raise protocol.ProtocolError(f"a service sends no {header.kind.name}")


def _json(value: Option) -> Value | None:
    return b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def _now_us() -> int:
    return time.monotonic_ns() // 1000
