"""Random messages to a stream: each frame gets one answer, or the stream closes with a code.

The code is never 1011, an internal error.
"""

import json
import random
import socket
import struct
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.streaming.protocol import MAX_JSON_VALUES, CloseCode, MessageKind, unpack
from tests.integration.conftest import on_socket
from tests.integration.stream.test_sockets import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PING,
    TEXT,
    message,
    until_seen,
)
from tests.integration.stream_client import JPEG, ClosedByServer, config, connected, frame
from tests.support.damage import damaged

Sent = list[bytes | str]
CONTINUATION, PONG = 0, 10

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
valid_values = {
    "output": ["mask", "cutout", "composite"],
    "background": ["#102030", "blur:3"],
    "format": ["jpeg", "png", "webp", None],
    "smoothing": [0, 0.5, "1"],
    "size": [64, 100.0, None],
    "invert": [True, "false"],
    "model": ["auto", "connectnet", "unknown"],
}
options = st.fixed_dictionaries(
    {},
    optional={name: st.sampled_from(choices) for name, choices in valid_values.items()}
    | {name: values for name in STREAM_PARAMETERS.keys() - valid_values.keys()}
    | {"key": values, "nonsense": values},
)
configs = options.map(lambda values: config(**values))
texts = st.one_of(
    st.just(json.dumps({"type": "reset"})),
    configs,
    st.text(max_size=40),
    values.map(json.dumps),
    st.dictionaries(st.sampled_from(["type", "a"]), values).map(json.dumps),
)
pictures = st.sampled_from([JPEG, JPEG[:50], b"", *(body for _, body in damaged(20))])
frames = st.builds(
    lambda seq, timestamp, picture: frame(seq, picture, timestamp=timestamp),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    pictures,
)
headers = st.builds(
    struct.Struct("<4sBBHIQ").pack,
    st.sampled_from([b"SILH", b"silh", b"\0\0\0\0"]),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
)
conversations = st.lists(
    st.one_of(frames, frames, configs, texts, headers, st.binary(max_size=40)), max_size=12
)
BOMB = json.dumps({"type": "config", "model": [{}] * 10 * MAX_JSON_VALUES})
DEEP = '{"type":"config","model":' + "[" * 100_000 + "]" * 100_000 + "}"
LONG = '{"type":"config","grow":' + "1" * 100_000 + "}"
NAN = '{"type":"config","smoothing":NaN,"feather":Infinity,"grow":1e999}'
LONE = '{"type":"\\ud800","\\udfff":"\\ud800"}'


def test_random_conversation_gets_answers_or_a_close(inside, request_settings):
    @given(first=configs | texts | st.binary(max_size=30), sent=conversations)
    @example(first=config(), sent=[BOMB, frame(1)])
    @example(first=config(), sent=[DEEP, frame(1)])
    @example(first=config(), sent=[LONG, frame(1)])
    @example(first=config(), sent=[NAN, frame(1)])
    @example(first=config(), sent=[LONE, frame(1)])
    @example(first=LONE, sent=[])
    @example(first=DEEP, sent=[])
    @example(first=config(), sent=[frame(n % 3) for n in range(40)])
    @example(first=config(), sent=[frame(n, b"x") for n in range(40)])
    @example(first=config(), sent=[config(background_image="A" * 5000), frame(1)])
    @request_settings
    def converse(first: bytes | str, sent: Sent) -> None:
        inside.run(talk(inside.service, first, sent))
        assert inside.service.gateway.streams.count == 0

    converse()


async def talk(service, first: bytes | str, sent: Sent) -> None:
    async with connected(service.app) as peer:
        for message in (first, *sent, json.dumps({"type": "last message"})):
            peer.send(message)
        frame_count = sum(_is_frame(message) for message in sent)
        answered: Counter[MessageKind] = Counter()
        try:
            while True:
                reply = await peer.receive()
                if isinstance(reply, dict):
                    if reply["type"] == "error" and "last message" in reply["detail"]:
                        break
                else:
                    answered[unpack(reply)[0].kind] += 1
            while answered.total() < frame_count:
                reply = await peer.receive()
                answered[unpack(reply)[0].kind] += 1
        except ClosedByServer as closed:
            end = closed
        else:
            end = None
    if end is None:
        assert answered.total() == frame_count
        assert MessageKind.FRAME not in answered
    else:
        assert end.code in set(CloseCode) - {CloseCode.INTERNAL}, end
        assert len(end.reason.encode()) <= 123


def _is_frame(sent: bytes | str) -> bool:
    return isinstance(sent, bytes) and len(sent) >= 20 and sent[:6] == b"SILH\x01\x01"


@pytest.mark.parametrize("sent", [BOMB, DEEP, LONG, LONE], ids=["bomb", "deep", "long", "lone"])
def test_expensive_json_is_rejected(inside, sent):
    """Parsing a million values would block the frames of all streams."""

    async def run() -> ClosedByServer:
        async with connected(inside.service.app) as peer:
            peer.send(config())
            assert (await peer.receive())["type"] == "ready"
            peer.send(sent)
            try:
                assert (await peer.receive())["code"] in ("bad_parameter", "bad_request")
                peer.send("x")
                return await peer.end()
            except ClosedByServer as closed:
                return closed

    assert inside.run(run()).code == CloseCode.WRONG_TYPE


@pytest.fixture(scope="module")
def server(settings_with):
    with on_socket(settings_with(max_frame_bytes=100_000)) as running:
        yield running


def test_damaged_websocket_frames_leave_server_working(server, mutations):
    """Frames of RFC 6455: truncated, doubled, unmasked, too large, with unknown opcodes."""
    for number in range(mutations // 20):
        rng = random.Random(number)
        sent = HANDSHAKE + b"".join(_parts(rng))
        if number % 2:
            at = rng.randrange(len(HANDSHAKE), len(sent))
            sent = sent[:at] + rng.randbytes(rng.randint(0, 6)) + sent[at + rng.randint(0, 9) :]
        with closing(_connect(server)) as peer:
            try:
                peer.sendall(HANDSHAKE)
                assert until_seen(peer, b"\r\n\r\n")
                at = len(HANDSHAKE)
                while at < len(sent):
                    step = rng.choice((1, 3, 100, 10_000))
                    peer.sendall(sent[at : at + step])
                    at += step
            except (ConnectionResetError, BrokenPipeError):
                pass  # the server has closed the connection
    server.wait(lambda: server.gateway.streams.count == 0)
    server.wait(lambda: not server.server.server_state.tasks)
    with closing(_connect(server)) as peer:
        peer.sendall(HANDSHAKE)
        assert until_seen(peer, b"\r\n\r\n")
        peer.sendall(message(TEXT, config().encode()))
        assert until_seen(peer, b'"ready"')


def _parts(rng: random.Random) -> list[bytes]:
    """Returns WebSocket frames of a conversation; most of them are valid."""
    parts = [message(TEXT, config().encode())]
    for _ in range(rng.randint(1, 6)):
        data = frame(rng.randrange(9), JPEG)
        cut = rng.randrange(len(data))
        parts += rng.choice(
            [
                [message(BINARY, data)],
                [message(BINARY, data[:cut], final=False), message(CONTINUATION, data[cut:])],
                [message(BINARY, data[:cut], final=False), message(PING, b""), message(0, b"")],
                [message(BINARY, data[:cut], final=False), message(TEXT, b"{}")],
                [message(CONTINUATION, data)],
                [message(PING, bytes(125)), message(PONG, b"?")],
                [message(PING, bytes(126))],
                [message(rng.randrange(16), b"x")],
                [message(TEXT, b"\xff\xfe")],
                [message(CLOSE, rng.choice((b"", b"\x03", b"\x03\xe8", b"\0\0", b"\x03\xe8\xff")))],
                [bytes([0x82, 0x05]) + b"bare!"],
                [bytes([0xF2, 0x80]) + bytes(4)],
                [bytes([0x82, 0xFF]) + struct.pack(">Q", 2**63 - 1) + bytes(9)],
                [bytes([0x82, 0xFF]) + struct.pack(">Q", 100_001) + bytes(9)],
            ]
        )
    return parts


def _connect(server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)
