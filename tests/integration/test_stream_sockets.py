"""Streams over real sockets: what only a connection can show, and every way it can go wrong."""

import asyncio
import gc
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from silhouette_seg.server import server
from silhouette_seg.server.websocket_protocol import WebSocketProtocol
from silhouette_seg.streaming.protocol import SUBPROTOCOL, CloseCode, MessageKind, unpack
from tests.integration.conftest import PATIENCE_S, OnSocket, on_socket
from tests.integration.stream_peer import config, frame, result_of
from tests.support.images import make_png, person

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
NOISE = make_png(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
"""A picture whose cut-out is large: answers to it fill every buffer soon."""
PING_INTERVAL_S, PING_TIMEOUT_S = 0.3, 1.0
HANDSHAKE = (
    "GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()
ROOM = 4 * 2**20
"""More than what may ever wait to be written for one peer: one answer, and what uvicorn keeps."""


class Noted(WebSocketProtocol):
    """Connections that are still in memory."""

    alive: ClassVar[WeakSet[WebSocketProtocol]] = WeakSet()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.alive.add(self)


@pytest.fixture(autouse=True, scope="module")
def noted() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "WebSocketProtocol", Noted)
        yield


@pytest.fixture(scope="module")
def service(settings_with, noted) -> Iterator[OnSocket]:
    with on_socket(settings_with()) as running:
        yield running


@pytest.fixture(scope="module")
def impatient(settings_with, noted) -> Iterator[OnSocket]:
    """A service that soon gives up on a peer that answers no ping."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(server, "PING_INTERVAL_S", PING_INTERVAL_S)
        patch.setattr(server, "PING_TIMEOUT_S", PING_TIMEOUT_S)
        running = stack.enter_context(on_socket(settings_with()))
        patch.undo()  # before other servers start
        yield running


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """Place, connection and tasks: whatever the peer did, all of it comes back."""
    yield
    for name in {"service", "impatient"} & set(request.fixturenames):
        running = request.getfixturevalue(name)
        running.wait(lambda: running.gateway.streams.count == 0)  # noqa: B023  # called here
        running.wait(lambda: not running.server.server_state.connections)  # noqa: B023
        running.wait(lambda: not running.server.server_state.tasks)  # noqa: B023
        running.wait(lambda: gc.collect() >= 0 and not Noted.alive)


def client(service: OnSocket, **options):
    return connect(
        f"ws://127.0.0.1:{service.port}/v1/stream",
        subprotocols=[SUBPROTOCOL],
        max_size=None,
        **options,
    )


async def begin(peer: ClientConnection, **options: object) -> None:
    await peer.send(config(**options))
    assert '"ready"' in await peer.recv()


def raw(service: OnSocket, **options: object) -> socket.socket:
    """A stream by hand, which answers no ping. A busy machine may cut one off before it is ready:
    then it is another's turn."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        peer = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)
        peer.sendall(HANDSHAKE)
        if until_seen(peer, b"\r\n\r\n"):
            peer.sendall(message(TEXT, config(**options).encode()))
            if until_seen(peer, b'"ready"'):
                return peer
        peer.close()
    raise AssertionError("no stream was ready in time")


def until_seen(peer: socket.socket, what: bytes) -> bool:
    """Reads on until that was said; False when the connection ends before."""
    received = b""
    while what not in received:
        piece = peer.recv(65536)
        if not piece:
            return False
        received += piece
    return True


def message(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """As a client sends it; the mask is zero."""
    length = len(payload)
    head = bytes([final << 7 | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 2**16:
        head += bytes([0x80 | 126]) + struct.pack(">H", length)
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", length)
    return head + bytes(4) + payload


def flood(service: OnSocket, peer: socket.socket, what: bytes) -> int:
    """Sends without ever reading until it is cut off; the most that waited to be written to it."""
    most = 0
    give_up = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < give_up:
            peer.sendall(what)
            for each in list(service.server.server_state.connections):
                most = max(most, each.transport.get_write_buffer_size())
    except OSError:
        return most
    raise AssertionError("it was never cut off")


async def ended(peer: ClientConnection) -> tuple[int, str]:
    """The code and reason of its close, whatever comes before."""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionClosed):
            while True:
                await peer.recv()
    return peer.close_code, peer.close_reason


async def test_a_stream(service):
    async with client(service) as peer:
        assert peer.subprotocol == SUBPROTOCOL
        assert (
            "Sec-WebSocket-Extensions" not in peer.response.headers
        )  # pictures do not get smaller
        await begin(peer, format="png")
        for seq in range(3):
            await peer.send(frame(seq, timestamp=seq))
            header, told, _ = result_of(await peer.recv())
            assert (header.seq, header.timestamp, told.width) == (seq, seq, 96)


async def test_a_peer_that_answers_pings_stays(impatient):
    async with client(impatient) as peer:
        await begin(peer)
        for seq in range(3):
            await asyncio.sleep(PING_INTERVAL_S + PING_TIMEOUT_S / 2)
            await peer.send(frame(seq))
            assert result_of(await peer.recv())


def test_a_large_message_may_take_longer_than_a_ping(impatient):
    """Whose sender cannot answer one before it is through."""
    # A busy machine may stall us for longer than a ping, so there is more than one try.
    assert any(sends_slowly(impatient) for _ in range(4))


def sends_slowly(service: OnSocket) -> bool:
    """Whether a large frame is answered, although it takes longer than a ping may."""
    large = message(BINARY, frame(0, bytes(2 * 2**20)))
    step = len(large) // 20
    with closing(raw(service)) as peer, suppress(OSError):
        for start in range(0, len(large), step):
            peer.sendall(large[start : start + step])
            time.sleep(1.5 * (PING_INTERVAL_S + PING_TIMEOUT_S) / 20)
        return until_seen(peer, b"unsupported_image_type")
    return False


async def test_a_frame_in_pieces(service):
    async with client(service) as peer:
        await begin(peer)
        whole = frame(3)
        await peer.send([whole[:10], whole[10:100], whole[100:]])
        assert result_of(await peer.recv())[0].seq == 3


async def test_500_frames_a_second_each_get_one_answer(service):
    count = 250
    async with client(service) as peer:
        await begin(peer)

        async def send() -> None:
            for seq in range(count):
                await peer.send(frame(seq))
                await asyncio.sleep(1 / 500)

        sending = asyncio.create_task(send())
        async with asyncio.timeout(PATIENCE_S):
            answers = [unpack(await peer.recv())[0] for _ in range(count)]
        await sending
    assert sorted(header.seq for header in answers) == list(range(count))
    kinds = Counter(header.kind for header in answers)
    assert kinds.keys() <= {MessageKind.RESULT, MessageKind.SKIPPED}
    assert answers[-1].seq == count - 1
    assert answers[-1].kind is MessageKind.RESULT


async def test_30_megabytes(service):
    async with client(service) as peer:
        await begin(peer)
        with suppress(ConnectionClosed):
            await peer.send(bytes(30 * 10**6))
        assert (await ended(peer))[0] == CloseCode.TOO_BIG


async def test_pieces_that_never_end(service):
    async with client(service) as peer:
        await begin(peer)

        async def pieces():
            while True:
                yield bytes(100_000)

        with suppress(ConnectionClosed):
            await peer.send(pieces())
        assert (await ended(peer))[0] == CloseCode.TOO_BIG


async def test_too_much_while_a_frame_is_in_work(service):
    async with client(service) as peer:
        await begin(peer, output="cutout")
        await peer.send(frame(0, NOISE))
        with suppress(ConnectionClosed):
            await peer.send(bytes(5 * 2**20))
        assert (await ended(peer))[0] == CloseCode.TOO_BIG


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (message(BINARY, b"SILK" + frame()[4:]), CloseCode.BAD_CONFIG),
        (message(BINARY, frame()[:7]), CloseCode.BAD_CONFIG),
        (message(TEXT, b"a picture"), CloseCode.WRONG_TYPE),
        (message(TEXT, b"\xff\xfe"), CloseCode.BAD_FRAMES),
        (message(BINARY, frame())[:1] + b"\x05nomask", 1002),
        (message(3, b"no such opcode"), 1002),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_told_how(service, sent, code):
    with closing(raw(service)) as peer:
        peer.sendall(sent)
        assert until_seen(peer, struct.pack(">H", code))
        peer.sendall(message(CLOSE, struct.pack(">H", code)))
        assert not until_seen(peer, b"anything else")


@pytest.mark.parametrize(
    "busy", [False, True], ids=["between frames", "with answers that nobody takes"]
)
def test_half_open(impatient, busy):
    """A peer that is gone without a word: its end of the connection takes and says nothing."""
    with closing(raw(impatient, output="cutout")) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for seq in range(20 if busy else 0):
            peer.sendall(message(BINARY, frame(seq, NOISE)))
        impatient.wait(lambda: impatient.gateway.streams.count == 0)
        impatient.wait(lambda: not impatient.server.server_state.connections)


def test_frames_from_a_peer_that_never_reads(impatient):
    with closing(raw(impatient, output="cutout")) as peer:
        assert flood(impatient, peer, message(BINARY, frame(0, NOISE))) < ROOM


def test_tiny_frames_from_a_peer_that_never_reads(impatient):
    """Whose answers are small, and many."""
    with closing(raw(impatient)) as peer:
        assert flood(impatient, peer, 100 * message(BINARY, frame(0, b"x"))) < ROOM


def test_pings_from_a_peer_that_never_reads(impatient):
    with closing(raw(impatient)) as peer:
        assert flood(impatient, peer, 1000 * message(PING, bytes(125))) < ROOM


def test_configs_from_a_peer_that_never_reads(impatient):
    with closing(raw(impatient)) as peer:
        assert flood(impatient, peer, 100 * message(TEXT, config().encode())) < ROOM


@pytest.mark.parametrize("reset", [False, True])
def test_a_peer_that_is_killed(service, reset):
    peer = raw(service, output="cutout")
    peer.sendall(message(BINARY, frame(0, NOISE)))
    if reset:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    service.wait(lambda: service.gateway.streams.count == 0)


def test_many_peers_that_are_killed_in_the_middle_of_a_frame(service):
    for cut in range(1, 400, 20):
        peer = raw(service)
        peer.sendall(message(BINARY, frame(0))[:cut])
        peer.close()


async def test_a_place_is_free_for_the_next(settings_with):
    with on_socket(settings_with(max_streams=1)) as service:
        for _ in range(5):
            async with client(service) as peer:
                await begin(peer)
                async with client(service) as other:
                    await other.send(config())
                    assert (await ended(other))[0] == CloseCode.OVERLOADED
            await asyncio.to_thread(service.wait, lambda: service.gateway.streams.count == 0)


async def test_a_stop_tells_every_peer(settings_with):
    with on_socket(settings_with()) as service:
        async with client(service) as idle, client(service) as busy:
            await begin(idle)
            await begin(busy)
            await busy.send(frame(0, make_png(person(480, 640))))
            service.server.should_exit = True
            codes = [(await ended(peer))[0] for peer in (idle, busy)]
        assert codes == [CloseCode.RESTART] * 2
        await asyncio.to_thread(service.thread.join, PATIENCE_S)
        assert not service.thread.is_alive()


async def test_a_stop_does_not_wait_for_a_peer_that_does_not_read(settings_with):
    with on_socket(settings_with()) as service, closing(raw(service, output="cutout")) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for seq in range(30):
            peer.sendall(message(BINARY, frame(seq, NOISE)))
        service.server.should_exit = True
        await asyncio.to_thread(service.thread.join, PATIENCE_S)
        assert not service.thread.is_alive()
