"""A client that vanishes: its resources are released, and the metrics count it."""

import socket
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.faults.metrics import metric_value
from tests.integration.conftest import PATIENCE_S, OnSocket, on_socket
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())


@pytest.fixture
def service(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(read_timeout_s=0.3)) as running:
        yield running


def metric(service: OnSocket, name: str, **labels: str) -> float:
    return metric_value(
        httpx.get(f"{service.url}/metrics", timeout=PATIENCE_S, verify=False), name, **labels
    )


def test_body_of_a_vanished_client_is_408_and_released(service):
    head = (
        "POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(JPEG)}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", service.port), PATIENCE_S)) as half_open:
        half_open.sendall(head.encode() + JPEG[:50])
        answer = half_open.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert '"code":"body_too_slow"' in answer
    labels = {"route": "/v1/segment", "status": "408", "code": "body_too_slow"}
    assert metric(service, "silhouette_requests_total", **labels) == 1
    service.wait(lambda: metric(service, "silhouette_requests_in_flight") == 0)
