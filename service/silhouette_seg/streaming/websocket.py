"""A stream over one WebSocket: frames in, exactly one answer to each, and how it ends.

Nothing piles up: one frame is in work and one waits, and whoever has an answer to send sends it
before it does anything else. A peer that does not read is not read from.
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
from silhouette_seg.errors import BadRequest, ServiceError, UnprocessableImage, UnsupportedImageType
from silhouette_seg.pipeline.photo import RenderedImage
from silhouette_seg.streaming.image_frame import run_frame
from silhouette_seg.streaming.latest_slot import LatestSlot
from silhouette_seg.streaming.protocol import (
    CREDITS,
    Close,
    Flags,
    Header,
    Kind,
    Result,
    WireError,
    pack,
    pack_result,
    read_text,
    unpack,
    write_text,
)
from silhouette_seg.streaming.session import StreamOptions, StreamSession, in_time
from silhouette_seg.telemetry import Telemetry
from silhouette_seg.vision.codec.decode import ImageLimits

TRANSPORT: Final = "websocket"
OUTCOMES = ("result", "skipped", "error")
"""How a frame may be answered."""
BAD_FRAMES = 30
"""Frames in a row that are no picture we take, after which nobody expects one any more."""
MAX_REASON_BYTES = 123
"""Of a close message; see RFC 6455."""
CLOSE_S = 1.0
"""To hand the close message to a peer that may not be reading."""

log = logging.getLogger(__name__)


class Ended(Exception):
    """The stream is over. `code` is a Close, or whatever the peer closed with."""

    def __init__(self, code: int, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.gone = gone
        """The peer knows already, or cannot be told."""


class Peer:
    """The other end: whole messages, and `Ended` when it is gone."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> bytes | str:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise Ended(message.get("code") or 1005, message.get("reason") or "", gone=True)
        data: bytes | None = message.get("bytes")
        return str(message["text"]) if data is None else data

    async def send(self, message: bytes | str) -> None:
        """Returns when there is room for more."""
        try:
            if isinstance(message, str):
                await self._socket.send_text(message)
            else:
                await self._socket.send_bytes(message)
        except WebSocketDisconnect as error:
            raise Ended(error.code, "", gone=True) from None

    async def close(self, end: Ended) -> None:
        """Tells it why, unless it is gone or does not read."""
        if end.gone:
            return
        reason = end.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(end.code, reason)
        except (TimeoutError, WebSocketDisconnect):
            log.debug("nobody reads why the stream ended")


ReadOptions = Callable[[dict[str, Any], StreamOptions | None], Awaitable[StreamOptions]]
"""What a config asks for, over what held before; raises errors.ServiceError."""
ShowOptions = Callable[[StreamOptions], dict[str, object]]
"""The same as JSON."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every stream of a service."""

    limits: StreamLimits
    frame_limits: ImageLimits
    read_options: ReadOptions
    show_options: ShowOptions
    telemetry: Telemetry
    closing: asyncio.Event
    """Set when the service stops."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A frame, with what held when it came: a later config or reset is not for it."""

    header: Header
    body: memoryview
    arrived: float
    options: StreamOptions
    resets: int
    """How many there have been before it."""


class WebSocketStream:
    """From `ready` to the end."""

    def __init__(self, peer: Peer, session: StreamSession, rules: Rules) -> None:
        self._peer = peer
        self._session = session
        self._rules = rules
        self._slot: LatestSlot[_Waiting] = LatestSlot()
        self._options = session.options
        self._resets = self._resets_done = 0
        self._next_seq = 0
        self._bad_in_a_row = 0
        self._failing = ""
        self.outcomes: Counter[str] = Counter()
        """Frames by how they were answered: see OUTCOMES."""

    @property
    def model(self) -> str:
        """Of the frame that was last in work."""
        return self._session.options.segmenter.spec.name

    async def run(self) -> Ended:
        """Why it ended. When this returns, or is cancelled, no task of the stream is left."""
        lasting_s = self._rules.limits.max_duration_s
        tasks = [asyncio.create_task(part) for part in (self._read(), self._work(), self._watch())]
        try:
            ended, _ = await asyncio.wait(
                tasks, timeout=lasting_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not ended:
            return Ended(Close.GOING_AWAY, f"a stream lasts {lasting_s:g} s at most")
        return _why([task.exception() for task in tasks if task in ended])

    async def _watch(self) -> NoReturn:
        await self._rules.closing.wait()
        raise Ended(Close.RESTART, "the service is shutting down")

    async def _read(self) -> NoReturn:
        await self._say_ready(from_seq=0)
        clock, idle_s = asyncio.get_running_loop().time, self._rules.limits.idle_timeout_s
        idle_at = clock() + idle_s
        while True:
            try:
                async with asyncio.timeout_at(idle_at):
                    message = await self._peer.receive()
            except TimeoutError:
                raise Ended(Close.IDLE, f"no frame for {idle_s:g} s") from None
            if isinstance(message, str):
                await self._hear(message)
            else:
                await self._take(message)
                idle_at = clock() + idle_s

    async def _hear(self, text: str) -> None:
        kind, values = parse_text(text)
        if kind == "config":
            await self._configure(values)
        elif kind == "reset":
            self._resets += 1
        else:
            await self._refuse(BadRequest(f"There is no message of type {kind[:40]!r}."))

    async def _configure(self, values: dict[str, Any]) -> None:
        values.pop("key", None)
        try:
            self._options = await self._rules.read_options(values, self._options)
        except ServiceError as error:
            await self._refuse(error)
        else:
            await self._say_ready(from_seq=self._next_seq)

    async def _say_ready(self, from_seq: int) -> None:
        limits = self._rules.limits
        values = {
            "session": self._session.id,
            "credits": CREDITS,
            "max_bytes": limits.max_message_bytes,
            "idle_s": limits.idle_timeout_s,
            "max_s": limits.max_duration_s,
            "from_seq": from_seq,
            "options": self._rules.show_options(self._options),
        }
        await self._peer.send(write_text("ready", values))

    async def _refuse(self, error: ServiceError) -> None:
        await self._peer.send(write_text("error", _told(error)))

    async def _take(self, message: bytes) -> None:
        """Puts a frame where the newest waits, and tells of the one that it pushes out."""
        arrived = perf_counter()
        try:
            header, body = unpack(message)
        except WireError as error:
            raise Ended(Close.BAD_CONFIG, str(error)) from None
        if header.kind is not Kind.FRAME:
            raise Ended(Close.BAD_CONFIG, f"a client sends frames, not {header.kind.name}")
        self._next_seq = (header.seq + 1) % 2**32
        waiting = _Waiting(header, body, arrived, self._options, self._resets)
        if (pushed_out := self._slot.put(waiting)) is not None:
            self._count("skipped")
            await self._peer.send(pack(replace(pushed_out.header, kind=Kind.SKIPPED)))
        # Who is free takes it now: the next frame may have come already, and would push it out.
        await asyncio.sleep(0)

    async def _work(self) -> NoReturn:
        while True:
            waiting = await self._slot.get()
            if waiting.options is not self._session.options:
                self._session.configure(waiting.options)
            if waiting.resets != self._resets_done:
                self._session.reset()
                self._resets_done = waiting.resets
            await self._peer.send(await self._answer(waiting))
            if self._bad_in_a_row >= BAD_FRAMES:
                raise Ended(Close.BAD_FRAMES, f"{BAD_FRAMES} frames in a row do not decode")

    async def _answer(self, waiting: _Waiting) -> bytes:
        try:
            rendered = await self._run(waiting.body)
        except ServiceError as error:
            self._note(error)
            body = json.dumps(_told(error)).encode()
            return pack(replace(waiting.header, kind=Kind.ERROR), body)
        self._bad_in_a_row, self._failing = 0, ""
        self._count("result")
        age_s = perf_counter() - waiting.arrived
        telemetry = self._rules.telemetry
        telemetry.observe_image(self.model, rendered.stages, rendered, kind="frame")
        telemetry.observe_frame_age(TRANSPORT, age_s)
        flags = Flags.FOREGROUND if rendered.quality.foreground else Flags.NONE
        height, width = rendered.size_hw
        return pack_result(
            replace(waiting.header, kind=Kind.RESULT, flags=flags),
            Result(width, height, self._slot.dropped, round(1e6 * age_s)),
            rendered.body,
        )

    async def _run(self, body: memoryview) -> RenderedImage:
        async with in_time(self._rules.limits.frame_timeout_s):
            return await run_frame(self._session, body, self._rules.frame_limits)

    def _note(self, error: ServiceError) -> None:
        """One line for a row of failures: at thirty frames a second they would fill the log."""
        self._count("error")
        if error.status in (UnsupportedImageType.status, UnprocessableImage.status):
            self._bad_in_a_row += 1
        if error.status >= 500 and error.code != self._failing:
            log.warning("frames fail: %s: %s (%r)", error.code, error.detail, error.__cause__)
            self._failing = error.code

    def _count(self, outcome: str) -> None:
        self.outcomes[outcome] += 1
        self._rules.telemetry.count_frame(TRANSPORT, outcome)


def parse_text(text: str) -> tuple[str, dict[str, Any]]:
    """The type of a text message, and what else it says; raises Ended."""
    try:
        values = read_text(text)
    except WireError as error:
        raise Ended(Close.WRONG_TYPE, str(error)) from None
    return values.pop("type"), values


def _told(error: ServiceError) -> dict[str, object]:
    return {"code": error.code, "detail": error.detail, "retryable": error.retryable}


def _why(errors: list[BaseException | None]) -> Ended:
    """Of parts that ended at the same moment the one that read the peer knows best."""
    for error in errors:
        if isinstance(error, Ended):
            return error
    log.error("a stream broke", exc_info=errors[0])
    return Ended(Close.INTERNAL, "something went wrong on our side; the log knows more")
