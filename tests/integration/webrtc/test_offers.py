"""Offers to `/v1/webrtc`: rejections, limits, keys, origins and the description."""

import aiortc
import httpx
import pytest

from silhouette_seg.streaming.webrtc import registry
from tests.integration.conftest import in_process, until
from tests.integration.pictures import problem, refusal
from tests.integration.webrtc.conftest import post
from tests.integration.webrtc_client import WebRTCClient
from tests.support.openapi import resolved
from tests.support.sdp import OPUS, VP8, VP9, damaged, offer, section, video


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
        (offer(video()), "", {"content_encoding": "br"}, 415, "unsupported_media_type"),
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
    document = (await service.client.get("/openapi.json")).json()
    paths = document["paths"]
    begin, change, end = (
        paths["/v1/webrtc"]["post"],
        paths["/v1/webrtc/{id}"]["patch"],
        paths["/v1/webrtc/{id}"]["delete"],
    )
    assert begin["requestBody"]["content"].keys() == {"application/sdp"}
    assert begin["responses"]["201"]["content"].keys() == {"application/sdp"}
    assert begin["responses"]["201"]["headers"].keys() == {"Location"}
    names = {parameter["name"] for parameter in begin["parameters"]}
    schema = resolved(document, change["requestBody"]["content"]["application/json"]["schema"])
    assert schema["properties"].keys() == names | {"background_image"}
    assert "format" not in names
    assert "unprocessable_offer" in begin["responses"]["422"]["description"]
    assert end["responses"].keys() >= {"204", "401", "404"}
    for operation in (change, end):
        assert [parameter["name"] for parameter in operation["parameters"]] == ["id"]
    assert (await service.client.get("/v1/capabilities")).json()["streams"].count("webrtc") == 1
