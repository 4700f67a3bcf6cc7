"""One peer: its camera's newest frame goes through a session and comes back as a track.

    camera -> incoming (one) -> work -> outgoing (one) -> encoder

Every stage holds one frame, so nothing builds up latency, and a frame is encoded while the next
one is in work.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from silhouette_seg.errors import ServiceError, UnprocessableOffer
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.streaming.latest_slot import LatestSlot, SlotClosed
from silhouette_seg.streaming.session import StreamOptions, StreamSession, in_time
from silhouette_seg.streaming.webrtc import video_frame
from silhouette_seg.streaming.webrtc.compositor import Painter
from silhouette_seg.streaming.webrtc.config import IceServer, Terms
from silhouette_seg.streaming.webrtc.low_latency import hasten
from silhouette_seg.streaming.webrtc.offer import read_offer, with_start_bitrate
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose.yuv import Planes, at_most, to_rgb
from silhouette_seg.vision.geometry import Size

HUNG_UP = "the peer hung up"
"""Its track ends with its connection: either may be noticed first."""
CLOSE_S = 5.0
"""For a connection to say goodbye; it is dropped after that."""

Observe = Callable[[str, Matte, float], None]
"""Told of each result: the model, what it found, and the seconds since the frame arrived."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A frame of the camera, and when it was read."""

    frame: VideoFrame
    at: float = field(default_factory=perf_counter)


class WebRTCFrameTask:
    """The frame task of a camera frame: the composed frame, and its matte."""

    def __init__(self, painter: Painter, options: StreamOptions, frame: VideoFrame) -> None:
        self._painter = painter
        self._options = options
        self._frame = frame
        self._planes: Planes | None = None

    def decode(self, min_size: Size) -> Frame:
        """Reads the planes, scaled down to the size that the options allow, and converts to RGB."""
        planes = video_frame.read(self._frame)
        if self._options.size is not None:
            planes = at_most(planes, self._options.size)
        self._planes = planes
        return Frame(to_rgb(planes), planes.size_hw)

    def render(self, frame: Frame, matte: Matte) -> tuple[VideoFrame, Matte]:
        """Composes the result in the planes of the frame."""
        assert self._planes is not None, "a task is decoded before it is rendered"
        composed = self._painter.paint(self._options, self._planes, matte)
        return video_frame.write(composed, like=self._frame), matte


class Returned(MediaStreamTrack):
    """The track that goes back: the newest result, each once."""

    kind = "video"

    def __init__(self, results: LatestSlot[VideoFrame]) -> None:
        super().__init__()
        self._results = results

    async def recv(self) -> VideoFrame:
        if self.readyState == "live":
            with suppress(SlotClosed):
                return await self._results.get()
        raise MediaStreamError


class Peer:
    """Made, asked for its `answer`, then `run` until it is over, then closed."""

    def __init__(
        self,
        session: StreamSession,
        terms: Terms,
        *,
        count: Callable[[str], None],
        observe: Observe,
    ) -> None:
        """`count` is told the outcome of each frame: result, skipped or error."""
        self.session = session
        self._terms = terms
        self._count = count
        self._observe = observe
        self._connection = RTCPeerConnection(_configuration(terms.ice_servers))
        self._connection.on("connectionstatechange", self._on_state)
        self._connected = asyncio.Event()
        self._told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._incoming: LatestSlot[_Arrived] = LatestSlot()
        self._outgoing: LatestSlot[VideoFrame] = LatestSlot()
        self._painter = Painter()
        self._camera: MediaStreamTrack | None = None
        self._unused: list[MediaStreamTrack] = []
        self._complained = ""

    async def answer(self, offer: str) -> str:
        """The SDP to answer with. Raises UnprocessableOffer."""
        understood = read_offer(offer)
        try:
            await self._connection.setRemoteDescription(
                RTCSessionDescription(understood.sdp, "offer")
            )
            for transceiver in self._connection.getTransceivers():
                self._attach(transceiver, is_ours=transceiver.mid == understood.mid)
            answer = await self._connection.createAnswer()
        except Exception as error:
            # An offer that aiortc reads and cannot serve fails in more than one way.
            log.info("an offer was refused: %.200r", error)
            raise UnprocessableOffer("The offer cannot be served.") from error
        await self._connection.setLocalDescription(answer)
        return with_start_bitrate(self._connection.localDescription.sdp)

    def _attach(self, transceiver: RTCRtpTransceiver, *, is_ours: bool) -> None:
        track = transceiver.receiver.track
        if not is_ours:
            if track is not None:
                self._unused.append(track)
            return
        self._camera = track
        returned = Returned(self._outgoing)
        # aiortc stops the track when it cannot encode or send any more.
        returned.once("ended", lambda: self.end("nothing can be sent"))
        transceiver.sender.replaceTrack(returned)
        transceiver.direction = "sendrecv"
        if self._terms.low_latency:
            hasten(transceiver.receiver)

    def end(self, reason: str) -> None:
        """Soon; the first reason counts."""
        if not self._told.done():
            self._told.set_result(reason)

    async def run(self, closing: asyncio.Event) -> str:
        """Until it is over; returns why. Whatever ends a stream ends here."""
        jobs: list[asyncio.Future[str]] = [
            self._told,
            *map(asyncio.create_task, (self._receive(), self._work(), _told_by(closing))),
            *(asyncio.create_task(_drain(track)) for track in self._unused),
        ]
        try:
            done, _ = await asyncio.wait(
                jobs, timeout=self._terms.max_s, return_when=asyncio.FIRST_COMPLETED
            )
            return done.pop().result() if done else "it had its time"
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def close(self) -> None:
        self._outgoing.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()
        except TimeoutError:
            log.warning("a WebRTC connection did not close in %g s", CLOSE_S)
        except Exception:
            # Whatever aiortc trips over, the place is free.
            log.exception("a WebRTC connection did not close")

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.end(HUNG_UP if state == "closed" else "the connection failed")

    async def _receive(self) -> str:
        """Keeps the newest frame. What is not read stays in memory, so everything is read."""
        assert self._camera is not None, "a peer is answered before it runs"
        try:
            async with asyncio.timeout(self._terms.connect_s):
                await self._connected.wait()
        except TimeoutError:
            return "it never connected"
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._terms.idle_s) as patience:
                while True:
                    frame = await self._camera.recv()
                    patience.reschedule(now() + self._terms.idle_s)
                    assert isinstance(frame, VideoFrame), "the camera is a video track"
                    if frame.width * frame.height > self._terms.frame_pixels:
                        return "a frame has too many pixels"
                    self._put(self._incoming, _Arrived(frame))
        except TimeoutError:
            return "no frame came"
        except MediaStreamError:
            return HUNG_UP

    async def _work(self) -> str:
        """Never returns: a frame that fails is one that does not come back."""
        while True:
            arrived = await self._incoming.get()
            try:
                self._put(self._outgoing, await self._process(arrived))
            except ServiceError as error:
                self._count("error")
                if error.code != self._complained:
                    log.warning("frames of a stream fail: %s (%r)", error.detail, error.__cause__)
                self._complained = error.code
            else:
                self._count("result")
                self._complained = ""

    async def _process(self, arrived: _Arrived) -> VideoFrame:
        options, frame = self.session.options, arrived.frame
        task = WebRTCFrameTask(self._painter, options, frame)
        async with in_time(self._terms.frame_s):
            result, found = await self.session.run(task)
        self._observe(options.segmenter.spec.name, found, perf_counter() - arrived.at)
        return result

    def _put(self, slot: LatestSlot[T], frame: T) -> None:
        if slot.put(frame) is not None:
            self._count("skipped")


async def _told_by(closing: asyncio.Event) -> str:
    await closing.wait()
    return "the service stops"


async def _drain(track: MediaStreamTrack) -> str:
    """Reads what nobody wants; that it ends is no end of the stream."""
    with suppress(MediaStreamError):
        while True:
            await track.recv()
    never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    return await never


def _configuration(servers: tuple[IceServer, ...]) -> RTCConfiguration:
    """Explicit even when empty: aiortc's own default is a server of others, and without a way to
    it every answer takes five seconds longer."""
    return RTCConfiguration(
        iceServers=[
            RTCIceServer(urls=each.url, username=each.username, credential=each.password)
            for each in servers
        ]
    )


async def rehearse() -> None:
    """What only the first connection of a process pays: certificates and codecs."""
    connection = RTCPeerConnection(_configuration(()))
    try:
        connection.addTransceiver("video")
        await connection.createOffer()
    finally:
        await connection.close()
