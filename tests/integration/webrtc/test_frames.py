"""Frames over WebRTC: content, time, size and order, and options of a running stream."""

import asyncio
import base64

import httpx
import numpy as np
import pytest
from aiortc import AudioStreamTrack

from silhouette_seg.errors import EngineFailed
from tests.integration.conftest import InProcess, on_socket, until
from tests.integration.pictures import refusal
from tests.integration.webrtc_client import NumberingCamera, WebRTCClient
from tests.support.images import make_png

BLUE = "?background=%231040c0"
UINT32 = 2**32
TOLERANCE_LEVELS = 14
"""Largest error of VP8 in a static area, in levels of 0..255."""


def outcomes(service: InProcess, outcome: str) -> float:
    labels = {"transport": "webrtc", "outcome": outcome}
    return (
        service.gateway.telemetry.registry.get_sample_value("silhouette_frames_total", labels) or 0
    )


def is_near(colour: list[int], expected: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.subtract(colour, expected)).max() <= TOLERANCE_LEVELS)


async def until_seen(client: WebRTCClient, colour: tuple[int, int, int], at=(0.5, 0.75)) -> None:
    """Waits for a frame with `colour` at the shares `at` of height and width."""
    while not is_near((await client.receive_frames(1))[0].at(*at), colour):
        pass


@pytest.mark.parametrize("codecs", [("video/H264", "video/VP8"), ("video/H264",)])
async def test_results_have_the_rtp_timestamps_of_their_camera_frames(serving, codecs):
    """The model segments red: the left half of the camera's image is kept."""
    camera = NumberingCamera(first_timestamp=UINT32 - 10 * NumberingCamera.ticks)
    async with (
        serving() as service,
        WebRTCClient(service.client, BLUE, camera, codecs=codecs) as client,
    ):
        frames = await client.receive_frames(15)
        numbers = np.array([frame.number for frame in frames])
        assert (np.diff(numbers) > 0).all()
        assert numbers[-1] < client.camera.sent
        # The timestamps begin again at 0 during the test.
        timestamps = np.array([frame.pts for frame in frames]) % UINT32
        expected = (camera.first_timestamp + camera.ticks * numbers) % UINT32
        np.testing.assert_array_equal(timestamps, expected)
        assert is_near(frames[-1].at(0.5, 0.25), client.camera.left)
        assert is_near(frames[-1].at(0.5, 0.75), (0x10, 0x40, 0xC0))
        sent = client.answer.partition("m=video")[2]
        assert (
            sent.partition("a=rtpmap:")[2].split()[1].lower() == f"{codecs[-1][6:]}/90000".lower()
        )
        assert "x-google-start-bitrate" in sent
        assert outcomes(service, "result") >= 15
        aged = {"transport": "webrtc"}
        read = service.gateway.telemetry.registry.get_sample_value
        assert read("silhouette_frame_seconds_count", aged) >= 15


async def test_stream_works_on_a_real_server(settings_with):
    """The server runs an event loop of its own, of another kind."""
    with on_socket(settings_with(webrtc_hosts=("127.0.0.1",))) as running:
        async with (
            httpx.AsyncClient(base_url=running.url, timeout=60) as http,
            WebRTCClient(http, BLUE) as client,
        ):
            await until_seen(client, (0x10, 0x40, 0xC0))
        running.wait(lambda: running.gateway.streams.count == 0)


async def test_mask_output_is_grey_and_of_requested_size(serving):
    async with (
        serving() as service,
        WebRTCClient(service.client, "?output=mask&size=128&invert=true") as client,
    ):
        frame = (await client.receive_frames(10))[-1]
        assert frame.rgb.shape == (96, 128, 3)
        assert is_near(frame.at(0.5, 0.25), (0, 0, 0))
        assert is_near(frame.at(0.5, 0.75), (255, 255, 255))


async def test_patch_changes_options_of_running_stream(serving):
    async with serving() as service, WebRTCClient(service.client, BLUE) as client:
        await until_seen(client, (0x10, 0x40, 0xC0))
        changed = await client.patch(background="#20c020", smoothing=0.25)
        assert changed.status_code == 200
        options = changed.json()
        assert (options["background"], options["smoothing"]) == ("#20c020", 0.25)
        assert "format" not in options
        await until_seen(client, (0x20, 0xC0, 0x20))
        red = make_png(np.full((40, 30, 3), (200, 30, 30), np.uint8))
        picture = base64.b64encode(red).decode()
        assert (await client.patch(background_image=picture)).json()["background"] == "picture"
        await until_seen(client, (200, 30, 30))
        refusal(await client.patch(background="nonsense"), 400, "bad_parameter")
        refusal(await client.patch(sharpen=1), 400, "unknown_parameter")
        refusal(await client.patch(format="png"), 400, "unknown_parameter")
        refusal(await client.patch(output="cutout"), 406, "not_acceptable")
        refusal(
            await client.patch(background_image="bm8gcGljdHVyZQ=="), 415, "unsupported_image_type"
        )
        refusal(await client.patch(model="none"), 404, "unknown_model")
        for body, kind, status in (
            (b"[]", "application/json", 400),
            (b"{", "application/json", 400),
            (b"{}", "text/plain", 415),
        ):
            headers = {"content-type": kind}
            answer = await service.client.patch(client.location, content=body, headers=headers)
            assert answer.status_code == status
        assert is_near((await client.receive_frames(2))[-1].at(0.5, 0.75), (200, 30, 30))
        assert (await client.patch(output="mask")).json()["output"] == "mask"
        await until_seen(client, (0, 0, 0))
        assert (await client.patch(output=None)).json()["output"] == "composite"


async def test_peers_share_no_options(serving):
    async with (
        serving() as service,
        WebRTCClient(service.client, BLUE) as one,
        WebRTCClient(service.client, "?background=%23c04010") as other,
    ):
        assert one.location != other.location
        await until_seen(one, (0x10, 0x40, 0xC0))
        await until_seen(other, (0xC0, 0x40, 0x10))
        await one.patch(background="#20c020")
        await until_seen(one, (0x20, 0xC0, 0x20))
        assert is_near((await other.receive_frames(2))[-1].at(0.5, 0.75), (0xC0, 0x40, 0x10))
        assert (await service.client.delete(one.location)).status_code == 204
        assert service.gateway.streams.count == 1
        await other.receive_frames(2)


async def test_frame_size_may_change_during_stream(serving):
    """A browser starts with smaller frames until it has measured the network."""
    async with serving() as service, WebRTCClient(service.client, BLUE) as client:
        for size_hw in ((192, 256), (144, 192), (180, 256), (270, 480)):
            client.camera.size_hw = size_hw
            async with asyncio.timeout(20):
                while (frame := (await client.receive_frames(1))[0]).rgb.shape[:2] != size_hw:
                    pass
            assert is_near(frame.at(0.6, 0.75), (0x10, 0x40, 0xC0))


async def test_slow_model_gets_newest_frame(serving, gated):
    """While one frame is processed, at most one waits."""
    async with serving(engine="gated") as service, WebRTCClient(service.client, BLUE) as client:
        (engine,) = gated
        await client.receive_frames(1)
        engine.gate.clear()
        batches, skipped = len(engine.batch_sizes), outcomes(service, "skipped")
        await until(lambda: outcomes(service, "skipped") >= skipped + 12)
        assert len(engine.batch_sizes) <= batches + 1
        sent = client.camera.sent
        engine.gate.set()
        while (await client.receive_frames(1))[0].number < sent:
            pass
        # Of the frames that arrived meanwhile, only the newest was processed.
        assert np.diff([frame.number for frame in client.received]).max() > 12


async def test_failed_frame_is_counted_and_stream_continues(serving, gated):
    async with serving(engine="gated") as service, WebRTCClient(service.client) as client:
        await client.receive_frames(1)
        gated[0].fail_next(EngineFailed("it fell over"))
        await until(lambda: outcomes(service, "error") == 1)
        await client.receive_frames(2)


async def test_audio_is_read_and_dropped(serving):
    async with (
        serving() as service,
        WebRTCClient(service.client, BLUE, sound=AudioStreamTrack()) as client,
    ):
        await client.receive_frames(15)
        (peer,) = service.gateway.webrtc._peers.values()
        (audio,) = peer._unused
        assert audio.kind == "audio"
        assert audio._queue.qsize() <= 1


async def test_low_latency_returns_frames_once_in_order(serving):
    async with (
        serving(webrtc_low_latency=True) as service,
        WebRTCClient(service.client, BLUE) as client,
    ):
        frames = await client.receive_frames(15)
        numbers = [frame.number for frame in frames]
        assert numbers == sorted(set(numbers))
        assert is_near(frames[-1].at(0.5, 0.25), client.camera.left)
