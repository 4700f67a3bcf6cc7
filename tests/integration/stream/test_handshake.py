"""Handshake of a stream: subprotocol, origin, key and first message."""

from ipaddress import ip_network

import pytest

from silhouette_seg.api import stream
from silhouette_seg.server.forwarded import ForwardedMiddleware
from silhouette_seg.streaming.protocol import CloseCode, text_message
from tests.integration.conftest import in_process
from tests.integration.stream_client import config, connected, frame


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (frame(), CloseCode.BAD_CONFIG),
        (b"", CloseCode.BAD_CONFIG),
        ("no json", CloseCode.WRONG_TYPE),
        ("[]", CloseCode.WRONG_TYPE),
        ('{"output": "mask"}', CloseCode.WRONG_TYPE),
        (text_message("reset", {}), CloseCode.BAD_CONFIG),
        (config(output="nope"), CloseCode.BAD_CONFIG),
        (config(nope=1), CloseCode.BAD_CONFIG),
        (config(model="nope"), CloseCode.BAD_CONFIG),
        (config(output="cutout", format="jpeg"), CloseCode.BAD_CONFIG),
        (config(output="composite", background_image="AAAA"), CloseCode.BAD_CONFIG),
        (config(key=7), CloseCode.BAD_CONFIG),
    ],
)
async def test_invalid_first_message_closes_stream(service, message, code):
    async with connected(service.app) as peer:
        peer.send(message)
        end = await peer.end()
    assert end.code == code
    assert end.reason
    assert len(end.reason.encode()) <= 123


async def test_missing_config_closes_stream_after_timeout(service, monkeypatch):
    monkeypatch.setattr(stream, "CONFIG_TIMEOUT_S", 0.02)
    async with connected(service.app) as peer:
        assert (await peer.end()).code == CloseCode.CONFIG_TIMEOUT


async def test_client_that_disconnects_at_once_leaves_nothing(service):
    async with connected(service.app):
        pass


@pytest.mark.parametrize(
    ("subprotocols", "code"),
    [((), CloseCode.POLICY), (("silhouette.v2", "mqtt"), CloseCode.POLICY)],
)
async def test_unknown_subprotocol_closes_stream(service, subprotocols, code):
    async with connected(service.app, subprotocols=subprotocols) as peer:
        assert (await peer.end()).code == code


async def test_known_subprotocol_among_others_is_selected(service):
    async with connected(service.app, subprotocols=("silhouette.v2", "silhouette.v1")) as peer:
        peer.send(config())
        assert (await peer.receive())["type"] == "ready"


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://silhouette", "silhouette", True),
        ("https://SILHOUETTE", "silhouette", True),
        ("http://silhouette:8000", "silhouette:8000", True),
        ("https://silhouette", "silhouette:443", True),
        ("http://silhouette", "silhouette:80", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://friend.example", "silhouette", True),
        ("https://silhouette", "silhouette:80", False),
        ("http://silhouette", "silhouette:8000", False),
        ("https://silhouette:8443", "silhouette", False),
        ("http://silhouette:port", "silhouette", False),
        ("http://friend.example", "silhouette", False),
        ("http://silhouette:8001", "silhouette:8000", False),
        ("http://evil.example", "silhouette", False),
        ("http://silhouette.evil.example", "silhouette", False),
        ("http://evil.example/silhouette", "silhouette", False),
        ("null", "silhouette", False),
        ("", "silhouette", False),
        ("http://[", "silhouette", False),
        ("null", "", False),
    ],
)
async def test_stream_requires_same_or_allowed_origin(settings_with, gated, origin, host, allowed):
    settings = settings_with(engine="gated", cors_origins=("https://friend.example",))
    async with (
        in_process(settings) as service,
        connected(service.app, origin=origin, host=host) as peer,
    ):
        if allowed:
            peer.send(config())
            assert (await peer.receive())["type"] == "ready"
        else:
            assert (await peer.end()).code == CloseCode.POLICY


@pytest.mark.parametrize(
    ("proxy", "origin", "allowed"),
    [
        ("10.0.0.1", "https://photos.example", True),
        ("10.0.0.1", "https://photos.example:443", True),
        ("10.0.0.1", "https://silhouette", False),
        ("10.0.0.2", "https://photos.example", False),
        ("10.0.0.2", "https://silhouette", True),
    ],
)
async def test_host_of_a_trusted_proxy_is_the_own_host(service, proxy, origin, allowed):
    app = ForwardedMiddleware(service.app, trusted=[ip_network("10.0.0.1")], read="x-forwarded")
    forwarded = {"x_forwarded_host": "photos.example", "origin": origin}
    async with connected(app, address=proxy, **forwarded) as peer:
        peer.send(config())
        if allowed:
            assert (await peer.receive())["type"] == "ready"
        else:
            assert (await peer.end()).code == CloseCode.POLICY


@pytest.mark.parametrize(
    ("key", "headers", "allowed"),
    [
        ("secret", {}, True),
        ("clé", {}, True),
        (None, {"authorization": "Bearer secret"}, True),
        (None, {"x_api_key": "secret"}, True),
        ("wrong", {"authorization": "Bearer secret"}, True),
        ("wrong", {}, False),
        (None, {}, False),
        ("", {}, False),
        ("\ud800", {}, False),
        (None, {"authorization": "Basic secret"}, False),
        (None, {"x_api_key": "wrong"}, False),
    ],
)
async def test_stream_requires_valid_key(settings_with, gated, key, headers, allowed):
    async with (
        in_process(settings_with(engine="gated", api_keys=("secret", "clé"))) as service,
        connected(service.app, **headers) as peer,
    ):
        peer.send(config(**({} if key is None else {"key": key})))
        if allowed:
            assert (await peer.receive())["type"] == "ready"
        else:
            assert (await peer.end()).code == CloseCode.UNAUTHORIZED


async def test_config_is_validated_after_the_key(settings_with, gated):
    async with (
        in_process(settings_with(engine="gated", api_keys=("secret",))) as service,
        connected(service.app) as peer,
    ):
        peer.send(config(model="nope", background_image="x"))
        assert (await peer.end()).code == CloseCode.UNAUTHORIZED
