"""A client that closes its sending side after a whole request still reads its answer."""

import re
import socket
from contextlib import closing

import pytest

from silhouette_seg.server import http_protocol
from tests.integration.conftest import on_socket
from tests.integration.raw_client import (
    PHOTO_ROUTES,
    connect,
    infer_request,
    photo_request,
    receive_all,
)
from tests.support.images import make_png, person

PNG = make_png(person(48, 64))
REQUESTS = {path: photo_request(path, PNG) for path in PHOTO_ROUTES} | {"/v2": infer_request()}
STATUSES = re.compile(rb"HTTP/1\.1 (\d+)")


@pytest.fixture
def gated_service(settings_with, gated):
    """A service with a model that returns no result until the test opens its gate."""
    with on_socket(settings_with(engine="gated", workers=1)) as service:
        gated[0].gate.clear()
        yield service
        release(service, gated)


def release(service, gated) -> None:
    service.server.servers[0].get_loop().call_soon_threadsafe(gated[0].gate.set)


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
def test_half_closed_client_gets_its_answer(gated_service, gated, sent):
    with closing(connect(gated_service)) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        gated_service.wait(lambda: gated[0].running == 1)
        release(gated_service, gated)
        answer = receive_all(client)
    assert STATUSES.match(answer), answer[:200]
    assert STATUSES.findall(answer)[-1] == b"200"


def test_pipelined_requests_of_half_closed_client_are_all_answered(gated_service, gated):
    with closing(connect(gated_service)) as client:
        client.sendall(REQUESTS["/v1/segment"] + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        gated_service.wait(lambda: gated[0].running == 1)
        release(gated_service, gated)
        answer = receive_all(client)
    assert STATUSES.findall(answer)[-2:] == [b"200", b"200"]
    assert b'{"status":"ok"}' in answer


def test_half_closed_client_that_waits_is_probed_with_interim_responses(
    gated_service, gated, monkeypatch
):
    monkeypatch.setattr(http_protocol, "PROBE_DELAYS_S", (0.01, 0.01))
    with closing(connect(gated_service)) as client:
        client.sendall(REQUESTS["/v1/segment"])
        client.shutdown(socket.SHUT_WR)
        probes = b""
        while len(probes) < 2 * len(http_protocol.PROBE):
            probes += client.recv(2**16)
        assert probes == 2 * http_protocol.PROBE
        release(gated_service, gated)
        assert STATUSES.findall(receive_all(client)) == [b"200"]


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
def test_client_that_is_gone_ends_its_work(gated_service, gated, monkeypatch, sent):
    monkeypatch.setattr(http_protocol, "PROBE_DELAYS_S", (0.01, 0.01))
    with closing(connect(gated_service)) as client:
        client.sendall(sent)
        gated_service.wait(lambda: gated[0].running == 1)
    gated_service.wait(lambda: gated[0].running == 0)
    gated_service.wait(lambda: gated_service.gateway.requests.count == 0)


def test_half_closed_client_with_part_of_a_body_is_disconnected(gated_service):
    with closing(connect(gated_service)) as client:
        client.sendall(REQUESTS["/v1/segment"][:-1])
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b""
    gated_service.wait(lambda: gated_service.gateway.requests.count == 0)
