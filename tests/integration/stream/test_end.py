"""Ends of streams: close codes, timeouts, drain, disconnect, unexpected errors."""

import asyncio
from typing import NoReturn

import pytest

from silhouette_seg.errors import EngineFailed
from silhouette_seg.streaming.protocol import CloseCode, MessageHeader, MessageKind, pack
from silhouette_seg.streaming.websocket import MAX_BAD_FRAMES
from tests.integration.conftest import in_process, until
from tests.integration.stream_client import (
    BAD_FRAME,
    JPEG,
    AsgiClient,
    ClosedByServer,
    config,
    error_of,
    frame,
    result_of,
    streaming,
)


async def send_configs_forever(peer: AsgiClient) -> NoReturn:
    while True:
        peer.send(config())
        await peer.receive()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", CloseCode.BAD_CONFIG),
        (frame()[:19], CloseCode.BAD_CONFIG),
        (b"RIFF" + frame()[4:], CloseCode.BAD_CONFIG),
        (b"SILH\x02" + frame()[5:], CloseCode.BAD_CONFIG),
        (pack(MessageHeader(MessageKind.RESULT, 1, 1), JPEG), CloseCode.BAD_CONFIG),
        ("frame", CloseCode.WRONG_TYPE),
        ("{}", CloseCode.WRONG_TYPE),
        ('{"type": 1}', CloseCode.WRONG_TYPE),
    ],
)
async def test_malformed_message_closes_stream(service, message, code):
    async with streaming(service.app) as peer:
        peer.send(message)
        end = await peer.end()
    assert end.code == code
    assert end.reason


async def test_too_many_consecutive_bad_frames_close_stream(service):
    async with streaming(service.app) as peer:
        for _ in range(MAX_BAD_FRAMES):
            peer.send(BAD_FRAME)
            error_of(await peer.receive())
        assert (await peer.end()).code == CloseCode.BAD_FRAMES


async def test_good_frame_resets_count_of_bad_frames(service):
    async with streaming(service.app) as peer:
        for message in (
            [BAD_FRAME] * (MAX_BAD_FRAMES - 1) + [frame()] + [BAD_FRAME] * (MAX_BAD_FRAMES - 1)
        ):
            peer.send(message)
            await peer.receive()
        peer.send(frame(7))
        assert result_of(await peer.receive())[0].seq == 7


async def test_engine_failures_do_not_count_as_bad_frames(service, engine):
    async with streaming(service.app) as peer:
        for _ in range(MAX_BAD_FRAMES + 1):
            engine.fail_next(EngineFailed("broken"))
            peer.send(frame())
            error_of(await peer.receive())


async def test_frames_keep_stream_open(settings_with, gated):
    async with (
        in_process(settings_with(engine="gated", stream_idle_s=2)) as service,
        streaming(service.app) as peer,
    ):
        clock = asyncio.get_running_loop().time
        deadline = clock() + 2.1
        while clock() < deadline:
            peer.send(frame())
            result_of(await peer.receive())


async def test_text_messages_do_not_keep_stream_open(settings_with, gated):
    async with (
        in_process(settings_with(engine="gated", stream_idle_s=0.1)) as service,
        streaming(service.app) as peer,
    ):
        with pytest.raises(ClosedByServer, match=f"{CloseCode.IDLE:d}"):
            await send_configs_forever(peer)


async def test_stream_ends_after_maximum_duration(settings_with, gated):
    async with in_process(settings_with(engine="gated", stream_max_s=0.05)) as service:
        async with streaming(service.app) as peer:
            assert (await peer.end()).code == CloseCode.GOING_AWAY
        assert service.gateway.streams.count == 0


async def test_drain_closes_idle_stream_and_answers_frames_of_busy_one(service, engine):
    async with streaming(service.app) as idle, streaming(service.app) as busy:
        engine.gate.clear()
        batches = len(engine.batch_sizes)
        busy.send(frame(1))
        await engine.wait_for_batches(batches + 1)
        busy.send(frame(2))
        await until(lambda: not busy.unread)
        service.gateway.streams.start_draining()
        ends = [await idle.end()]
        busy.send(frame(3))
        engine.gate.set()
        answers = [result_of(await busy.receive())[0].seq for _ in range(2)]
        assert answers == [1, 2]
        ends.append(await busy.end())
        assert [end.code for end in ends] == [CloseCode.RESTART] * 2
        async with asyncio.timeout(5):
            await service.gateway.streams.wait_idle()
        assert engine.running == 0


async def test_disconnect_cancels_the_current_frame(service, engine):
    async with streaming(service.app) as peer:
        engine.gate.clear()
        batches = len(engine.batch_sizes)
        peer.send(frame())
        await engine.wait_for_batches(batches + 1)
        await peer.leave()
    assert engine.running == 0
    assert service.gateway.streams.count == 0


async def test_unexpected_error_is_logged_but_not_sent(service, engine, caplog):
    async with streaming(service.app) as peer:
        engine.fail_next(RuntimeError("secret of the engine"))
        peer.send(frame())
        end = await peer.end()
    assert end.code == CloseCode.INTERNAL
    assert "secret" not in end.reason
    assert "secret of the engine" in caplog.text
    assert service.gateway.streams.count == 0
