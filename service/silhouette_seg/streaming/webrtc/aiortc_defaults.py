"""Process-wide settings of the WebRTC libraries aiortc and aioice that they have no options for."""

import logging
from collections.abc import Sequence

from aioice import ice
from aiortc import rtcrtpreceiver, rtcrtpsender
from aiortc.codecs import h264, vpx

INITIAL_BITRATE_BPS = 1_500_000
"""Bit rate in bit/s at which the encoding of a stream starts.

A receiver with less bandwidth lowers it by its feedback. The default of aiortc, 0.5 Mbit/s, takes
15 s to rise. Each step costs a new encoder and a key frame.
"""
UINT32_MASK = 2**32 - 1


def apply(hosts: Sequence[str]) -> None:
    """Sets bit rate, RTP timestamps, log levels and ICE host candidates of aiortc for this process.

    `hosts` are the IP addresses to offer as candidates; if empty, those of all network interfaces
    are offered.
    """
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = INITIAL_BITRATE_BPS
    _keep_rtp_timestamps()
    if hosts:
        _offer_only(list(hosts))
    # aioice logs every candidate pair, and aiortc every frame that it cannot decode.
    logging.getLogger("aioice").setLevel(logging.WARNING)
    logging.getLogger("aiortc.rtcrtpreceiver").setLevel(logging.ERROR)


class RtpTimestampMapper(rtcrtpreceiver.TimestampMapper):
    """Maps RTP timestamps to presentation times: the same number until it exceeds 32 bits.

    The mapper of aiortc subtracts the timestamp of the first frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self._origin = self._last = 0


def _keep_rtp_timestamps() -> None:
    """Makes each result have the RTP timestamp of its camera frame, so that clients pair both.

    aiortc has no option for it. It subtracts the first timestamp that it receives, and adds a
    random number to those that it sends.
    """
    rtcrtpreceiver.TimestampMapper = RtpTimestampMapper  # type: ignore[misc]
    rtcrtpsender.uint32_add = _without_origin  # type: ignore[attr-defined]


def _without_origin(a: int, b: int) -> int:
    """Returns `b`, a timestamp, modulo 2**32. aiortc would add `a`, a random origin."""
    return b & UINT32_MASK


def _offer_only(hosts: list[str]) -> None:
    """Makes aioice offer exactly the IP addresses `hosts`, by replacing one of its functions.

    aioice has no option for them. It offers the addresses of all interfaces except loopback, which
    RFC 8445 forbids. A server that binds one address, or a test, needs exactly its own.
    """

    def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [host for host in hosts if (use_ipv6 if ":" in host else use_ipv4)]

    ice.get_host_addresses = host_addresses
