"""Raw bytes over a socket.

Malformed HTTP, requests that two servers may parse differently, and clients that would hold memory
or a connection for ever.
"""

import json
import random
import re
import socket
import time
from contextlib import closing

import httpx
import numpy as np
import pytest

from silhouette_seg.api.middleware import request_log
from silhouette_seg.server import http_protocol
from silhouette_seg.server.http_protocol import MAX_HEAD_BYTES, MAX_PIPELINED_REQUESTS
from tests.faults.metrics import metric_value
from tests.fuzz.invariants import check_released
from tests.integration.conftest import PATIENCE_S, OnSocket, on_socket
from tests.support.images import make_jpeg, make_png, quadrants

JPEG = make_jpeg(quadrants())
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
RESPONSE = re.compile(rb"HTTP/1\.1 (?=\d{3} )")
"""Start of a response, up to its status."""


@pytest.fixture(scope="module")
def server(settings_with):
    with on_socket(settings_with(read_timeout_s=0.5, max_body_bytes=200_000)) as running:
        yield running


@pytest.fixture(autouse=True)
def server_recovers(server):
    """After each test all resources are released, and the next request is answered."""
    yield
    server.wait(lambda: server.gateway.requests.count == 0)
    server.wait(lambda: not server.server.server_state.tasks)
    check_released(server.gateway)
    assert httpx.get(f"{server.url}/livez", timeout=PATIENCE_S).status_code == 200


@pytest.fixture
def short_timeouts(monkeypatch):
    """Shortens the timeouts of connections."""
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http_protocol, "KEEP_ALIVE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http_protocol, "READ_CHECK_INTERVAL_S", 0.3)


def connect(service: OnSocket) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)


def receive_all(connection: socket.socket) -> bytes:
    """Returns all bytes until the server closes or resets the connection."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def exchange(service: OnSocket, sent: bytes) -> bytes:
    """Sends the bytes, closes the sending side, and returns all bytes of the server."""
    with closing(connect(service)) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return receive_all(connection)


def status(answer: bytes) -> int:
    match = RESPONSE.match(answer)
    assert match is not None, answer[:200]
    return int(answer[match.end() :][:3])


def refusal(answer: bytes, expected: int = 400) -> dict[str, object]:
    """Returns the problem document of the only response."""
    assert status(answer) == expected
    assert len(RESPONSE.findall(answer)) == 1
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert b"connection: close" in head.lower()
    document: dict[str, object] = json.loads(body)
    assert document["status"] == expected
    return document


MALFORMED = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "lengths in one": POST + b"Content-Length: 5, 6\r\n\r\nabcde",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "length with a sign": POST + b"Content-Length: +5\r\n\r\nabcde",
    "endless length": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nabcde",
    "blank before the colon": POST + b"Content-Length : 5\r\n\r\nabcde",
    "folded header": POST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\nabcde",
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked and then not": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "negative chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
    "chunk of no number": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
    "endless chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 20 + b"\r\nabc",
    "chunk that lies": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcdef\r\n0\r\n\r\n",
    "line feeds alone": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "no method": b" /livez HTTP/1.1\r\n\r\n",
    "unknown method": b"HELLO /livez HTTP/1.1\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "zeros": bytes(100),
    "bytes over 127 in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "zero in a header": GET + b"X: a\0b\r\n\r\n",
    "no path": b"GET http://elsewhere HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tunnel": b"CONNECT elsewhere:80 HTTP/1.1\r\nHost: elsewhere\r\n\r\n",
}


@pytest.mark.parametrize("sent", [pytest.param(sent, id=name) for name, sent in MALFORMED.items()])
def test_malformed_request_is_400_and_ends_the_connection(server, sent):
    """The server reads nothing after it, so a proxy that parses it differently smuggles nothing."""
    document = refusal(exchange(server, sent + SMUGGLED))
    assert document["code"] in ("bad_request", "malformed_body")


UNUSUAL = {
    "without a host": b"GET /livez HTTP/1.1\r\n\r\n",
    "HTTP 1.0": b"GET /livez HTTP/1.0\r\n\r\n",
    "an absolute address": b"GET http://elsewhere/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "empty lines before it": b"\r\n\r\n" + GET + b"\r\n",
    "an unsupported upgrade": GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a chunk with an extension": GET + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n",
    "trailers": GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
}


@pytest.mark.parametrize("sent", [pytest.param(sent, id=name) for name, sent in UNUSUAL.items()])
def test_unusual_valid_request_is_answered(server, sent):
    assert status(exchange(server, sent)) == 200


def test_pipelined_requests_are_answered_in_order(server):
    paths = (b"/livez", b"/v1/models", b"/nothing")
    sent = b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths)
    with closing(connect(server)) as connection:
        connection.sendall(sent + GET + b"Connection: close\r\n\r\n")
        answers = RESPONSE.split(receive_all(connection))[1:]
    assert [int(answer[:3]) for answer in answers] == [200, 200, 404, 200]


@pytest.mark.parametrize(
    "flood",
    [
        b"GET /" + b"a" * 10**6,
        GET + b"X: " + b"a" * 10**6,
        GET + b"a" * 10**6,
        GET + b"X: y\r\n" * 10**5,
        b"\r\n" * 10**6,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 10**5,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 10**6,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"y" * 10**6,
    ],
    ids=["path", "value", "name", "headers", "lines", "trailers", "trailer", "extension"],
)
def test_oversized_request_head_is_rejected(server, flood):
    """The last three are in a body: its read timeout ends them at the latest."""
    with closing(connect(server)) as connection:
        try:
            for start in range(0, len(flood), 10_000):
                connection.sendall(flood[start : start + 10_000])
        except (ConnectionResetError, BrokenPipeError):
            return  # the server closed before it read everything
        assert status(receive_all(connection)) in (400, 408, 415)


def test_answer_of_the_connection_is_counted_and_logged_with_its_id(server, caplog):
    labels = {"route": "other", "status": "400", "code": "bad_request"}
    before = metric_value(httpx.get(f"{server.url}/metrics"), "silhouette_requests_total", **labels)
    with caplog.at_level("INFO", logger=request_log.__name__):
        answer = exchange(server, GET + b"X-Request-Id: mine\r\nX: a\0b\r\n\r\n")
    assert b"x-request-id: mine\r\n" in answer.lower()
    assert refusal(answer)["request_id"] == "mine"
    metrics = httpx.get(f"{server.url}/metrics")
    assert metric_value(metrics, "silhouette_requests_total", **labels) == before + 1
    assert "- other 400 bad_request" in caplog.text


def test_headers_at_the_size_limit_are_accepted(server):
    long = b"X: " + b"a" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n"
    assert status(exchange(server, GET + long)) == 200
    document = refusal(exchange(server, GET + b"Y: " + b"a" * 200 + b"\r\n" + long))
    assert document["limit"] == MAX_HEAD_BYTES


def test_excessive_pipelining_is_cut_off(server):
    """Each byte of the client would otherwise cost the server twenty."""
    with closing(connect(server)) as connection:
        try:
            connection.sendall((GET + b"\r\n") * 100 * MAX_PIPELINED_REQUESTS)
        except (ConnectionResetError, BrokenPipeError):
            return
        assert len(RESPONSE.findall(receive_all(connection))) <= 100


@pytest.mark.usefixtures("short_timeouts")
def test_unfinished_headers_are_408(server):
    with closing(connect(server)) as connection:
        connection.sendall(GET)
        document = refusal(receive_all(connection), 408)
    assert document["code"] == "body_too_slow"
    labels = {"route": "other", "status": "408", "code": "body_too_slow"}
    metrics = httpx.get(f"{server.url}/metrics")
    assert metric_value(metrics, "silhouette_requests_total", **labels) == 1


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("first", [b"", GET + b"\r\n"], ids=["at once", "after an answer"])
def test_dripped_headers_do_not_extend_the_timeout(server, first):
    with closing(connect(server)) as connection:
        connection.sendall(first)
        connection.settimeout(0.02)
        received, deadline = b"", time.monotonic() + PATIENCE_S
        for byte in (GET[at : at + 1] for at in range(len(GET))):
            assert time.monotonic() < deadline
            try:
                connection.sendall(byte)
                while chunk := connection.recv(65536):
                    received += chunk
                break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        else:
            connection.settimeout(PATIENCE_S)
            received += receive_all(connection)
    assert (b" 408 " in received) or len(RESPONSE.findall(received)) == bool(first)


@pytest.mark.usefixtures("short_timeouts")
def test_silent_client_is_disconnected(server):
    with closing(connect(server)) as connection:
        assert receive_all(connection) == b""


@pytest.mark.usefixtures("short_timeouts")
def test_unread_stalled_body_does_not_hold_the_connection(server):
    """The request is answered, and the rest of its body holds no resource."""
    with closing(connect(server)) as connection:
        connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        assert status(receive_all(connection)) == 404


@pytest.mark.usefixtures("short_timeouts")
def test_client_that_stops_reading_is_disconnected(settings_with):
    """The image exceeds the socket buffers of both ends, so it would stay in memory."""
    noise = make_png(_noise(2000, 2000))
    with on_socket(settings_with()) as service, closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_S)
        connection.connect(("127.0.0.1", service.port))
        head = b"POST /v1/segment?output=cutout HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(noise) + noise)
        service.wait(lambda: service.server.server_state.total_requests > 0)
        service.wait(lambda: not service.server.server_state.connections)


def test_slow_reader_receives_the_whole_response(settings_with):
    with on_socket(settings_with()) as service, closing(connect(service)) as connection:
        head = b"POST /v1/segment?output=cutout HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        noise = make_png(_noise(600, 600))
        connection.sendall(
            head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(noise) + noise
        )
        service.wait(lambda: service.server.server_state.total_requests > 0)
        answer = receive_all(connection)
    size = int(answer.partition(b"content-length: ")[2].split()[0])
    assert len(answer.partition(b"\r\n\r\n")[2]) == size


@pytest.mark.usefixtures("short_timeouts")
def test_damaged_request_is_answered_or_rejected(server, mutations):
    whole = POST + b"Content-Length: %d\r\n\r\n" % len(JPEG) + JPEG
    outcomes = set()
    for number in range(mutations // 20):
        chance = random.Random(number)
        broken = bytearray(whole[:200] if number % 2 else whole)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(min(120, len(broken)))
            match chance.randrange(4):
                case 0:
                    broken[at] = chance.randrange(256)
                case 1:
                    del broken[at : at + chance.randint(1, 8)]
                case 2:
                    broken[at:at] = broken[at : at + 9]
                case _:
                    broken[at:at] = chance.choice((b"\r\n", b"\0", b"\r\n\r\n", b":", b" "))
        with closing(connect(server)) as connection:
            connection.sendall(broken)
            answer = connection.recv(65536)
        code = status(answer)
        assert code < 500, (number, bytes(broken[:200]), answer[:300])
        outcomes.add(code)
    assert {200, 400} <= outcomes


def _noise(height: int, width: int):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
