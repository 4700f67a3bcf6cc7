"""What peers may offer, and what we answer: SDP in, SDP out.

An offer comes from a stranger: its candidates are addresses that we will send packets to, and
each of its sections may cost a socket.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from aiortc.codecs import is_rtx
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from silhouette_seg.errors import UnprocessableOffer

MAX_SECTIONS = 8
"""Tracks."""
MAX_CANDIDATES = 64
"""Of all sections together; a browser with several networks has about twenty."""
START_KBIT = 1000
"""What a browser is told to begin with. By itself it begins near 300 kbit/s and a smaller picture,
for 20 s and more; much more than this overshoots on a poor link."""
_KINDS = ("audio", "video")
"""No data channel: aiortc keeps the pieces of a message that never ends, as many as are sent."""
_CODECS = ("video/vp8", "video/h264")
"""The best first: encoding H264 costs four times as much."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that can be served; `mid` names its first section with video both ways."""

    sdp: str
    mid: str


def read_offer(text: str) -> Offer:
    """Without candidates that are no addresses, and with the best codec first.

    Raises UnprocessableOffer.
    """
    try:
        return _understand(SessionDescription.parse(text))
    except UnprocessableOffer:
        raise
    except Exception as error:
        # aiortc's parser was written for browsers: anything else trips it in any way.
        raise UnprocessableOffer("The offer is not SDP that can be read.") from error


def _understand(description: SessionDescription) -> Offer:
    sections = description.media
    if len(sections) > MAX_SECTIONS:
        raise UnprocessableOffer(
            "The offer has too many sections.", limit=MAX_SECTIONS, actual=len(sections)
        )
    candidates = sum(len(media.ice_candidates) for media in sections)
    if candidates > MAX_CANDIDATES:
        raise UnprocessableOffer(
            "The offer has too many candidates.", limit=MAX_CANDIDATES, actual=candidates
        )
    for media in sections:
        if media.kind not in _KINDS:
            raise UnprocessableOffer("The offer has a section of a kind other than audio or video.")
        _check_transport(media)
    names = [media.rtp.muxId for media in sections]
    if not all(names) or len(set(names)) < len(names):
        raise UnprocessableOffer("Every section needs a name of its own (a=mid).")
    bundled = [name for group in description.group for name in group.items]
    if not set(map(str, bundled)) <= set(names):
        raise UnprocessableOffer("The offer bundles a section that it does not have.")
    video = next((media for media in sections if _is_both_ways(media)), None)
    if video is None:
        raise UnprocessableOffer("The offer has no video that is sent and received (sendrecv).")
    for media in sections:
        _strip_names(media)
        if media.rtcp_mux:
            media.rtcp_port = media.rtcp_port or 9  # or aiortc writes neither
    _prefer(video)
    return Offer(str(description), video.rtp.muxId)


def _check_transport(media: MediaDescription) -> None:
    if not (media.ice and media.ice.usernameFragment and media.ice.password):
        raise UnprocessableOffer("A section has no ICE credentials (a=ice-ufrag, a=ice-pwd).")
    if media.dtls is None or not media.dtls.fingerprints:
        raise UnprocessableOffer("A section has no DTLS fingerprint or role (a=setup).")


def _is_both_ways(media: MediaDescription) -> bool:
    return media.kind == "video" and media.direction in (None, "sendrecv")


def _strip_names(media: MediaDescription) -> None:
    """A name that ends in `.local`, which browsers send in place of an address, is looked for on
    the network for a second, and is not needed: a peer is known by where its first packet comes
    from."""
    media.ice_candidates = [each for each in media.ice_candidates if _is_address(each.ip)]


def _is_address(host: str) -> bool:
    """Of one peer: what is sent to many, or to nobody, is none."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified)


def _prefer(video: MediaDescription) -> None:
    """Whatever is first in the offer is what we send."""
    known = [codec for codec in video.rtp.codecs if codec.mimeType.lower() in _CODECS]
    if not known:
        raise UnprocessableOffer("The offer has neither VP8 nor H264.")
    known.sort(key=lambda codec: _CODECS.index(codec.mimeType.lower()))
    again = [codec for codec in video.rtp.codecs if is_rtx(codec)]
    video.rtp.codecs = [*known, *again]
    video.fmt = [codec.payloadType for codec in video.rtp.codecs]


def with_start_bitrate(answer: str) -> str:
    """Tells the browser how much to send at first."""
    description = SessionDescription.parse(answer)
    for media in description.media:
        if media.kind == "video":
            for codec in media.rtp.codecs:
                _start_fast(codec)
    return str(description)


def _start_fast(codec: RTCRtpCodecParameters) -> None:
    if not is_rtx(codec):
        codec.parameters["x-google-start-bitrate"] = START_KBIT
