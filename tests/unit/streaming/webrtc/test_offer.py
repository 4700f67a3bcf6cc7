"""Validation of SDP offers: codecs, candidates, limits, damaged text."""

import pytest
from aiortc.sdp import SessionDescription

from silhouette_seg.errors import UnprocessableOffer
from silhouette_seg.streaming.webrtc.offer import (
    MAX_CANDIDATES,
    MAX_SECTIONS,
    START_BITRATE_KBIT_S,
    parse_offer,
    with_start_bitrate,
)
from tests.support.sdp import (
    H264,
    HOST,
    OPUS,
    VP8,
    VP9,
    damaged,
    data_channel,
    offer,
    section,
    video,
)


def parsed(text: str) -> tuple[str, list[str], list[str]]:
    """Returns the name of the served section, its codecs, and the addresses of all candidates."""
    accepted = parse_offer(text)
    sections = SessionDescription.parse(accepted.sdp).media
    (served,) = (media for media in sections if media.rtp.muxId == accepted.mid)
    addresses = [candidate.ip for media in sections for candidate in media.ice_candidates]
    return accepted.mid, [codec.name for codec in served.rtp.codecs], addresses


@pytest.mark.parametrize(
    ("lines", "codecs"),
    [
        ((VP8, H264), ["VP8", "H264", "rtx"]),
        ((VP9, H264, VP8), ["VP8", "H264", "rtx"]),
        ((H264,), ["H264"]),
        ((VP8,), ["VP8", "rtx"]),
    ],
)
def test_codecs_start_with_vp8_and_unknown_are_dropped(lines, codecs):
    assert parsed(offer(video(*lines)))[1] == codecs


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ([section("audio", "a", OPUS), video(name="v")], "v"),
        ([video(name="in", direction="sendonly"), video(name="both")], "both"),
        ([video(name="first"), video(name="second")], "first"),
    ],
)
def test_first_sendrecv_video_is_served(sections, name):
    assert parsed(offer(*sections))[0] == name


def test_candidates_without_unicast_address_are_dropped():
    names = ["0f3c8a52-1111-2222-3333-444455556666.local", "example.org"]
    not_unicast = ["224.0.0.1", "ff02::1", "0.0.0.0", "::"]
    hosts = ["10.0.0.1", *names, "fd00::2", *not_unicast]
    lines = [HOST.format(ip=ip) for ip in hosts]
    assert parsed(offer(video(VP8, *lines)))[2] == ["10.0.0.1", "fd00::2"]


def test_other_attributes_of_offer_are_kept():
    sound = section("audio", "a", OPUS, "a=ssrc:7 cname:me\n", "a=extmap:3 urn:x\n")
    text = offer(sound, video(VP8, "a=msid:stream track\n", name="v"))
    before = SessionDescription.parse(text)
    after = SessionDescription.parse(parse_offer(text).sdp)
    assert after.group == before.group
    for old, new in zip(before.media, after.media, strict=True):
        for field in ("kind", "direction", "rtcp_mux", "ice", "dtls", "msid", "ssrc", "rtp"):
            assert getattr(new, field) == getattr(old, field), field


def candidate_lines(count: int) -> str:
    return "".join(HOST.format(ip=f"10.0.0.{number}") for number in range(count))


@pytest.mark.parametrize(
    "text",
    [
        offer(video(VP8, candidate_lines(MAX_CANDIDATES))),
        offer(*(video(name=str(number)) for number in range(MAX_SECTIONS))),
    ],
    ids=["candidates", "sections"],
)
def test_offer_at_the_limits_is_accepted(text):
    assert parsed(text)[1][0] == "VP8"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no video"),
        ("hello", "no video"),
        ("v=0", "no video"),
        ("m=video", "not valid SDP"),
        ("{}", "no video"),
        (offer(), "no video"),
        (offer(section("audio", "0", OPUS)), "no video"),
        (offer(video(direction="sendonly")), "sendrecv"),
        (offer(video(direction="recvonly")), "sendrecv"),
        (offer(video(direction="inactive")), "sendrecv"),
        (offer(video(VP9)), "neither VP8 nor H264"),
        (offer(video(VP8, candidate_lines(MAX_CANDIDATES + 1))), "candidates"),
        (offer(*(video(name=str(n)) for n in range(MAX_SECTIONS + 1))), "sections"),
        (offer(video(name="1"), video(name="1")), "unique name"),
        (offer(video()).replace("a=mid:1\r\n", ""), "unique name"),
        (offer(video(), section("text", "2", OPUS)), "kind"),
        (offer(video(), data_channel("2")), "kind"),
        (offer(video()).replace("BUNDLE 1", "BUNDLE 2 1"), "bundles"),
        (offer(video()).replace("a=ice-ufrag:abcd\r\n", ""), "ICE"),
        (offer(video()).replace("a=ice-pwd", "a=ice-other"), "ICE"),
        (offer(video()).replace("a=setup:actpass\r\n", ""), "DTLS"),
        (offer(video()).replace("a=fingerprint:sha-256 EA:46\r\n", ""), "DTLS"),
        (offer(video()).replace("a=setup:actpass", "a=setup:whatever"), "not valid SDP"),
        (offer(video()).replace(" 97 98 99", " 97 98 abc"), "not valid SDP"),
        (offer(video()).replace("a=fmtp:98", "a=fmtp:77"), "not valid SDP"),
    ],
)
def test_unusable_offer_raises_with_reason(text, reason):
    with pytest.raises(UnprocessableOffer, match=reason):
        parse_offer(text)


def test_damaged_offers_are_accepted_or_rejected(mutations):
    """The parser of aiortc may raise anything; only UnprocessableOffer may leave parse_offer."""
    intact = offer(section("audio", "0", OPUS), video(VP8, H264, VP9, HOST.format(ip="10.0.0.1")))
    outcomes = {True: 0, False: 0}
    for number in range(mutations // 4):
        try:
            parse_offer(damaged(intact, number))
            outcomes[True] += 1
        except UnprocessableOffer:
            outcomes[False] += 1
    assert min(outcomes.values()) > mutations / 40, outcomes


def test_answer_sets_start_bitrate_of_video_codecs():
    answer = with_start_bitrate(offer(video(VP8, H264)))
    (media,) = SessionDescription.parse(answer).media
    bitrates = {
        codec.name: codec.parameters.get("x-google-start-bitrate", "-")
        for codec in media.rtp.codecs
    }
    assert bitrates == {
        "VP8": str(START_BITRATE_KBIT_S),
        "H264": str(START_BITRATE_KBIT_S),
        "rtx": "-",
    }
    assert media.rtp.codecs[2].parameters.keys() >= {"packetization-mode", "profile-level-id"}
