"""ASGI middleware for the headers in which trusted proxies forward client address and host."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

ForwardingHeaders = Literal["x-forwarded", "forwarded"]
"""Headers that a proxy writes: `X-Forwarded-*`, or `Forwarded` of RFC 7239."""

_FOR, _PROTO, _HOST, _PORT = (f"x-forwarded-{name}" for name in ("for", "proto", "host", "port"))
_HOST_AND_PORT = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?P<port>:\d{1,5})?", re.ASCII)
_PORT_NUMBER = re.compile(r"\d{1,5}", re.ASCII)
_DEFAULT_PORTS = frozenset({"80", "443"})
_PAIR = re.compile(r'\s*([\w-]+)=("(?:[^"\\]|\\.)*"|[^",;\s]+)\s*([,;]|$)', re.ASCII)
"""Pair of a `Forwarded` header, and its separator. Many proxies leave ports unquoted."""


class ForwardedMiddleware:
    """ASGI middleware that reads the client address, scheme and host that a proxy forwards.

    Only requests from an address in `trusted` are changed. uvicorn's middleware replaces client and
    scheme of the scope: the client is the last forwarded address that is not trusted itself. The
    host replaces the header Host. `read` names the headers that the proxies write. The others are
    ignored, because a proxy may pass on those that a client has sent.
    """

    def __init__(
        self, app: ASGIApp, *, trusted: Iterable[IPv4Network | IPv6Network], read: ForwardingHeaders
    ) -> None:
        self._trusted = tuple(trusted)
        self._read = read
        networks = [str(network) for network in self._trusted]
        self._app = ProxyHeadersMiddleware(app, networks)  # type: ignore[arg-type]  # its own alias

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and self._is_trusted(scope.get("client")):
            headers = MutableHeaders(raw=list(scope["headers"]))
            if self._read == "forwarded":
                _translate_forwarded(headers)
            _replace_host(headers)
            scope = {**scope, "headers": headers.raw}
        await self._app(scope, receive, send)  # type: ignore[arg-type]

    def _is_trusted(self, client: tuple[str, int] | None) -> bool:
        if client is None:
            return False
        address = ip_address(client[0])
        return any(address in network for network in self._trusted)


def parse_forwarded(text: str) -> list[dict[str, str]]:
    """Returns the elements of a `Forwarded` header, each a value for each name in lower case.

    The list is empty for malformed text. Source: RFC 7239, section 4.
    """
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            return []
        name, value, separator = pair.groups()
        elements[-1][name.lower()] = re.sub(r"\\(.)", r"\1", value.strip('"'))
        if separator == ",":
            elements.append({})
        at = pair.end()
    return [element for element in elements if element]


def _translate_forwarded(headers: MutableHeaders) -> None:
    """Replaces all `X-Forwarded-*` headers by the content of `Forwarded`."""
    for name in (_FOR, _PROTO, _HOST, _PORT):
        del headers[name]
    elements = parse_forwarded(", ".join(headers.getlist("forwarded")))
    if elements:
        # An element without an address must not expose the one before it, which a client can write.
        headers[_FOR] = ", ".join(element.get("for", "unknown") for element in elements)
        for name, key in ((_PROTO, "proto"), (_HOST, "host")):
            if key in elements[-1]:
                headers[name] = elements[-1][key]


def _replace_host(headers: MutableHeaders) -> None:
    """Replaces Host by the forwarded host and port, if they are well-formed."""
    host = _last_value(headers, _HOST) or headers.get("host", "")
    parsed = _HOST_AND_PORT.fullmatch(host)
    if parsed is None:
        return
    port = _last_value(headers, _PORT)
    # A proxy inside names its own port, 80, although TLS ended at one outside.
    if not parsed["port"] and _PORT_NUMBER.fullmatch(port) and port not in _DEFAULT_PORTS:
        host = f"{host}:{port}"
    headers["host"] = host


def _last_value(headers: Headers, name: str) -> str:
    """Returns the last value of a header, which the nearest proxy wrote; empty if it is absent."""
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()
