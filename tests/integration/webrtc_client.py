"""A WebRTC client with a camera that numbers its frames; it records the results."""

import asyncio
import fractions
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from silhouette_seg.streaming.webrtc.video_frame import HALF_TICK

BITS, BLOCK = 16, 16
"""Bits and pixels per bit of the frame number: black and white blocks along the top.

The lowest bit is on the left.
"""
PATIENCE_S = 60
"""Time to wait for frames, in seconds, on a busy machine."""
SDP = {"content-type": "application/sdp"}
TICK = fractions.Fraction(1, 90_000)


def draw_number(rgb: np.ndarray, number: int) -> None:
    """Draws a frame number along the top of an image uint8 [h,w,3]."""
    for bit in range(BITS):
        rgb[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)


def read_number(rgb: np.ndarray) -> int:
    """Reads the frame number from an image that was scaled to any size."""
    width = rgb.shape[1]
    centres = (np.arange(BITS) + 0.5) * BLOCK / (BITS * BLOCK) * width
    row = rgb[round(0.4 * BLOCK * width / (BITS * BLOCK)), centres.astype(int), 1]
    return int(sum(1 << bit for bit in range(BITS) if row[bit] > 127))


class NumberingCamera(VideoStreamTrack):
    """Sends 30 frames per second: red on the left, blue on the right, the number on top.

    After `stop_filming` the track stays open without frames.
    """

    left = (250, 120, 40)
    ticks = 3000
    """Ticks of the RTP clock from one frame to the next."""

    def __init__(self, size_hw: tuple[int, int] = (192, 256), first_timestamp: int = 0) -> None:
        super().__init__()
        self.size_hw = size_hw
        self.first_timestamp = first_timestamp
        self.sent = 0
        self._filming = asyncio.Event()
        self._filming.set()

    def stop_filming(self) -> None:
        self._filming.clear()

    async def recv(self) -> VideoFrame:
        pts, _ = await self.next_timestamp()
        await self._filming.wait()
        rgb = np.full((*self.size_hw, 3), (0, 60, 200), np.uint8)
        rgb[:, : rgb.shape[1] // 2] = self.left
        draw_number(rgb, self.sent)
        self.sent += 1
        frame = VideoFrame.from_ndarray(rgb, format="rgb24")
        # The middle of a tick: aiortc rounds down.
        frame.pts, frame.time_base = 2 * (self.first_timestamp + pts) + 1, HALF_TICK
        return frame


@dataclass
class ReceivedFrame:
    """A frame that the service returned."""

    number: int
    pts: int
    rgb: np.ndarray

    def at(self, y: float, x: float) -> list[int]:
        """Returns the colour at shares of height and width."""
        height, width = self.rgb.shape[:2]
        return self.rgb[int(y * height), int(x * width)].tolist()


@dataclass
class WebRTCClient:
    """Connects on enter and closes the connection on exit."""

    http: httpx.AsyncClient
    query: str = ""
    camera: NumberingCamera = field(default_factory=NumberingCamera)
    sound: MediaStreamTrack | None = None
    codecs: tuple[str, ...] = ()
    """MIME types of the codecs to offer, in order; empty offers all that aiortc has."""
    received: list[ReceivedFrame] = field(default_factory=list)
    location: str = ""

    async def __aenter__(self) -> Self:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._frame_arrived = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None
        self.connection.on("track", self._on_track)
        if self.sound:
            self.connection.addTransceiver(self.sound, direction="sendonly")
        transceiver = self.connection.addTransceiver(self.camera, direction="sendrecv")
        if self.codecs:
            known = transceiver.sender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(
                [codec for name in self.codecs for codec in known if codec.mimeType == name]
            )
        try:
            answer = await self.http.post(
                f"/v1/webrtc{self.query}", content=await self.offer(), headers=SDP
            )
            assert answer.status_code == 201, answer.text
            self.answer = answer.text
            self.location = answer.headers["location"]
            await self.connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        except BaseException:
            await self.connection.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.connection.close()
        if self._reading:  # a track without frames does not end with its connection
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._reading = asyncio.create_task(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            rgb = frame.to_ndarray(format="rgb24")
            self.received.append(ReceivedFrame(read_number(rgb), frame.pts, rgb))
            async with self._frame_arrived:
                self._frame_arrived.notify_all()

    async def receive_frames(self, count: int = 1) -> list[ReceivedFrame]:
        """Waits for `count` more frames and returns them."""
        before = len(self.received)
        async with asyncio.timeout(PATIENCE_S), self._frame_arrived:
            await self._frame_arrived.wait_for(lambda: len(self.received) >= before + count)
        return self.received[before:]

    async def patch(self, **options: object) -> httpx.Response:
        return await self.http.patch(self.location, json=options)

    async def wait_for_state(self, state: str) -> None:
        """Waits until the connection is in `state`."""
        changed = asyncio.Event()
        self.connection.on("connectionstatechange", changed.set)
        async with asyncio.timeout(PATIENCE_S):
            while self.connection.connectionState != state:
                changed.clear()
                await changed.wait()
