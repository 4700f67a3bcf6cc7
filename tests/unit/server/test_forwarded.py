"""Headers of trusted proxies: client address, scheme and host."""

from ipaddress import ip_network

import pytest

from silhouette_seg.server.forwarded import ForwardedMiddleware, parse_forwarded

PROXY, STRANGER, CLIENT = "10.0.0.1", "203.0.113.9", "198.51.100.7"
TRUSTED = tuple(map(ip_network, ("10.0.0.0/24", "fd00::1")))


async def seen(*headers, peer=PROXY, read="x-forwarded", trusted=TRUSTED, kind="http"):
    """Returns client address, scheme and host of a request as the application sees them."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    sent = [(b"host", b"inner:8000"), *((n.lower().encode(), v.encode()) for n, v in headers)]
    scheme = "ws" if kind == "websocket" else "http"
    scope = {"type": kind, "client": (peer, 5000), "scheme": scheme, "headers": sent}
    await ForwardedMiddleware(app, trusted=trusted, read=read)(scope, None, None)
    [scope] = scopes
    [host] = [value.decode() for name, value in scope["headers"] if name == b"host"]
    return scope["client"][0], scope["scheme"], host


ALL = (
    ("X-Forwarded-For", CLIENT),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "photos.example:8443"),
    ("Forwarded", f"for={CLIENT};proto=https;host=photos.example"),
)


@pytest.mark.parametrize("read", ["x-forwarded", "forwarded"])
@pytest.mark.parametrize(
    ("peer", "trusted"),
    [(STRANGER, TRUSTED), ("10.0.1.1", TRUSTED), ("127.0.0.1", TRUSTED), ("127.0.0.1", ())],
)
async def test_headers_of_an_untrusted_sender_are_ignored(peer, trusted, read):
    assert await seen(*ALL, peer=peer, trusted=trusted, read=read) == (peer, "http", "inner:8000")


@pytest.mark.parametrize("peer", [PROXY, "10.0.0.255", "fd00::1", "fd00:0::0001"])
async def test_headers_of_a_trusted_proxy_are_read(peer):
    assert await seen(*ALL, peer=peer) == (CLIENT, "https", "photos.example:8443")


async def test_scheme_of_a_trusted_proxy_becomes_that_of_websockets():
    assert (await seen(*ALL, kind="websocket"))[1] == "wss"


async def test_forwarded_header_is_read_if_the_setting_names_it():
    assert await seen(*ALL, read="forwarded") == (CLIENT, "https", "photos.example")


async def test_proxy_without_headers_is_the_client():
    for read in ("x-forwarded", "forwarded"):
        assert await seen(read=read) == (PROXY, "http", "inner:8000")


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([f"{STRANGER}, {CLIENT}"], CLIENT),
        ([f"{CLIENT}, 10.0.0.7"], CLIENT),
        ([STRANGER, f"{CLIENT}, 10.0.0.7"], CLIENT),
        ([f"{CLIENT}:5123"], CLIENT),
        (["[2001:db8::7]:5123"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
    ],
)
async def test_client_is_the_last_untrusted_address(values, client):
    """A proxy appends the address of its client to a header that this client may have forged."""
    assert (await seen(*(("X-Forwarded-For", value) for value in values)))[0] == client


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([f"for={STRANGER}, for={CLIENT}"], CLIENT),
        ([f"for={STRANGER}", f"For={CLIENT};by=10.0.0.1, for=10.0.0.7"], CLIENT),
        (['for="[2001:db8::7]:5123"'], "2001:db8::7"),
        ([f'for="{CLIENT}:5123"'], CLIENT),
        ([f"for={STRANGER}, proto=https"], "unknown"),
        ([f'for="{STRANGER}, for={CLIENT}'], PROXY),
        ([f'for="a, for={STRANGER}", for={CLIENT}'], CLIENT),
        ([f"for={CLIENT},, for"], PROXY),
    ],
    ids=["forged", "chain", "IPv6", "port", "no address", "open quote", "comma", "malformed"],
)
async def test_client_of_forwarded_cannot_be_forged(values, client):
    headers = [("Forwarded", value) for value in values]
    seen_client, _, _ = await seen(("X-Forwarded-For", STRANGER), *headers, read="forwarded")
    assert seen_client == client


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({"Host": "evil.example, photos.example"}, "photos.example"),
        ({"Host": "[2001:db8::1]:8443"}, "[2001:db8::1]:8443"),
        ({"Host": "photos.example", "Port": "8443"}, "photos.example:8443"),
        ({"Host": "photos.example:9000", "Port": "8443"}, "photos.example:9000"),
        ({"Host": "photos.example", "Port": "443"}, "photos.example"),
        ({"Host": "photos.example", "Port": "80"}, "photos.example"),
        ({"Host": "photos.example", "Port": "8443x"}, "photos.example"),
        ({"Host": "photos.example/path"}, "inner:8000"),
        ({"Host": "me@photos.example"}, "inner:8000"),
        ({"Host": ""}, "inner:8000"),
    ],
)
async def test_forwarded_host_and_port_replace_host(headers, host):
    sent = [(f"X-Forwarded-{name}", value) for name, value in headers.items()]
    assert (await seen(*sent))[2] == host


def test_forwarded_elements_are_parsed_as_the_standard_shows():
    text = 'For="[2001:db8:cafe::17]:4711";proto=http; by=203.0.113.43, for=_gaz"'
    assert parse_forwarded(text) == []
    assert parse_forwarded(text.removesuffix('"')) == [
        {"for": "[2001:db8:cafe::17]:4711", "proto": "http", "by": "203.0.113.43"},
        {"for": "_gaz"},
    ]
    assert parse_forwarded(r'for="a\"b"') == [{"for": 'a"b'}]
    assert parse_forwarded("") == []
