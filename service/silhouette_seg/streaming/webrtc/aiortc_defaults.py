"""What holds for all connections of the process: aiortc and aioice have no options for it."""

import logging
from collections.abc import Sequence

from aioice import ice
from aiortc.codecs import h264, vpx

BITRATE = 1_500_000
"""Bits per second that a picture begins with; a receiver that cannot take them says so. aiortc's
own 0.5 Mbit/s climbs for a quarter of a minute, with a new encoder and a key frame at each step."""


def prepare(hosts: Sequence[str]) -> None:
    """`hosts` are the addresses to offer; none leaves it to the network interfaces."""
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = BITRATE
    if hosts:
        _offer_only(list(hosts))
    # One line for each pair of addresses that is tried, and one for each frame that a stranger
    # breaks.
    logging.getLogger("aioice").setLevel(logging.WARNING)
    logging.getLogger("aiortc.rtcrtpreceiver").setLevel(logging.ERROR)


def _offer_only(hosts: list[str]) -> None:
    """aioice offers the addresses of all interfaces but never that of loopback, which RFC 8445
    forbids; a server that binds one address, or a test, wants exactly its own. This is the one
    function that it asks, and there is no option."""

    def chosen(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [host for host in hosts if (use_ipv6 if ":" in host else use_ipv4)]

    ice.get_host_addresses = chosen
