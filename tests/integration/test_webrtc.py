"""`/v1/webrtc` with aiortc as the client, in process and over a real server."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiortc
import httpx
import numpy as np
import pytest
from aioice import ice
from aiortc import AudioStreamTrack

from silhouette_seg.errors import EngineFailed
from silhouette_seg.streaming.webrtc import registry
from tests.integration.conftest import InProcess, in_process, on_socket, until
from tests.integration.pictures import problem, refusal
from tests.integration.webrtc_client import SDP, WebRTCClient
from tests.support.images import make_png
from tests.unit.streaming.webrtc.test_offer import OPUS, VP8, VP9, damaged, offer, section, video

BLUE = "?background=%231040c0"
TOLERANCE_LEVELS = 14
"""Largest error of VP8 in a static area, in levels of 0..255."""


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    """Makes clients offer the loopback address, and restores aioice afterwards."""
    monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.fixture
def serving(settings_with):
    """Serves the application, and checks that peers release everything."""

    @asynccontextmanager
    async def serve(**settings) -> AsyncIterator[InProcess]:
        overrides = {"webrtc_hosts": ("127.0.0.1",)} | settings
        async with in_process(settings_with(**overrides)) as service:
            await service.gateway.webrtc.warm_up()
            before = asyncio.all_tasks()
            yield service
            await until(lambda: service.gateway.streams.count == 0)
            await until(lambda: asyncio.all_tasks() <= before)
            await until(lambda: not decoders())
            assert not service.gateway.webrtc._peers
            assert not service.gateway.webrtc._tasks

    return serve


def decoders() -> list[str]:
    """Returns the names of the decoder threads: aiortc has one per received track."""
    return [thread.name for thread in threading.enumerate() if thread.name.endswith("-decoder")]


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


async def post(service: InProcess, text: str | bytes, query: str = "", **headers) -> httpx.Response:
    sent_headers = SDP | {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(f"/v1/webrtc{query}", content=text, headers=sent_headers)


@pytest.mark.parametrize("codecs", [("video/H264", "video/VP8"), ("video/H264",)])
async def test_processed_frames_return_in_camera_time(serving, codecs):
    """The model segments red: the left half of the camera's image is kept."""
    async with serving() as service, WebRTCClient(service.client, BLUE, codecs=codecs) as client:
        frames = await client.receive_frames(15)
        numbers = np.array([frame.number for frame in frames])
        assert (np.diff(numbers) > 0).all()
        assert numbers[-1] < client.camera.sent
        # Each frame has the time of its camera frame, up to rounding of the clock.
        pts = np.array([frame.pts for frame in frames])
        np.testing.assert_allclose(pts - pts[0], 3000 * (numbers - numbers[0]), atol=4)
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


async def test_offer_without_aiortc_names_the_extra(settings_with, monkeypatch):
    monkeypatch.setattr(registry, "IS_INSTALLED", False)
    async with in_process(settings_with()) as service:
        answer = await service.client.post(
            "/v1/webrtc", content="v=0", headers={"Content-Type": "application/sdp"}
        )
    assert "silhouette-seg[live]" in refusal(answer, 501, "not_installed")["detail"]


async def test_unsupported_low_latency_makes_webrtc_unavailable(settings_with, monkeypatch):
    async def changed(self, packet, arrival_time_ms):
        pass

    monkeypatch.setattr(aiortc.RTCRtpReceiver, "_handle_rtp_packet", changed)
    async with in_process(settings_with(webrtc_low_latency=True)) as service:
        refusal(await post(service, offer(video())), 503, "unavailable")
        assert service.gateway.streams.count == 0


# Ends of streams


async def close_connection(client: WebRTCClient) -> None:
    await client.connection.close()


async def stop_filming(client: WebRTCClient) -> None:
    client.camera.stop_filming()


async def abort_sockets(client: WebRTCClient) -> None:
    """Closes the sockets without a DTLS close, as when a browser is killed."""
    (transceiver,) = client.connection.getTransceivers()
    for protocol in transceiver.receiver.transport.transport._connection._protocols:
        protocol.transport.abort()


async def delete_stream(client: WebRTCClient) -> None:
    assert (await client.http.delete(client.location)).status_code == 204


async def do_nothing(client: WebRTCClient) -> None:
    pass


@pytest.mark.parametrize(
    ("action", "settings", "reason"),
    [
        (close_connection, {}, "the peer hung up"),
        (stop_filming, {"webrtc_idle_s": 0.5}, "no frame came"),
        (abort_sockets, {"webrtc_idle_s": 0.5}, "no frame came"),
        (delete_stream, {}, "its client ended it"),
        (do_nothing, {"stream_max_s": 0.5}, "it had its time"),
        (do_nothing, {"max_pixels": 1000}, "a frame has too many pixels"),
    ],
)
async def test_stream_ends_with_reason(serving, caplog, action, settings, reason):
    caplog.set_level("INFO", "silhouette_seg.streaming")
    async with serving(**settings) as service, WebRTCClient(service.client) as client:
        if action is not do_nothing:
            await client.receive_frames(1)
        await action(client)
        await until(lambda: service.gateway.streams.count == 0)
        refusal(await client.patch(size=128), 404, "not_found")
        refusal(await client.http.delete(client.location), 404, "not_found")
        assert [line for line in caplog.messages if line.endswith(f" s: {reason}")]
        read = service.gateway.telemetry.registry.get_sample_value
        ended = {"transport": "webrtc", "reason": reason}
        assert read("silhouette_streams_ended_total", ended) == 1
        assert read("silhouette_streams", {"transport": "webrtc"}) == 0


async def test_unconnected_peer_ends_after_timeout(serving, caplog):
    caplog.set_level("INFO", "silhouette_seg.streaming")
    async with serving(webrtc_connect_s=0.3) as service:
        answer = await post(service, offer(video()))
        assert answer.status_code == 201
        assert service.gateway.streams.count == 1
        await until(lambda: service.gateway.streams.count == 0)
        assert [line for line in caplog.messages if line.endswith(" s: it never connected")]


async def test_shutdown_ends_streams(settings_with):
    async with in_process(settings_with(webrtc_hosts=("127.0.0.1",))) as service:
        client = await WebRTCClient(service.client).__aenter__()
        await client.receive_frames(1)
    assert service.gateway.streams.count == 0
    await client.wait_for_state("closed")
    await client.__aexit__(None, None, None)
    assert not decoders()


# Rejected offers


@pytest.mark.parametrize(
    ("text", "query", "headers", "status", "code"),
    [
        (offer(video(VP9)), "", {}, 422, "unprocessable_offer"),
        (offer(section("audio", "0", OPUS)), "", {}, 422, "unprocessable_offer"),
        # aiortc parses it, but cannot serve the audio
        (offer(video(), section("audio", "0", "a=rtpmap:96 LPC/8000\n")), "", {}, 422,
         "unprocessable_offer"),
        (offer(video()).replace("a=rtcp-mux\r\n", ""), "", {}, 422, "unprocessable_offer"),
        ("hello", "", {}, 422, "unprocessable_offer"),
        ("", "", {}, 422, "unprocessable_offer"),
        (b"\xff\xfe", "", {}, 400, "malformed_body"),
        ("v=0\r\n" * 2**18, "", {}, 413, "body_too_large"),
        (offer(video()), "", {"content_type": "text/plain"}, 415, "unsupported_media_type"),
        (offer(video()), "", {"content_encoding": "gzip"}, 415, "unsupported_media_type"),
        (offer(video()), "?output=cutout", {}, 406, "not_acceptable"),
        (offer(video()), "?format=png", {}, 400, "unknown_parameter"),
        (offer(video()), "?background_image=aa", {}, 400, "unknown_parameter"),
        (offer(video()), "?size=128&size=256", {}, 400, "bad_parameter"),
        (offer(video()), "?smoothing=2", {}, 400, "bad_parameter"),
        (offer(video()), "?model=none", {}, 404, "unknown_model"),
    ],
)  # fmt: skip
async def test_invalid_offer_is_rejected_with_code(serving, text, query, headers, status, code):
    async with serving() as service:
        refusal(await post(service, text, query, **headers), status, code)


async def test_stream_limit_rejects_offer_until_slot_is_free(serving):
    async with serving(max_streams=1, max_streams_per_caller=2) as service:
        async with WebRTCClient(service.client) as client:
            await client.receive_frames(1)
            full = refusal(await post(service, offer(video())), 503, "overloaded")
            assert full["retryable"]
        await until(lambda: service.gateway.streams.count == 0)
        refusal(await post(service, offer(video(VP9))), 422, "unprocessable_offer")
        async with WebRTCClient(service.client) as client:
            await client.receive_frames(1)


async def test_keys_are_required_and_limit_streams(serving):
    async with serving(api_keys="one,two", max_streams_per_caller=1) as service:
        refusal(await post(service, offer(video())), 401, "unauthorized")
        service.client.headers["authorization"] = "Bearer one"
        async with WebRTCClient(service.client) as client:
            await client.receive_frames(
                1
            )  # a client that leaves before it is connected is noticed later
            own = await post(service, offer(video()))
            refusal(own, 429, "too_many_streams")
            assert int(own.headers["retry-after"]) > 0
            anonymous = httpx.AsyncClient(transport=service.client._transport, base_url="http://x")
            refusal(await anonymous.delete(client.location), 401, "unauthorized")
            other = await post(service, offer(video()), x_api_key="two", authorization="")
            assert other.status_code == 201
            assert (await service.client.delete(other.headers["location"])).status_code == 204


async def test_offers_are_rejected_while_warming_up_and_draining(settings_with, serving, gated):
    async with in_process(settings_with(engine="gated"), ready=False) as service:
        gated[0].gate.clear()
        starting = await post(service, offer(video()))
        gated[0].gate.set()
        refusal(starting, 503, "warming_up")
        assert int(starting.headers["retry-after"]) > 0
    async with serving() as service:
        service.gateway.requests.start_draining()
        refusal(await post(service, offer(video())), 503, "draining")


async def test_damaged_offers_are_accepted_or_rejected(serving, mutations):
    """No offer causes a 500, and every stream is released."""
    intact = offer(section("audio", "0", OPUS), video(VP8))
    counts = {201: 0, 400: 0, 422: 0}
    async with serving() as service:
        for number in range(mutations // 50):
            answer = await post(service, damaged(intact, number).encode())
            counts[answer.status_code] += 1
            if answer.status_code == 201:
                await service.client.delete(answer.headers["location"])
            else:
                problem(answer)
    assert counts[201], counts
    assert counts[422], counts


async def test_allowed_origins_may_read_the_location(serving):
    async with serving(cors_origins="https://page.example") as service:
        preflight = {"origin": "https://page.example", "access-control-request-method": "PATCH"}
        for method in ("POST", "PATCH", "DELETE"):
            preflight["access-control-request-method"] = method
            allowed = await service.client.options("/v1/webrtc", headers=preflight)
            assert allowed.status_code == 200
        answer = await post(service, offer(video()), origin="https://page.example")
        assert "Location" in answer.headers["access-control-expose-headers"].split(", ")
        await service.client.delete(answer.headers["location"])


async def test_openapi_describes_the_webrtc_routes(service):
    paths = (await service.client.get("/openapi.json")).json()["paths"]
    begin, change, end = (
        paths["/v1/webrtc"]["post"],
        paths["/v1/webrtc/{id}"]["patch"],
        paths["/v1/webrtc/{id}"]["delete"],
    )
    assert begin["requestBody"]["content"].keys() == {"application/sdp"}
    assert begin["responses"]["201"]["content"].keys() == {"application/sdp"}
    assert begin["responses"]["201"]["headers"].keys() == {"Location"}
    names = {parameter["name"] for parameter in begin["parameters"]}
    schema = change["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"].keys() == names | {"background_image"}
    assert "format" not in names
    assert "unprocessable_offer" in begin["responses"]["422"]["description"]
    assert end["responses"].keys() >= {"204", "401", "404"}
    for operation in (change, end):
        assert [parameter["name"] for parameter in operation["parameters"]] == ["id"]
    assert (await service.client.get("/v1/capabilities")).json()["streams"].count("webrtc") == 1
