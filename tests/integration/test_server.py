"""Server behaviour over real sockets: slow bodies, disconnects, signals and the command."""

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from silhouette_seg.server.server import CannotListen, bind
from tests.integration.conftest import PATIENCE_S, OnSocket, on_socket
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, person, quadrants

JPEG = make_jpeg(quadrants())


@pytest.fixture
def client(socket_service):
    with httpx.Client(base_url=socket_service.url, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(autouse=True)
def all_resources_are_released(request):
    """Checks after each test that the server holds no request, body or photo."""
    yield
    if "socket_service" in request.fixturenames:
        service = request.getfixturevalue("socket_service")
        service.wait(lambda: service.gateway.requests.count == 0)
        assert service.gateway.body_memory.reserved == 0
        assert service.gateway.photo_queue.running_pixels == 0


def post(client: httpx.Client, body: bytes = JPEG, query: str = "") -> httpx.Response:
    return client.post(f"/v1/segment{query}", content=body, headers={"content-type": "image/jpeg"})


def connect(service: OnSocket) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)


def head(*headers: str) -> bytes:
    lines = ("POST /v1/segment HTTP/1.1", "Host: x", "Content-Type: image/jpeg", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def receive_all(connection: socket.socket) -> str:
    """Returns everything that the server sends until it closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received.decode("latin-1")


def test_connection_serves_successive_requests(client):
    for _ in range(3):
        picture(post(client))
        refusal(post(client, query="?nope=1"), 400, "unknown_parameter")


def test_concurrent_clients_get_their_own_results(socket_service):
    def segment_photo(size: int) -> tuple[int, ...]:
        with httpx.Client(base_url=socket_service.url, timeout=PATIENCE_S) as client:
            masks = [picture(post(client, make_jpeg(person(size, size + 1)))) for _ in range(3)]
        assert (masks[0] == masks[1]).all()
        return masks[2].shape

    with ThreadPoolExecutor(8) as clients:
        sizes = list(range(40, 120, 5))
        assert list(clients.map(segment_photo, sizes)) == [(size, size + 1) for size in sizes]


def test_head_request_returns_headers_without_body(client):
    get_response, head_only = client.get("/livez"), client.head("/livez")
    assert head_only.status_code == 200
    assert head_only.content == b""
    assert head_only.headers["content-length"] == get_response.headers["content-length"]
    assert "server" not in head_only.headers


def test_content_length_over_limit_is_rejected_before_body(socket_service):
    with closing(connect(socket_service)) as connection:
        connection.sendall(head("Content-Length: 99999999999"))
        response = connection.recv(65536).decode()
    assert response.startswith("HTTP/1.1 413")
    assert '"code":"body_too_large"' in response


def test_rejected_upload_gets_no_100_continue(socket_service):
    with closing(connect(socket_service)) as connection:
        connection.sendall(head("Content-Length: 99999999999", "Expect: 100-continue"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_rejection_reaches_client_that_keeps_sending(socket_service):
    with closing(connect(socket_service)) as connection:
        connection.sendall(head("Content-Length: 3000000"))
        connection.sendall(bytes(3_000_000))
        response = receive_all(connection)
    assert response.startswith("HTTP/1.1 413")
    assert "connection: close" in response.lower()
    assert '"actual":3000000' in response


def test_endless_chunked_body_is_rejected_while_reading(socket_service):
    with closing(connect(socket_service)) as connection:
        connection.sendall(head("Transfer-Encoding: chunked"))
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        for _ in range(8):
            connection.sendall(chunk)
        response = connection.recv(65536).decode()
    assert response.startswith("HTTP/1.1 413")


def test_slow_body_is_rejected_with_408(socket_service):
    with closing(connect(socket_service)) as connection:
        connection.sendall(head(f"Content-Length: {len(JPEG)}") + JPEG[:10])
        response = receive_all(connection)
    assert response.startswith("HTTP/1.1 408")
    assert '"code":"body_too_slow"' in response


def test_disconnect_during_upload_releases_the_body(socket_service):
    with closing(connect(socket_service)) as connection:
        connection.sendall(head(f"Content-Length: {len(JPEG)}") + JPEG[:100])
        socket_service.wait(lambda: socket_service.gateway.body_memory.reserved == 100)


def test_disconnect_during_inference_releases_everything(settings_with, gated):
    with on_socket(settings_with(engine="gated", workers=1)) as service:
        engine = gated[0]
        engine.gate.clear()
        with closing(connect(service)) as connection:
            connection.sendall(head(f"Content-Length: {len(JPEG)}") + JPEG)
            service.wait(lambda: engine.running == 1)
        service.wait(lambda: engine.running == 0)
        service.wait(lambda: service.gateway.requests.count == 0)
        assert service.gateway.photo_queue.running_pixels == 0
        assert service.gateway.body_memory.reserved == 0


def test_running_request_finishes_before_the_exit(settings_with, gated):
    """After the signal the port still answers, and running work finishes."""
    with on_socket(settings_with(engine="gated", workers=1)) as service:
        engine = gated[0]
        engine.gate.clear()
        responses: list[httpx.Response] = []

        def segment_photo() -> None:
            with httpx.Client(base_url=service.url, timeout=PATIENCE_S) as client:
                responses.append(post(client))

        requesting = threading.Thread(target=segment_photo)
        requesting.start()
        service.wait(lambda: engine.running == 1)
        service.server.should_exit = True
        with httpx.Client(base_url=service.url, timeout=PATIENCE_S) as client:
            service.wait(lambda: client.get("/readyz").status_code == 503)
            rejected = post(client)
            assert client.get("/livez").status_code == 200

        call_in_loop(service, engine.gate.set)
        requesting.join(PATIENCE_S)
        service.thread.join(PATIENCE_S)

    refusal(rejected, 503, "draining")
    picture(responses[0])
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service.url}/livez")


def test_second_interrupt_ends_the_drain(settings_with, gated):
    with on_socket(settings_with(engine="gated", workers=1)) as service:
        gated[0].gate.clear()
        with closing(connect(service)) as connection:
            connection.sendall(head(f"Content-Length: {len(JPEG)}") + JPEG)
            service.wait(lambda: gated[0].running == 1)
            service.server.handle_exit(signal.SIGINT, None)
            with httpx.Client(base_url=service.url, timeout=PATIENCE_S) as client:
                service.wait(lambda: client.get("/readyz").status_code == 503)
            assert service.thread.is_alive()

            service.server.handle_exit(signal.SIGINT, None)
            service.thread.join(PATIENCE_S)
            assert not service.thread.is_alive()


def call_in_loop(service: OnSocket, call) -> None:
    """Runs a call in the event loop of the server."""
    service.server.servers[0].get_loop().call_soon_threadsafe(call)


def test_bind_to_used_port_fails_with_one_line():
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"^Port {port} on 127\.0\.0\.1 is taken"):
            bind("127.0.0.1", port)


def test_bind_to_foreign_address_fails_with_reason():
    with pytest.raises(CannotListen, match=r"Cannot listen on 192\.0\.2\.1"):
        bind("192.0.2.1", 0)


def start_command(repository, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "silhouette_seg", "serve", *arguments],
        env={**os.environ, "SILHOUETTE_MODEL_REPOSITORY": str(repository)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_serve_command_runs_until_sigterm(repository):
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    process = start_command(repository, "--port", str(port), "--log-format", "json")
    try:
        url = f"http://127.0.0.1:{port}"
        lines = iter(process.stderr.readline, "")
        assert any(url in line for line in lines), "the log has no address"
        assert any('"ready: connectnet"' in line for line in lines), "the log never says ready"
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            picture(post(client))
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Traceback" not in rest


def test_serve_command_reports_used_port(repository):
    with bind("127.0.0.1", 0) as listener:
        process = start_command(repository, "--port", str(listener.getsockname()[1]))
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "is taken by another program" in stderr
    assert len(stderr.splitlines()) == 1
