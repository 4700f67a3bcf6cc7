"""Validates the SDP offers of WebRTC clients, and adjusts the SDP answers of the service.

An offer is untrusted input. The service sends packets to the addresses of its candidates, and each
of its sections may cost a socket.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from aiortc.codecs import is_rtx
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from silhouette_seg.errors import UnprocessableOffer

MAX_SECTIONS = 8
"""Maximum number of media sections, that is of tracks, in an offer."""
MAX_CANDIDATES = 64
"""Maximum number of ICE candidates in an offer. A browser with several networks has about 20."""
START_BITRATE_KBIT_S = 1000
"""Bit rate in kbit/s at which a browser starts to send, by a parameter of the answer.

Its own default is near 300 kbit/s with a smaller image, for 20 s and more. A much higher rate
overshoots on a poor link.
"""
_MEDIA_KINDS = ("audio", "video")
"""Allowed kinds of media sections in an offer.

Data channels are excluded: aiortc buffers an endless message without limit.
"""
_CODEC_PREFERENCE = ("video/vp8", "video/h264")
"""Supported codecs in order of preference: encoding H264 costs four times as much."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A valid SDP offer, and the id (`mid`) of its first section with video in both directions."""

    sdp: str
    mid: str


def parse_offer(text: str) -> Offer:
    """Validates an SDP offer, and returns it in the form that aiortc can answer.

    Candidates that are not unicast IP addresses are removed, and the preferred codec is moved to
    the front. Raises UnprocessableOffer for invalid SDP, too many sections or candidates, or no
    usable video.
    """
    try:
        return _validated(SessionDescription.parse(text))
    except UnprocessableOffer:
        raise
    except Exception as error:
        # The parser of aiortc expects a browser's SDP and raises any exception for other text.
        raise UnprocessableOffer("The offer is not valid SDP.") from error


def _validated(description: SessionDescription) -> Offer:
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
        if media.kind not in _MEDIA_KINDS:
            raise UnprocessableOffer("The offer has a section of a kind other than audio or video.")
        _check_transport(media)
    names = [media.rtp.muxId for media in sections]
    if not all(names) or len(set(names)) < len(names):
        raise UnprocessableOffer("Every section needs a unique name (a=mid).")
    bundled = [name for group in description.group for name in group.items]
    if not set(map(str, bundled)) <= set(names):
        raise UnprocessableOffer("The offer bundles an unknown section.")
    video = next((media for media in sections if _is_sendrecv(media)), None)
    if video is None:
        raise UnprocessableOffer("The offer has no video that is sent and received (sendrecv).")
    for media in sections:
        _drop_hostname_candidates(media)
        if media.rtcp_mux:
            media.rtcp_port = media.rtcp_port or 9  # aiortc omits a=rtcp-mux without a port
    _order_codecs(video)
    return Offer(str(description), video.rtp.muxId)


def _check_transport(media: MediaDescription) -> None:
    if not (media.ice and media.ice.usernameFragment and media.ice.password):
        raise UnprocessableOffer("A section has no ICE credentials (a=ice-ufrag, a=ice-pwd).")
    if media.dtls is None or not media.dtls.fingerprints:
        raise UnprocessableOffer("A section has no DTLS fingerprint or role (a=setup).")


def _is_sendrecv(media: MediaDescription) -> bool:
    return media.kind == "video" and media.direction in (None, "sendrecv")


def _drop_hostname_candidates(media: MediaDescription) -> None:
    """Removes the ICE candidates of a section that are not unicast IP addresses.

    Browsers send names that end in `.local` in place of addresses. Resolving one takes a second,
    and is not needed: the first packet of a client reveals its address.
    """
    media.ice_candidates = [
        candidate for candidate in media.ice_candidates if _is_unicast(candidate.ip)
    ]


def _is_unicast(host: str) -> bool:
    """Returns True if `host` is an IP address of one host: no name, multicast or 0.0.0.0."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified)


def _order_codecs(video: MediaDescription) -> None:
    """Keeps only the supported codecs of a video section, the preferred one first.

    aiortc sends with the first codec of an offer. Raises UnprocessableOffer if it has neither VP8
    nor H264.
    """
    known = [codec for codec in video.rtp.codecs if codec.mimeType.lower() in _CODEC_PREFERENCE]
    if not known:
        raise UnprocessableOffer("The offer has neither VP8 nor H264.")
    known.sort(key=lambda codec: _CODEC_PREFERENCE.index(codec.mimeType.lower()))
    retransmission = [codec for codec in video.rtp.codecs if is_rtx(codec)]
    video.rtp.codecs = [*known, *retransmission]
    video.fmt = [codec.payloadType for codec in video.rtp.codecs]


def with_start_bitrate(answer: str) -> str:
    """Returns an SDP answer with START_BITRATE_KBIT_S as the start bit rate of its video codecs."""
    description = SessionDescription.parse(answer)
    for media in description.media:
        if media.kind == "video":
            for codec in media.rtp.codecs:
                _set_start_bitrate(codec)
    return str(description)


def _set_start_bitrate(codec: RTCRtpCodecParameters) -> None:
    if not is_rtx(codec):
        codec.parameters["x-google-start-bitrate"] = START_BITRATE_KBIT_S
