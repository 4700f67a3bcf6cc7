"""Streams over real sockets: fragments, limits, pings, dead and hostile clients, shutdown."""

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
from tests.integration.stream_client import config, frame, result_of
from tests.support.images import make_png, person

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
NOISE = make_png(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
"""An image with a large cut-out, so that its results soon fill every buffer."""
PING_INTERVAL_S, PING_TIMEOUT_S = 0.3, 1.0
HANDSHAKE = (
    "GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()
MAX_UNREAD_BYTES = 4 * 2**20
"""Bound on the bytes that may wait for one client: one answer and the buffer of uvicorn."""


class TrackedProtocol(WebSocketProtocol):
    """Tracks the connections that are still in memory."""

    alive: ClassVar[WeakSet[WebSocketProtocol]] = WeakSet()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alive.add(self)


@pytest.fixture(autouse=True, scope="module")
def tracked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "WebSocketProtocol", TrackedProtocol)
        yield


@pytest.fixture(scope="module")
def service(settings_with, tracked) -> Iterator[OnSocket]:
    with on_socket(settings_with()) as running:
        yield running


@pytest.fixture(scope="module")
def impatient(settings_with, tracked) -> Iterator[OnSocket]:
    """A service with a short timeout for pings."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(server, "PING_INTERVAL_S", PING_INTERVAL_S)
        patch.setattr(server, "PING_TIMEOUT_S", PING_TIMEOUT_S)
        running = stack.enter_context(on_socket(settings_with()))
        patch.undo()  # before other servers start
        yield running


@pytest.fixture(autouse=True)
def streams_are_released(request):
    """Checks after each test that slots, connections and tasks are released."""
    yield
    for name in {"service", "impatient"} & set(request.fixturenames):
        running = request.getfixturevalue(name)
        running.wait(lambda: running.gateway.streams.count == 0)  # noqa: B023  # called here
        running.wait(lambda: not running.server.server_state.connections)  # noqa: B023
        running.wait(lambda: not running.server.server_state.tasks)  # noqa: B023
        running.wait(lambda: gc.collect() >= 0 and not TrackedProtocol.alive)


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
    """Opens a stream on a bare socket, which answers no pings.

    A busy machine may close one before it is ready; then another is opened.
    """
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


def until_seen(peer: socket.socket, data: bytes) -> bool:
    """Reads until `data` arrives. Returns False if the connection ends before."""
    received = b""
    while data not in received:
        chunk = peer.recv(65536)
        if not chunk:
            return False
        received += chunk
    return True


def message(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Encodes a WebSocket frame of a client, with a mask of zero."""
    length = len(payload)
    head = bytes([final << 7 | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 2**16:
        head += bytes([0x80 | 126]) + struct.pack(">H", length)
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", length)
    return head + bytes(4) + payload


def flood(service: OnSocket, peer: socket.socket, data: bytes) -> int:
    """Sends without reading until the service closes the connection.

    Returns the largest number of bytes that waited to be written to the client.
    """
    largest = 0
    give_up = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < give_up:
            peer.sendall(data)
            for connection in list(service.server.server_state.connections):
                largest = max(largest, connection.transport.get_write_buffer_size())
    except OSError:
        return largest
    raise AssertionError("the connection was never closed")


async def close_of(peer: ClientConnection) -> tuple[int, str]:
    """Reads until the close, and returns its code and reason."""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionClosed):
            while True:
                await peer.recv()
    return peer.close_code, peer.close_reason


async def test_stream_answers_frames_without_compression(service):
    async with client(service) as peer:
        assert peer.subprotocol == SUBPROTOCOL
        # Images do not compress further.
        assert "Sec-WebSocket-Extensions" not in peer.response.headers
        await begin(peer, format="png")
        for seq in range(3):
            await peer.send(frame(seq, timestamp=seq))
            header, result, _ = result_of(await peer.recv())
            assert (header.seq, header.timestamp, result.width) == (seq, seq, 96)


async def test_client_that_answers_pings_stays_connected(impatient):
    async with client(impatient) as peer:
        await begin(peer)
        for seq in range(3):
            await asyncio.sleep(PING_INTERVAL_S + PING_TIMEOUT_S / 2)
            await peer.send(frame(seq))
            assert result_of(await peer.recv())


def test_large_message_may_take_longer_than_ping_timeout(impatient):
    """A client cannot answer a ping while it sends a message."""
    # A busy machine may stall the client for longer than a ping, so it may try four times.
    assert any(sends_slowly(impatient) for _ in range(4))


def sends_slowly(service: OnSocket) -> bool:
    """Tells whether a large frame that takes longer than the ping timeout is answered."""
    large = message(BINARY, frame(0, bytes(2 * 2**20)))
    step = len(large) // 20
    with closing(raw(service)) as peer, suppress(OSError):
        for start in range(0, len(large), step):
            peer.sendall(large[start : start + step])
            time.sleep(1.5 * (PING_INTERVAL_S + PING_TIMEOUT_S) / 20)
        return until_seen(peer, b"unsupported_image_type")
    return False


async def test_fragmented_frame_is_answered(service):
    async with client(service) as peer:
        await begin(peer)
        data = frame(3)
        await peer.send([data[:10], data[10:100], data[100:]])
        assert result_of(await peer.recv())[0].seq == 3


async def test_frames_at_500_per_second_get_one_answer(service):
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


async def test_message_of_30_megabytes_closes_stream(service):
    async with client(service) as peer:
        await begin(peer)
        with suppress(ConnectionClosed):
            await peer.send(bytes(30 * 10**6))
        assert (await close_of(peer))[0] == CloseCode.TOO_BIG


async def test_endless_fragments_close_stream(service):
    async with client(service) as peer:
        await begin(peer)

        async def fragments():
            while True:
                yield bytes(100_000)

        with suppress(ConnectionClosed):
            await peer.send(fragments())
        assert (await close_of(peer))[0] == CloseCode.TOO_BIG


async def test_oversized_message_during_a_frame_closes_stream(service):
    async with client(service) as peer:
        await begin(peer, output="cutout")
        await peer.send(frame(0, NOISE))
        with suppress(ConnectionClosed):
            await peer.send(bytes(5 * 2**20))
        assert (await close_of(peer))[0] == CloseCode.TOO_BIG


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
def test_protocol_violation_closes_with_its_code(service, sent, code):
    with closing(raw(service)) as peer:
        peer.sendall(sent)
        assert until_seen(peer, struct.pack(">H", code))
        peer.sendall(message(CLOSE, struct.pack(">H", code)))
        assert not until_seen(peer, b"anything else")


@pytest.mark.parametrize("busy", [False, True], ids=["between frames", "with unread answers"])
def test_half_open_connection_is_closed(impatient, busy):
    """The client has vanished: its end of the connection neither reads nor answers."""
    with closing(raw(impatient, output="cutout")) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for seq in range(20 if busy else 0):
            peer.sendall(message(BINARY, frame(seq, NOISE)))
        impatient.wait(lambda: impatient.gateway.streams.count == 0)
        impatient.wait(lambda: not impatient.server.server_state.connections)


def test_unread_large_results_are_bounded_in_memory(impatient):
    with closing(raw(impatient, output="cutout")) as peer:
        assert flood(impatient, peer, message(BINARY, frame(0, NOISE))) < MAX_UNREAD_BYTES


def test_unread_small_answers_are_bounded_in_memory(impatient):
    with closing(raw(impatient)) as peer:
        assert flood(impatient, peer, 100 * message(BINARY, frame(0, b"x"))) < MAX_UNREAD_BYTES


def test_unread_pongs_are_bounded_in_memory(impatient):
    with closing(raw(impatient)) as peer:
        assert flood(impatient, peer, 1000 * message(PING, bytes(125))) < MAX_UNREAD_BYTES


def test_unread_ready_messages_are_bounded_in_memory(impatient):
    with closing(raw(impatient)) as peer:
        assert flood(impatient, peer, 100 * message(TEXT, config().encode())) < MAX_UNREAD_BYTES


@pytest.mark.parametrize("reset", [False, True])
def test_killed_client_releases_its_stream(service, reset):
    peer = raw(service, output="cutout")
    peer.sendall(message(BINARY, frame(0, NOISE)))
    if reset:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    service.wait(lambda: service.gateway.streams.count == 0)


def test_clients_killed_during_a_frame_release_their_streams(service):
    for cut in range(1, 400, 20):
        peer = raw(service)
        peer.sendall(message(BINARY, frame(0))[:cut])
        peer.close()


async def test_closed_stream_releases_its_slot(settings_with):
    with on_socket(settings_with(max_streams=1)) as service:
        for _ in range(5):
            async with client(service) as peer:
                await begin(peer)
                async with client(service) as other:
                    await other.send(config())
                    assert (await close_of(other))[0] == CloseCode.OVERLOADED
            await asyncio.to_thread(service.wait, lambda: service.gateway.streams.count == 0)


async def test_shutdown_closes_every_stream(settings_with):
    with on_socket(settings_with()) as service:
        async with client(service) as idle, client(service) as busy:
            await begin(idle)
            await begin(busy)
            await busy.send(frame(0, make_png(person(480, 640))))
            service.server.should_exit = True
            codes = [(await close_of(peer))[0] for peer in (idle, busy)]
        assert codes == [CloseCode.RESTART] * 2
        await asyncio.to_thread(service.thread.join, PATIENCE_S)
        assert not service.thread.is_alive()


async def test_shutdown_does_not_wait_for_client_without_reads(settings_with):
    with on_socket(settings_with()) as service, closing(raw(service, output="cutout")) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for seq in range(30):
            peer.sendall(message(BINARY, frame(seq, NOISE)))
        service.server.should_exit = True
        await asyncio.to_thread(service.thread.join, PATIENCE_S)
        assert not service.thread.is_alive()
