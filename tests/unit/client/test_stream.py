"""Streams of the client with a WebSocket server that each test scripts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from silhouette_seg.client import (
    AsyncClient,
    Failed,
    Refused,
    Result,
    Skipped,
    Stream,
    StreamClosed,
    Unreachable,
)
from silhouette_seg.streaming import protocol

PATIENCE_S = 20
READY = {"session": "s1", "credits": 2, "max_bytes": 1000, "from_seq": 0}
Talk = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def served(talk: Talk, **options) -> AsyncIterator[AsyncClient]:
    """Serves `talk` on a free port and yields a client of it."""
    async with (
        asyncio.timeout(PATIENCE_S),
        serve(talk, "127.0.0.1", 0, subprotocols=[protocol.SUBPROTOCOL], **options) as server,
        AsyncClient(url_of(server), "secret") as client,
    ):
        yield client


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def ready(socket: ServerConnection) -> dict:
    """Answers a `config` message and returns its options."""
    config = protocol.parse_text_message(await socket.recv())
    assert config.pop("type") == "config"
    await socket.send(protocol.text_message("ready", READY | {"options": config}))
    return config


async def frame(socket: ServerConnection) -> tuple[protocol.MessageHeader, bytes]:
    header, body = protocol.unpack(await socket.recv())
    assert header.kind is protocol.MessageKind.FRAME
    return header, bytes(body)


def result(of: protocol.MessageHeader, picture: bytes) -> bytes:
    header = protocol.MessageHeader(
        protocol.MessageKind.RESULT, of.seq, of.timestamp, protocol.MessageFlags.FOREGROUND
    )
    return protocol.pack_result(header, protocol.ResultHeader(4, 3, 7, 2500), picture)


async def echo(socket: ServerConnection) -> None:
    await ready(socket)
    while True:
        header, body = await frame(socket)
        await socket.send(result(header, body))


async def test_frame_is_answered_by_a_result():
    async with served(echo) as client, client.stream(output="mask", smoothing=0.5) as stream:
        assert stream.session == "s1"
        assert stream.options == {"output": "mask", "smoothing": 0.5}
        assert await stream.send(b"one") == 1
        answer = await anext(stream)
    assert isinstance(answer, Result)
    assert (answer.seq, answer.picture, answer.width, answer.height) == (1, b"one", 4, 3)
    assert (answer.foreground, answer.dropped, answer.server_s) == (True, 7, 0.0025)
    assert answer.round_trip_s >= 0


async def test_skipped_and_failed_frames_are_answers():
    async def talk(socket: ServerConnection) -> None:
        await ready(socket)
        one, _ = await frame(socket)
        two, _ = await frame(socket)
        await socket.send(
            protocol.pack(
                protocol.MessageHeader(protocol.MessageKind.SKIPPED, one.seq, one.timestamp)
            )
        )
        error = b'{"code": "undecodable_image", "detail": "No.", "retryable": false}'
        await socket.send(
            protocol.pack(
                protocol.MessageHeader(protocol.MessageKind.ERROR, two.seq, two.timestamp), error
            )
        )
        await socket.wait_closed()

    async with served(talk) as client, client.stream() as stream:
        await stream.send(b"one")
        await stream.send(b"two")
        skipped, failed = await anext(stream), await anext(stream)
    assert isinstance(skipped, Skipped)
    assert skipped.seq == 1
    assert isinstance(failed, Failed)
    assert (failed.seq, failed.code, failed.detail) == (2, "undecodable_image", "No.")
    assert not failed.retryable


async def test_send_waits_for_a_credit():
    seen: list[int] = []
    answer = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        await ready(socket)
        held = [await frame(socket) for _ in range(READY["credits"])]
        seen.extend(header.seq for header, _ in held)
        await answer.wait()
        await socket.send(result(*held[0]))
        header, _ = await frame(socket)
        seen.append(header.seq)
        await socket.wait_closed()

    async with served(talk) as client, client.stream() as stream:
        await stream.send(b"one")
        await stream.send(b"two")
        third = asyncio.create_task(stream.send(b"three"))
        # After this round trip the third frame would have arrived, if it had been sent.
        await (await stream._socket.ping())
        assert not third.done()
        answer.set()
        assert isinstance(await anext(stream), Result)
        assert await third == 3
    assert seen[:2] == [1, 2]


async def test_map_answers_every_frame_in_order():
    async def frames() -> AsyncIterator[bytes]:
        for number in range(50):
            yield bytes([number])

    async with served(echo) as client, client.stream() as stream:
        pictures = [answer.picture async for answer in stream.map(frames())]
    assert pictures == [bytes([number]) for number in range(50)]


async def test_map_raises_frame_errors_and_may_be_left():
    async def frames() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError("the camera fell")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"again"

    async with served(echo) as client:
        async with client.stream() as stream:
            with pytest.raises(RuntimeError, match="the camera fell"):
                assert [answer async for answer in stream.map(frames())] == []
        async with client.stream() as stream:
            async for answer in stream.map(endless()):
                if answer.seq == 5:
                    break


async def test_configure_changes_options_and_raises_refused():
    async def talk(socket: ServerConnection) -> None:
        await ready(socket)
        await ready(socket)
        assert protocol.parse_text_message(await socket.recv())["grow"] == "much"
        refusal = {"code": "bad_parameter", "detail": "grow: no", "retryable": False}
        await socket.send(protocol.text_message("error", refusal))
        assert protocol.parse_text_message(await socket.recv()) == {"type": "reset"}
        header, body = await frame(socket)
        await socket.send(result(header, body))
        await socket.wait_closed()

    async with served(talk) as client, client.stream(output="mask") as stream:
        await stream.configure(output="cutout")
        assert stream.options == {"output": "cutout"}
        with pytest.raises(Refused) as refused:
            await stream.configure(grow="much")
        assert (refused.value.code, refused.value.status) == ("bad_parameter", None)
        assert stream.options == {"output": "cutout"}
        await stream.reset()
        await stream.send(b"one")
        assert isinstance(await anext(stream), Result)


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        (protocol.CloseCode.BAD_CONFIG, False),
        (protocol.CloseCode.TOO_MANY_STREAMS, True),
        (protocol.CloseCode.IDLE, False),
    ],
)
async def test_close_after_handshake_raises_stream_closed(code, retryable):
    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.close(code, "because")

    async with served(talk) as client:
        with pytest.raises(StreamClosed) as closed:
            async with client.stream():
                raise AssertionError("the stream opened")
    assert (closed.value.code, closed.value.reason) == (code, "because")
    assert closed.value.retryable is retryable


async def test_received_answers_are_read_before_the_close_is_raised():
    async def talk(socket: ServerConnection) -> None:
        await ready(socket)
        await socket.send(result(*await frame(socket)))
        await socket.close(protocol.CloseCode.RESTART, "bye")

    async with served(talk) as client, client.stream() as stream:
        await stream.send(b"one")
        assert isinstance(await anext(stream), Result)
        for call in (lambda: anext(stream), lambda: stream.send(b"two"), stream.reset):
            with pytest.raises(StreamClosed, match="1012 bye"):
                await call()


async def test_broken_connection_raises_in_every_waiting_call():
    async def talk(socket: ServerConnection) -> None:
        await ready(socket)
        await frame(socket)
        await frame(socket)
        socket.transport.abort()

    async with served(talk) as client, client.stream() as stream:
        await stream.send(b"one")
        await stream.send(b"two")
        waiting = (stream.send(b"three"), stream.configure(output="mask"), anext(stream))
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in ended] == [StreamClosed] * 3
    assert {error.code for error in ended} == {1006}


async def test_iteration_stops_after_the_block():
    async with served(echo) as client:
        async with client.stream() as stream:
            pass
        assert [answer async for answer in stream] == []


async def test_frame_beyond_message_limit_is_not_sent():
    async with served(echo) as client, client.stream() as stream:
        with pytest.raises(ValueError, match="at most 1000 bytes, not 1020"):
            await stream.send(b"x" * 1000)
        assert await stream.send(b"x" * 980) == 1


async def test_protocol_violation_raises_stream_closed():
    async def talk(socket: ServerConnection) -> None:
        await ready(socket)
        await socket.send(b"nonsense")
        await socket.wait_closed()

    async with served(talk) as client, client.stream() as stream:
        with pytest.raises(StreamClosed, match="violated the protocol"):
            await anext(stream)


async def test_handshake_sends_key_and_subprotocol():
    seen: dict[str, str] = {}

    async def talk(socket: ServerConnection) -> None:
        seen.update(socket.request.headers.raw_items())
        await echo(socket)

    async with served(talk) as client, client.stream() as stream:
        assert isinstance(stream, Stream)
    assert seen["Authorization"] == "Bearer secret"
    assert seen["Sec-WebSocket-Protocol"] == protocol.SUBPROTOCOL


async def test_rejected_handshake_raises_refused():
    def refuse(socket, request):
        return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full")

    async with served(echo, process_request=refuse) as client:
        with pytest.raises(Refused) as refused:
            async with client.stream():
                raise AssertionError("the stream opened")
    assert (refused.value.code, refused.value.retryable) == ("http_503", True)


async def test_unreachable_service_raises_unreachable():
    async with serve(echo, "127.0.0.1", 0) as server:
        url = url_of(server)
    async with AsyncClient(url) as client:
        with pytest.raises(Unreachable, match="cannot be reached"):
            async with client.stream():
                raise AssertionError("the stream opened")
