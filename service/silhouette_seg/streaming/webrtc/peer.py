"""One WebRTC connection: segments the newest frame of a camera, and sends results back as video.

    camera -> incoming slot -> session -> outgoing slot -> encoder

Each slot holds one frame, so latency cannot build up. A frame is encoded while the next one is
segmented.
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
from silhouette_seg.streaming.session import StreamOptions, StreamSession, frame_deadline
from silhouette_seg.streaming.webrtc import low_latency, video_frame
from silhouette_seg.streaming.webrtc.compositor import Compositor
from silhouette_seg.streaming.webrtc.config import IceServer, WebRTCConfig
from silhouette_seg.streaming.webrtc.end_reason import EndReason
from silhouette_seg.streaming.webrtc.offer import parse_offer, with_start_bitrate
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose.yuv import Planes, fit_within, to_rgb
from silhouette_seg.vision.geometry import Size

CLOSE_TIMEOUT_S = 5.0
"""Maximum seconds for the orderly close of a connection; then it is dropped."""

ObserveResult = Callable[[str, Matte, float], None]
"""Function that is called for each result.

It gets the name of the model, the mask with its measures, and the seconds since the frame arrived.
"""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _CameraFrame:
    """A frame of the camera, and the time of its arrival in seconds of `time.perf_counter`."""

    frame: VideoFrame
    time_s: float = field(default_factory=perf_counter)


class WebRTCFrameTask:
    """Converts one camera frame to RGB for the model, and composes its result.

    It is the `FrameTask` that `Segmenter.run` calls before and after the model.
    """

    def __init__(self, compositor: Compositor, options: StreamOptions, frame: VideoFrame) -> None:
        self._compositor = compositor
        self._options = options
        self._frame = frame
        self._planes: Planes | None = None

    def decode(self, min_size: Size) -> Frame:
        """Returns the camera frame in RGB, scaled down to the size that the options allow.

        `min_size` is not used: a video frame is not decoded at a reduced size.
        """
        planes = video_frame.to_planes(self._frame)
        if self._options.size is not None:
            planes = fit_within(planes, self._options.size)
        self._planes = planes
        return Frame(to_rgb(planes), planes.size_hw)

    def render(self, frame: Frame, matte: Matte) -> tuple[VideoFrame, Matte]:
        """Returns the mask or composite of the frame as a video frame, and the mask itself."""
        assert self._planes is not None, "a task is decoded before it is rendered"
        composed = self._compositor.compose(self._options, self._planes, matte)
        return video_frame.from_planes(composed, like=self._frame), matte


class ResultTrack(MediaStreamTrack):
    """Video track to the client that sends each result once, and only the newest."""

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
    """One WebRTC connection. Call `create_answer`, then `serve`, then `close`."""

    def __init__(
        self,
        session: StreamSession,
        config: WebRTCConfig,
        *,
        count: Callable[[str], None],
        observe: ObserveResult,
    ) -> None:
        """Creates a connection for the video stream of `session`.

        `count` is called with the outcome of each frame: result, skipped or error. `observe` is
        called for each result.
        """
        self.session = session
        self._config = config
        self._count = count
        self._observe = observe
        self._connection = RTCPeerConnection(_configuration(config.ice_servers))
        self._connection.on("connectionstatechange", self._on_state)
        self._connected = asyncio.Event()
        self._end_reason: asyncio.Future[EndReason] = asyncio.get_running_loop().create_future()
        self._incoming: LatestSlot[_CameraFrame] = LatestSlot()
        self._outgoing: LatestSlot[VideoFrame] = LatestSlot()
        self._compositor = Compositor()
        self._camera: MediaStreamTrack | None = None
        self._unused: list[MediaStreamTrack] = []
        self._last_error_code = ""

    async def create_answer(self, offer: str) -> str:
        """Returns the SDP answer to an SDP offer.

        Raises UnprocessableOffer if the offer is invalid or cannot be served.
        """
        parsed = parse_offer(offer)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(parsed.sdp, "offer"))
            for transceiver in self._connection.getTransceivers():
                self._attach(transceiver, is_camera=transceiver.mid == parsed.mid)
            answer = await self._connection.createAnswer()
        except Exception as error:
            # aiortc raises many kinds of exception for an offer that it parses but cannot serve.
            log.info("an offer was rejected: %.200r", error)
            raise UnprocessableOffer("The offer cannot be served.") from error
        await self._connection.setLocalDescription(answer)
        return with_start_bitrate(self._connection.localDescription.sdp)

    def _attach(self, transceiver: RTCRtpTransceiver, *, is_camera: bool) -> None:
        track = transceiver.receiver.track
        if not is_camera:
            if track is not None:
                self._unused.append(track)
            return
        self._camera = track
        results = ResultTrack(self._outgoing)
        # aiortc stops the track when it cannot encode or send any more.
        results.once("ended", lambda: self.end(EndReason.SENDING_FAILED))
        transceiver.sender.replaceTrack(results)
        transceiver.direction = "sendrecv"
        if self._config.low_latency:
            low_latency.enable(transceiver.receiver)

    def end(self, reason: EndReason) -> None:
        """Makes `serve` end the stream and return `reason`; later reasons are ignored."""
        if not self._end_reason.done():
            self._end_reason.set_result(reason)

    async def serve(self, draining: asyncio.Event) -> EndReason:
        """Segments the frames of the camera until the stream ends, and returns the reason.

        `draining` is the event that is set when the service shuts down.
        """
        loops = [
            self._receive_frames(),
            self._process_frames(),
            _wait_shutdown(draining),
            *map(_discard, self._unused),
        ]
        tasks = [self._end_reason, *map(asyncio.create_task, loops)]
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=self._config.max_duration_s, return_when=asyncio.FIRST_COMPLETED
            )
            return done.pop().result() if done else EndReason.MAX_DURATION
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Closes the connection within CLOSE_TIMEOUT_S seconds. Failures are logged, not raised."""
        self._outgoing.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.close()
        except TimeoutError:
            log.warning("a WebRTC connection did not close in %g s", CLOSE_TIMEOUT_S)
        except Exception:
            # The slot of the stream is released whichever exception aiortc raises.
            log.exception("a WebRTC connection did not close")

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            closed = state == "closed"
            self.end(EndReason.PEER_CLOSED if closed else EndReason.CONNECTION_FAILED)

    async def _receive_frames(self) -> EndReason:
        """Reads frames of the camera until the stream ends, keeps the newest, returns the reason.

        Every frame is read, because aiortc keeps unread ones in memory.
        """
        assert self._camera is not None, "create_answer is called before serve"
        try:
            async with asyncio.timeout(self._config.connect_timeout_s):
                await self._connected.wait()
        except TimeoutError:
            return EndReason.CONNECT_TIMEOUT
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._config.idle_timeout_s) as idle_timeout:
                while True:
                    frame = await self._camera.recv()
                    idle_timeout.reschedule(now() + self._config.idle_timeout_s)
                    assert isinstance(frame, VideoFrame), "the camera is a video track"
                    if frame.width * frame.height > self._config.max_frame_pixels:
                        return EndReason.FRAME_TOO_LARGE
                    self._put(self._incoming, _CameraFrame(frame))
        except TimeoutError:
            return EndReason.IDLE
        except MediaStreamError:
            return EndReason.PEER_CLOSED

    async def _process_frames(self) -> EndReason:
        """Segments the newest frame again and again, and never returns.

        A frame that fails is logged and counted, and has no result.
        """
        while True:
            camera_frame = await self._incoming.get()
            try:
                self._put(self._outgoing, await self._process(camera_frame))
            except ServiceError as error:
                self._count("error")
                if error.code != self._last_error_code:
                    log.warning("frames of a stream fail: %s (%r)", error.detail, error.__cause__)
                self._last_error_code = error.code
            else:
                self._count("result")
                self._last_error_code = ""

    async def _process(self, camera_frame: _CameraFrame) -> VideoFrame:
        options, frame = self.session.options, camera_frame.frame
        task = WebRTCFrameTask(self._compositor, options, frame)
        async with frame_deadline(self._config.frame_timeout_s):
            result, matte = await self.session.segment(task)
        self._observe(options.segmenter.spec.name, matte, perf_counter() - camera_frame.time_s)
        return result

    def _put(self, slot: LatestSlot[T], frame: T) -> None:
        if slot.put(frame) is not None:
            self._count("skipped")


async def _wait_shutdown(draining: asyncio.Event) -> EndReason:
    await draining.wait()
    return EndReason.SHUTDOWN


async def _discard(track: MediaStreamTrack) -> EndReason:
    """Reads and discards the media of a track that is not used.

    It never returns, because the end of the track does not end the stream.
    """
    with suppress(MediaStreamError):
        while True:
            await track.recv()
    never: asyncio.Future[EndReason] = asyncio.get_running_loop().create_future()
    return await never


def _configuration(servers: tuple[IceServer, ...]) -> RTCConfiguration:
    """Returns aiortc's configuration with exactly these STUN and TURN servers, even if none.

    The default of aiortc is a third-party server; without a route to it every answer takes five
    seconds longer.
    """
    return RTCConfiguration(
        iceServers=[
            RTCIceServer(urls=server.url, username=server.username, credential=server.password)
            for server in servers
        ]
    )


async def warm_up() -> None:
    """Does aiortc's one-time work of a process: creates a certificate and loads the codecs."""
    connection = RTCPeerConnection(_configuration(()))
    try:
        connection.addTransceiver("video")
        await connection.createOffer()
    finally:
        await connection.close()
