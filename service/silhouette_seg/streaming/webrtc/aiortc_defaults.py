"""Process-wide settings of the WebRTC libraries aiortc and aioice that they have no options for."""

import logging
from collections.abc import Sequence

from aioice import ice
from aiortc.codecs import h264, vpx

INITIAL_BITRATE_BPS = 1_500_000
"""Bit rate in bit/s at which the encoding of a stream starts.

A receiver with less bandwidth lowers it by its feedback. The default of aiortc, 0.5 Mbit/s, takes
15 s to rise. Each step costs a new encoder and a key frame.
"""


def apply(hosts: Sequence[str]) -> None:
    """Sets the initial bit rate, log levels and ICE host candidates of aiortc for this process.

    `hosts` are the IP addresses to offer as candidates; if empty, those of all network interfaces
    are offered.
    """
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = INITIAL_BITRATE_BPS
    if hosts:
        _offer_only(list(hosts))
    # aioice logs every candidate pair, and aiortc every frame that it cannot decode.
    logging.getLogger("aioice").setLevel(logging.WARNING)
    logging.getLogger("aiortc.rtcrtpreceiver").setLevel(logging.ERROR)


def _offer_only(hosts: list[str]) -> None:
    """Makes aioice offer exactly the IP addresses `hosts`, by replacing one of its functions.

    aioice has no option for them. It offers the addresses of all interfaces except loopback, which
    RFC 8445 forbids. A server that binds one address, or a test, needs exactly its own.
    """

    def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [host for host in hosts if (use_ipv6 if ":" in host else use_ipv4)]

    ice.get_host_addresses = host_addresses
