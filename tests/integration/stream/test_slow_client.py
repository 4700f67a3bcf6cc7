"""Streams to a client that does not read its answers."""

import asyncio

from silhouette_seg.streaming.protocol import MessageKind, unpack
from tests.integration.conftest import until
from tests.integration.stream_client import frame, streaming


async def test_client_that_does_not_read_is_not_read_from(service):
    async with streaming(service.app) as peer:
        peer.reads.clear()
        for seq in range(500):
            peer.send(frame(seq))
        # The worker blocks on a RESULT and the reader on a SKIPPED.
        await until(lambda: peer.blocked == 2)
        unread = peer.unread
        assert unread > 450
        for _ in range(200):
            await asyncio.sleep(0)
        assert (peer.unread, peer.blocked) == (unread, 2)


async def test_client_that_resumes_reading_gets_every_answer(service):
    async with streaming(service.app) as peer:
        peer.reads.clear()
        for seq in range(50):
            peer.send(frame(seq))
        await until(lambda: peer.blocked == 2)
        peer.reads.set()
        answers = [unpack(await peer.receive())[0] for _ in range(50)]
    assert sorted(header.seq for header in answers) == list(range(50))
    by_kind = {header.seq: header.kind for header in answers}
    assert by_kind[49] is MessageKind.RESULT  # the newest frame


async def test_client_that_does_not_read_may_disconnect(service):
    async with streaming(service.app) as peer:
        peer.reads.clear()
        for seq in range(50):
            peer.send(frame(seq))
        await until(lambda: peer.blocked == 2)
    assert service.gateway.streams.count == 0


async def test_close_does_not_wait_for_client_without_reads(service):
    async with streaming(service.app) as peer:
        peer.reads.clear()
        service.gateway.streams.start_draining()
        async with asyncio.timeout(10):
            await service.gateway.streams.wait_idle()
