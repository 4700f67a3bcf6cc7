"""A WebRTC client for tests: a camera that counts its frames, and what came back of them."""

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

BITS, BLOCK = 16, 16
"""A counter painted along the top: black and white blocks, the lowest bit first."""
PATIENCE_S = 60
"""For frames, on a machine that does much else."""
SDP = {"content-type": "application/sdp"}
TICK = fractions.Fraction(1, 90_000)


def paint_counter(rgb: np.ndarray, number: int) -> None:
    for bit in range(BITS):
        rgb[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)


def read_counter(rgb: np.ndarray) -> int:
    """Of a picture of any size that the counted one was scaled to."""
    width = rgb.shape[1]
    middles = (np.arange(BITS) + 0.5) * BLOCK / (BITS * BLOCK) * width
    row = rgb[round(0.4 * BLOCK * width / (BITS * BLOCK)), middles.astype(int), 1]
    return int(sum(1 << bit for bit in range(BITS) if row[bit] > 127))


class Camera(VideoStreamTrack):
    """Red on the left and blue on the right under the counter, 30 times a second.

    `stop_filming` keeps the track open.
    """

    left = (250, 120, 40)

    def __init__(self, size_hw: tuple[int, int] = (192, 256)) -> None:
        super().__init__()
        self.size_hw = size_hw
        self.sent = 0
        self._filming = asyncio.Event()
        self._filming.set()

    def stop_filming(self) -> None:
        self._filming.clear()

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        await self._filming.wait()
        rgb = np.full((*self.size_hw, 3), (0, 60, 200), np.uint8)
        rgb[:, : rgb.shape[1] // 2] = self.left
        paint_counter(rgb, self.sent)
        self.sent += 1
        frame = VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


@dataclass
class Seen:
    """A frame that came back."""

    number: int
    pts: int
    rgb: np.ndarray

    def at(self, y: float, x: float) -> list[int]:
        """The colour at shares of height and width."""
        height, width = self.rgb.shape[:2]
        return self.rgb[int(y * height), int(x * width)].tolist()


@dataclass
class Client:
    """Calls on entering, hangs up on leaving."""

    http: httpx.AsyncClient
    query: str = ""
    camera: Camera = field(default_factory=Camera)
    sound: MediaStreamTrack | None = None
    codecs: tuple[str, ...] = ()
    """Of those that aiortc knows, in this order; none offers all."""
    seen: list[Seen] = field(default_factory=list)
    location: str = ""

    async def __aenter__(self) -> Self:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._news = asyncio.Condition()
        self._watching: asyncio.Task[None] | None = None
        self.connection.on("track", self._watch)
        if self.sound:
            self.connection.addTransceiver(self.sound, direction="sendonly")
        transceiver = self.connection.addTransceiver(self.camera, direction="sendrecv")
        if self.codecs:
            known = transceiver.sender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(
                [each for name in self.codecs for each in known if each.mimeType == name]
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
        if self._watching:  # a track that never began does not end with its connection
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    def _watch(self, track: MediaStreamTrack) -> None:
        self._watching = asyncio.create_task(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            rgb = frame.to_ndarray(format="rgb24")
            self.seen.append(Seen(read_counter(rgb), frame.pts, rgb))
            async with self._news:
                self._news.notify_all()

    async def sees(self, count: int = 1) -> list[Seen]:
        """That many more frames."""
        before = len(self.seen)
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: len(self.seen) >= before + count)
        return self.seen[before:]

    async def patch(self, **options: object) -> httpx.Response:
        return await self.http.patch(self.location, json=options)

    async def state(self, wanted: str) -> None:
        """Returns once the connection is in that state."""
        changed = asyncio.Event()
        self.connection.on("connectionstatechange", changed.set)
        async with asyncio.timeout(PATIENCE_S):
            while self.connection.connectionState != wanted:
                changed.clear()
                await changed.wait()
