"""Random and hostile SDP offers are accepted or rejected, and every stream is released."""

import asyncio
import json

import pytest
from aioice import ice
from hypothesis import example, given
from hypothesis import strategies as st

from silhouette_seg.streaming.webrtc.offer import MAX_CANDIDATES
from tests.fuzz.invariants import check_response
from tests.integration.conftest import in_process, until
from tests.support.sdp import H264, OPUS, VP8, damaged, data_channel, offer, section, video

SDP = {"content-type": "application/sdp"}
HOST = "a=candidate:1 1 udp 2130706431 {} {} typ host\r\n"
INTACT = offer(section("audio", "0", OPUS), video(VP8, H264, HOST.format("127.0.0.1", 40000)))
CONCURRENT_OFFERS = 6
"""Number of concurrent streams; each has sockets of its own."""


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


HOSTILE = {
    "empty": "",
    "one line": "v=0\r\n" * 10_000,
    "sections": offer(*(video(name=str(number)) for number in range(300))),
    "candidates": offer(video()) + HOST.format("10.0.0.1", 9) * 900,
    "unspecified candidates": offer(video(VP8, *(HOST.format("0.0.0.0", 9) for _ in range(50)))),
    "multicast candidates": offer(video(VP8, HOST.format("224.0.0.1", 9))),
    "host name": offer(video(VP8, HOST.format("metadata.internal", 80))),
    "ports": offer(video(VP8, HOST.format("127.0.0.1", 99999999))),
    "negative port": offer(video(VP8, HOST.format("127.0.0.1", -1))),
    "codecs": offer(video(VP8, *(f"a=rtpmap:{97 + n} X{n}/90000\n" for n in range(900)))),
    "huge payload type": offer(video("a=rtpmap:99999999999999999999 VP8/90000\n")),
    "clock rate": offer(video("a=rtpmap:97 VP8/0\n")),
    "odd codec": offer(video("a=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=zzzzzz\n")),
    "empty profile": offer(video("a=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=\n")),
    "long line": offer(video()) + "a=" + "x" * 50_000 + "\r\n",
    "long name": offer(video(name="n" * 40_000)),
    "long password": offer(video()).replace("abcdefghijklmnopqrstuv", "p" * 40_000),
    "no fingerprint": offer(video()).replace("EA:46", ""),
    "empty fingerprint": offer(video()).replace("sha-256 EA:46", "md5 " + ":" * 1000),
    "extensions": offer(video(VP8, *(f"a=extmap:{n} urn:x\n" for n in range(5000)))),
    "extension id": offer(video(VP8, "a=extmap:999999999999 urn:x\n")),
    "sources": offer(video(VP8, *(f"a=ssrc:{n} cname:me\n" for n in range(3000)))),
    "source": offer(video(VP8, "a=ssrc:99999999999999999999 cname:me\n")),
    "group of sources": offer(video(VP8, "a=ssrc-group:FID 1\n", "a=ssrc:1 cname:me\n")),
    "data": offer(video(), "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:2\n"),
    "data channel": offer(video(), data_channel("d")),
    "feedback": offer(video(VP8, *(f"a=rtcp-fb:* x{n}\n" for n in range(3000)))),
    "zeros": "\0" * 1000,
    "lone surrogates": offer(video()).replace("s=-", "s=\ufffd\u2028"),
    "bandwidth": offer(video(VP8, "b=AS:-99999999999999999999\n")),
    "passive": offer(video()).replace("actpass", "passive"),
    "holdconn": offer(video()).replace("actpass", "holdconn"),
    "lite": offer(video()) + "a=ice-lite\r\na=ice-options:trickle x y z\r\n",
}


async def post_offer(service, text: str | bytes) -> int:
    """Posts an offer, ends the stream if one starts, and returns the status."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    answer = await service.client.post("/v1/webrtc", content=content, headers=SDP)
    code = check_response(answer)
    if code == 201:
        assert len(answer.content) < 300_000
        ended = await service.client.delete(answer.headers["location"])
        assert ended.status_code == 204
    return code


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HOSTILE.items()])
async def test_hostile_offer_is_accepted_or_rejected(settings_with, text):
    async with in_process(settings_with(webrtc_hosts=("127.0.0.1",))) as service:
        assert await post_offer(service, text) in (201, 413, 422)
        await until(lambda: service.gateway.streams.count == 0)


async def test_damaged_offers_are_accepted_or_rejected(settings_with, mutations):
    settings = settings_with(webrtc_hosts=("127.0.0.1",))
    async with in_process(settings) as service:
        count = max(CONCURRENT_OFFERS, mutations // 20)
        codes = []
        for start in range(0, count, CONCURRENT_OFFERS):
            seeds = range(start, start + CONCURRENT_OFFERS)
            texts = [damaged(INTACT, seed) for seed in seeds]
            codes += await asyncio.gather(*(post_offer(service, text) for text in texts))
        await until(lambda: service.gateway.streams.count == 0)
    assert {201, 422} <= set(codes) <= {201, 422}


async def test_offer_with_maximum_candidates_is_accepted(settings_with):
    lines = [HOST.format(f"10.{n}.0.1", 40000 + n) for n in range(MAX_CANDIDATES)]
    async with in_process(settings_with(webrtc_hosts=("127.0.0.1",))) as service:
        assert await post_offer(service, offer(video(VP8, *lines))) == 201


changes = st.one_of(
    st.binary(max_size=50),
    st.dictionaries(
        st.sampled_from(["output", "background", "size", "smoothing", "format", "x", "model"]),
        st.none() | st.integers() | st.floats() | st.text(max_size=10) | st.lists(st.none()),
    ).map(lambda values: json.dumps(values).encode()),
)


def test_random_patches_change_stream_or_are_rejected(inside, request_settings):
    """Requests go to an existing stream and to unknown ones."""
    service = inside.service
    answer = inside.run(service.client.post("/v1/webrtc", content=INTACT, headers=SDP))
    assert answer.status_code == 201
    location = answer.headers["location"]

    @given(body=changes, path=st.sampled_from([location, "/v1/webrtc/0", "/v1/webrtc/%00%0a"]))
    @example(body=b'{"output": "mask", "x": [' + b"{}," * 100_000 + b"{}]}", path=location)
    @example(body=b"[" * 100_000, path=location)
    @example(body=b'{"grow": ' + b"9" * 100_000 + b"}", path=location)
    @example(body='{"output": "mask"}'.encode("utf-16"), path=location)
    @example(body=b'{"background_image": "' + b"A" * 100_000 + b'"}', path=location)
    @request_settings
    def change(body: bytes, path: str) -> None:
        kind = {"content-type": "application/json"}
        changed = inside.run(service.client.patch(path, content=body, headers=kind))
        assert check_response(changed) in (200, 400, 404, 406, 415, 422)

    change()
    bomb = b'{"output": "mask", "x": [' + b"{}," * 257 + b"{}]}"
    kind = {"content-type": "application/json"}
    refused = inside.run(service.client.patch(location, content=bomb, headers=kind))
    assert check_response(refused) == 400
    assert "256 values" in refused.text
    assert inside.run(service.client.delete(location)).status_code == 204
    assert inside.run(service.client.delete(location)).status_code == 404
