"""Ends of WebRTC streams and their reasons."""

import pytest

from tests.integration.conftest import in_process, until
from tests.integration.pictures import refusal
from tests.integration.webrtc.conftest import decoders, post
from tests.integration.webrtc_client import WebRTCClient
from tests.support.sdp import offer, video


async def close_connection(client: WebRTCClient) -> None:
    await client.connection.close()


async def stop_filming(client: WebRTCClient) -> None:
    client.camera.stop_filming()


async def abort_sockets(client: WebRTCClient) -> None:
    """Closes the sockets without a DTLS close, as when a browser is killed."""
    (transceiver,) = client.connection.getTransceivers()
    for protocol in transceiver.receiver.transport.transport._connection._protocols:
        protocol.transport.abort()


async def delete_stream(client: WebRTCClient) -> None:
    assert (await client.http.delete(client.location)).status_code == 204


async def do_nothing(client: WebRTCClient) -> None:
    pass


@pytest.mark.parametrize(
    ("action", "settings", "reason"),
    [
        (close_connection, {}, "the peer hung up"),
        (stop_filming, {"webrtc_idle_s": 0.5}, "no frame came"),
        (abort_sockets, {"webrtc_idle_s": 0.5}, "no frame came"),
        (delete_stream, {}, "its client ended it"),
        (do_nothing, {"stream_max_s": 0.5}, "it had its time"),
        (do_nothing, {"max_pixels": 1000}, "a frame has too many pixels"),
    ],
)
async def test_stream_ends_with_reason(serving, caplog, action, settings, reason):
    caplog.set_level("INFO", "silhouette_seg.streaming")
    async with serving(**settings) as service, WebRTCClient(service.client) as client:
        if action is not do_nothing:
            await client.receive_frames(1)
        await action(client)
        await until(lambda: service.gateway.streams.count == 0)
        refusal(await client.patch(size=128), 404, "not_found")
        refusal(await client.http.delete(client.location), 404, "not_found")
        assert [line for line in caplog.messages if line.endswith(f" s: {reason}")]
        read = service.gateway.telemetry.registry.get_sample_value
        ended = {"transport": "webrtc", "reason": reason}
        assert read("silhouette_streams_ended_total", ended) == 1
        assert read("silhouette_streams", {"transport": "webrtc"}) == 0


async def test_unconnected_peer_ends_after_timeout(serving, caplog):
    caplog.set_level("INFO", "silhouette_seg.streaming")
    async with serving(webrtc_connect_s=0.3) as service:
        answer = await post(service, offer(video()))
        assert answer.status_code == 201
        assert service.gateway.streams.count == 1
        await until(lambda: service.gateway.streams.count == 0)
        assert [line for line in caplog.messages if line.endswith(" s: it never connected")]


async def test_shutdown_ends_streams(settings_with):
    async with in_process(settings_with(webrtc_hosts=("127.0.0.1",))) as service:
        client = await WebRTCClient(service.client).__aenter__()
        await client.receive_frames(1)
    assert service.gateway.streams.count == 0
    await client.wait_for_state("closed")
    await client.__aexit__(None, None, None)
    assert not decoders()
