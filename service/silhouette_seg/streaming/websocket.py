"""One video stream over a WebSocket: reads frames, and sends exactly one answer to each.

Nothing accumulates: one frame is processed while at most one waits. Each task sends its answer
before it continues. If a client does not read, its messages are not read either.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Final, NoReturn

from starlette.websockets import WebSocket, WebSocketDisconnect

from silhouette_seg.admission.stream_limit import StreamLimits
from silhouette_seg.errors import (
    BadRequest,
    Draining,
    ServiceError,
    UnprocessableImage,
    UnsupportedImageType,
)
from silhouette_seg.pipeline.measurements import measurements_of
from silhouette_seg.pipeline.photo import RenderedImage
from silhouette_seg.streaming.image_frame import process_frame
from silhouette_seg.streaming.latest_slot import LatestSlot
from silhouette_seg.streaming.protocol import (
    FRAME_CREDITS,
    CloseCode,
    MessageFlags,
    MessageHeader,
    MessageKind,
    ProtocolError,
    ResultHeader,
    TextType,
    pack,
    pack_result,
    parse_text_message,
    text_message,
    unpack,
)
from silhouette_seg.streaming.session import StreamOptions, StreamSession, frame_deadline
from silhouette_seg.telemetry import Telemetry
from silhouette_seg.vision.codec.decode import ImageLimits

TRANSPORT: Final = "websocket"
"""Value of the metric label `transport` for streams over a WebSocket."""
MAX_BAD_FRAMES = 30
"""Number of consecutive invalid image files after which the stream is closed."""
MAX_CLOSE_REASON_BYTES = 123
"""Maximum bytes of the reason in a WebSocket close message (RFC 6455)."""
INTERNAL_REASON = "internal error; the log of the service has the details"
"""Close reason of a stream that ends with an unexpected exception."""
CLOSE_TIMEOUT_S = 1.0
"""Maximum seconds to send the close message: the client may have stopped reading."""

log = logging.getLogger(__name__)


class StreamEnd(Exception):
    """Raised to end a stream, with a WebSocket close code and a reason for the client.

    `code` is a CloseCode, or the code with which the client closed the connection.
    """

    def __init__(self, code: int, reason: str, *, disconnected: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.disconnected = disconnected
        """True if the client closed or lost the connection: no close message can be sent."""


class FrameSocket:
    """WebSocket that receives and sends whole messages, text or bytes.

    If the client disconnects, `receive` and `send` raise StreamEnd.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> bytes | str:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            code, reason = message.get("code") or 1005, message.get("reason") or ""
            raise StreamEnd(code, reason, disconnected=True)
        data: bytes | None = message.get("bytes")
        return str(message["text"]) if data is None else data

    async def send(self, message: bytes | str) -> None:
        """Sends a message, and returns when the send buffer has room for more.

        Raises StreamEnd if the client is disconnected.
        """
        try:
            if isinstance(message, str):
                await self._websocket.send_text(message)
            else:
                await self._websocket.send_bytes(message)
        except WebSocketDisconnect as error:
            raise StreamEnd(error.code, "", disconnected=True) from None

    async def close(self, end: StreamEnd) -> None:
        """Sends the close message with the code and reason of `end`.

        It gives up if the client is disconnected, or does not read for `CLOSE_TIMEOUT_S`.
        """
        if end.disconnected:
            return
        reason = end.reason.encode()[:MAX_CLOSE_REASON_BYTES].decode(errors="ignore")
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._websocket.close(end.code, reason)
        except (TimeoutError, WebSocketDisconnect):
            log.debug("the close message was not read")


ParseOptions = Callable[[dict[str, Any], StreamOptions | None], Awaitable[StreamOptions]]
"""Function that applies the members of a config message to the current options, or the defaults.

It returns the new options, and raises errors.ServiceError for an invalid value.
"""
DescribeOptions = Callable[[StreamOptions], dict[str, object]]
"""Function that returns the options of a stream as JSON values by name."""


@dataclass(frozen=True, slots=True)
class StreamEnvironment:
    """Limits, option parser and telemetry that all WebSocket streams of a service share."""

    limits: StreamLimits
    frame_limits: ImageLimits
    parse_options: ParseOptions
    describe_options: DescribeOptions
    telemetry: Telemetry
    draining: asyncio.Event
    """Event that is set when the service shuts down."""


@dataclass(frozen=True, slots=True)
class _PendingFrame:
    """A frame that waits for its segmentation, with the options that apply to it."""

    header: MessageHeader
    body: memoryview
    arrived_s: float
    options: StreamOptions
    resets: int
    """Number of reset messages that the client sent before this frame."""


class WebSocketStream:
    """Serves one video stream over a WebSocket, from its `ready` message to its end."""

    def __init__(
        self, socket: FrameSocket, session: StreamSession, environment: StreamEnvironment
    ) -> None:
        self._socket = socket
        self._session = session
        self._environment = environment
        self._slot: LatestSlot[_PendingFrame] = LatestSlot()
        self._answered = asyncio.Event()
        """Event that is set while every accepted frame has its answer."""
        self._answered.set()
        self._options = session.options
        self._resets = self._resets_done = 0
        self._next_seq = 0
        self._consecutive_bad_frames = 0
        self._last_error_code = ""
        self._warnings: set[str] = set()
        """Warnings that were sent."""
        self.outcomes: Counter[str] = Counter()
        """Number of frames by outcome: result, skipped or error."""

    @property
    def model(self) -> str:
        """Name of the model that segments the frames at present."""
        return self._session.options.segmenter.spec.name

    async def serve(self) -> StreamEnd:
        """Serves the stream until it ends, and returns the close code and the reason.

        All tasks of the stream are finished when this returns or is cancelled.
        """
        max_s = self._environment.limits.max_duration_s
        loops = self._read_messages(), self._process_frames(), self._wait_shutdown()
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            ended, _ = await asyncio.wait(tasks, timeout=max_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not ended:
            return StreamEnd(
                CloseCode.GOING_AWAY, f"maximum stream duration of {max_s:g} s reached"
            )
        return _end_reason([task.exception() for task in tasks if task in ended])

    async def _wait_shutdown(self) -> NoReturn:
        """Ends the stream at a shutdown, when the frames that arrived before it are answered."""
        await self._environment.draining.wait()
        await self._answered.wait()
        raise StreamEnd(CloseCode.RESTART, Draining.title)

    async def _read_messages(self) -> NoReturn:
        await self._send_ready(from_seq=0)
        clock, idle_s = asyncio.get_running_loop().time, self._environment.limits.idle_timeout_s
        idle_at = clock() + idle_s
        while True:
            try:
                async with asyncio.timeout_at(idle_at):
                    message = await self._socket.receive()
            except TimeoutError:
                raise StreamEnd(CloseCode.IDLE, f"no frame within {idle_s:g} s") from None
            if isinstance(message, str):
                await self._on_text(message)
            else:
                await self._on_frame(message)
                idle_at = clock() + idle_s

    async def _on_text(self, text: str) -> None:
        kind, values = read_text_message(text)
        if kind == TextType.CONFIG:
            await self._configure(values)
        elif kind == TextType.RESET:
            self._resets += 1
        else:
            await self._send_error(BadRequest(f"Unknown message type {kind[:40]!r}."))

    async def _configure(self, values: dict[str, Any]) -> None:
        values.pop("key", None)
        try:
            self._options = await self._environment.parse_options(values, self._options)
        except ServiceError as error:
            await self._send_error(error)
        else:
            await self._send_ready(from_seq=self._next_seq)

    async def _send_ready(self, from_seq: int) -> None:
        limits = self._environment.limits
        values = {
            "session": self._session.id,
            "credits": FRAME_CREDITS,
            "max_bytes": limits.max_message_bytes,
            "idle_s": limits.idle_timeout_s,
            "max_s": limits.max_duration_s,
            "from_seq": from_seq,
            "options": self._environment.describe_options(self._options),
        }
        await self._socket.send(text_message(TextType.READY, values))

    async def _send_error(self, error: ServiceError) -> None:
        await self._socket.send(text_message(TextType.ERROR, _error_payload(error)))

    async def _on_frame(self, message: bytes) -> None:
        """Unpacks a binary message and queues its frame.

        A waiting frame that it replaces is answered as skipped. During a shutdown a frame is
        discarded. Raises StreamEnd for a message that breaks the protocol.
        """
        arrived_s = perf_counter()
        try:
            header, body = unpack(message)
        except ProtocolError as error:
            raise StreamEnd(CloseCode.BAD_CONFIG, str(error)) from None
        if header.kind is not MessageKind.FRAME:
            raise StreamEnd(CloseCode.BAD_CONFIG, f"a client sends FRAME, not {header.kind.name}")
        self._next_seq = (header.seq + 1) % 2**32
        if self._environment.draining.is_set():
            return
        self._answered.clear()
        pending = _PendingFrame(header, body, arrived_s, self._options, self._resets)
        if (replaced := self._slot.put(pending)) is not None:
            self._count("skipped")
            await self._socket.send(pack(replace(replaced.header, kind=MessageKind.SKIPPED)))
        # Yield so that an idle worker takes this frame before the next one replaces it.
        await asyncio.sleep(0)

    async def _process_frames(self) -> NoReturn:
        while True:
            pending = await self._slot.get()
            if pending.options is not self._session.options:
                self._session.configure(pending.options)
            if pending.resets != self._resets_done:
                self._session.reset()
                self._resets_done = pending.resets
            await self._socket.send(await self._respond(pending))
            if not self._slot.has_item:
                self._answered.set()
            if self._consecutive_bad_frames >= MAX_BAD_FRAMES:
                raise StreamEnd(
                    CloseCode.BAD_FRAMES, f"{MAX_BAD_FRAMES} consecutive frames do not decode"
                )

    async def _respond(self, pending: _PendingFrame) -> bytes:
        try:
            rendered = await self._process(pending.body)
        except ServiceError as error:
            self._record_error(error)
            body = json.dumps(_error_payload(error)).encode()
            return pack(replace(pending.header, kind=MessageKind.ERROR), body)
        self._consecutive_bad_frames, self._last_error_code = 0, ""
        await self._warn(pending.header.seq, rendered.warning)
        self._count("result")
        age_s = perf_counter() - pending.arrived_s
        telemetry = self._environment.telemetry
        telemetry.observe_image(
            self.model, rendered.stages, measurements_of(rendered), kind="frame"
        )
        telemetry.observe_frame_age(TRANSPORT, age_s)
        flags = MessageFlags.FOREGROUND if rendered.quality.foreground else MessageFlags.NONE
        height, width = rendered.size_hw
        return pack_result(
            replace(pending.header, kind=MessageKind.RESULT, flags=flags),
            ResultHeader(width, height, self._slot.dropped, round(1e6 * age_s)),
            rendered.body,
        )

    async def _warn(self, seq: int, warning: str | None) -> None:
        """Sends the warning of a frame, unless the stream already had it: frames repeat faults."""
        if warning is not None and warning not in self._warnings:
            self._warnings.add(warning)
            values = {"seq": seq, "detail": warning}
            await self._socket.send(text_message(TextType.WARNING, values))

    async def _process(self, body: memoryview) -> RenderedImage:
        async with frame_deadline(self._environment.limits.frame_timeout_s):
            return await process_frame(self._session, body, self._environment.frame_limits)

    def _record_error(self, error: ServiceError) -> None:
        """Counts a failed frame, and logs a failure of the service.

        Consecutive failures with the same error code are logged once, not per frame.
        """
        self._count("error")
        if error.status in (UnsupportedImageType.status, UnprocessableImage.status):
            self._consecutive_bad_frames += 1
        if error.status >= 500 and error.code != self._last_error_code:
            log.warning("frames fail: %s: %s (%r)", error.code, error.detail, error.__cause__)
            self._last_error_code = error.code

    def _count(self, outcome: str) -> None:
        self.outcomes[outcome] += 1
        self._environment.telemetry.count_frame(TRANSPORT, outcome)


def read_text_message(text: str) -> tuple[str, dict[str, Any]]:
    """Returns the type and the other members of a text message.

    Raises StreamEnd if it is no JSON object with a `type`.
    """
    try:
        values = parse_text_message(text)
    except ProtocolError as error:
        raise StreamEnd(CloseCode.WRONG_TYPE, str(error)) from None
    return values.pop("type"), values


def _error_payload(error: ServiceError) -> dict[str, object]:
    return {"code": error.code, "detail": error.detail, "retryable": error.retryable}


def _end_reason(errors: list[BaseException | None]) -> StreamEnd:
    """Returns the end of a stream from the exceptions of its tasks that have ended.

    It is the first StreamEnd; the task that reads messages comes first. Without a StreamEnd the
    failure is logged, and the close code is INTERNAL.
    """
    for error in errors:
        if isinstance(error, StreamEnd):
            return error
    log.error("a stream failed", exc_info=errors[0])
    return StreamEnd(CloseCode.INTERNAL, INTERNAL_REASON)
