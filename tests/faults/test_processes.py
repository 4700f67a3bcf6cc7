"""A server with two processes: one queue, one set of limits and metrics, and the death of one."""

import os
import re
import select
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from silhouette_seg.client import AsyncClient, StreamClosed
from tests.faults.metrics import metric_value
from tests.faults.process import PATIENCE_S, ServerProcess, http_client, serving
from tests.integration.pictures import picture, refusal
from tests.integration.webrtc_client import WebRTCClient
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())
TWO = {
    "processes": 2,
    "workers": 2,
    "queue_timeout_s": PATIENCE_S,
    "request_timeout_s": PATIENCE_S,
    "drain_timeout_s": PATIENCE_S,
}
IN_FLIGHT = "silhouette_requests_in_flight"
RUNNING, QUEUED = "silhouette_photos_working", "silhouette_photos_waiting"
READY, RESTARTS = "silhouette_processes", "silhouette_process_restarts_total"


class Processes:
    """A server with two processes. Each test finds it ready, with both of them."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server

    @property
    def pids(self) -> list[int]:
        path = f"/proc/{self.server.process.pid}/task/{self.server.process.pid}/children"
        return [int(pid) for pid in Path(path).read_text().split()]

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            os.kill(pid, number)

    def hold(self) -> None:
        self.signal(signal.SIGUSR1)

    def release(self) -> None:
        self.signal(signal.SIGUSR2)

    def metric(self, name: str, **labels: str) -> float:
        """Reads a metric over a new connection, and again if its process was just killed."""
        while True:
            with suppress(httpx.TransportError), http_client(self.server.url) as http:
                return metric_value(http.get("/metrics"), name, **labels)

    def answered(self) -> float:
        return self.metric("silhouette_requests_total", route="/v1/segment", code="ok")

    def wait_for(self, name: str, value: float) -> None:
        """Waits until a metric has this value."""
        self.server.wait_until(lambda: self.metric(name) == value)

    def post(self) -> httpx.Response:
        """Posts a photo over a new connection: one process after the other gets it."""
        with http_client(self.server.url) as client:
            return client.post("/v1/segment", content=JPEG, headers={"content-type": "image/jpeg"})


@pytest.fixture(scope="module")
def processes(repository, tmp_path_factory) -> Iterator[Processes]:
    limits = {"photos_at_once": 2, "queue_size": 2, "max_streams": 2}
    with serving(tmp_path_factory.mktemp("two"), repository, **TWO, **limits) as server:
        server.http.close()  # its connection would be one of the connections of a process
        running = Processes(server)
        running.wait_for(READY, 2)
        yield running


def test_full_queue_of_both_processes_rejects_with_its_numbers(processes):
    processes.hold()
    with ThreadPoolExecutor(4) as clients:
        photos = [clients.submit(processes.post) for _ in range(4)]
        try:
            processes.wait_for(QUEUED, 2)
            assert processes.metric(RUNNING) == 2
            assert processes.metric(IN_FLIGHT) == 4
            for _ in range(2):  # one for each process
                document = refusal(processes.post(), 503, "overloaded")
                assert (document["limit"], document["actual"]) == (2, 3)
        finally:
            processes.release()
        for photo in photos:
            picture(photo.result(PATIENCE_S))
    assert processes.metric(IN_FLIGHT) == 0


def test_metrics_and_statistics_are_the_same_from_either_process(processes):
    before = processes.answered()
    for _ in range(4):
        picture(processes.post())
    assert {processes.answered() for _ in range(4)} == {before + 4}
    assert processes.metric("process_cpu_seconds_total") > 0
    inferences = set()
    for _ in range(4):
        with http_client(processes.server.url) as http:
            statistics = http.get("/v2/models/connectnet/stats").json()["model_stats"][0]
            inferences.add(statistics["inference_count"])
    assert len(inferences) == 1


async def test_stream_limit_applies_to_both_processes(processes):
    async with (
        AsyncClient(processes.server.url, timeout_s=PATIENCE_S) as client,
        client.stream() as one,
        client.stream() as other,
    ):
        for stream in (one, other):
            await stream.send(JPEG)
            await anext(stream)
        assert processes.metric("silhouette_streams", transport="websocket") == 2
        async with AsyncExitStack() as third:
            with pytest.raises(StreamClosed) as closed:
                await third.enter_async_context(client.stream())
    assert closed.value.retryable


async def test_webrtc_stream_is_changed_and_ended_through_either_process(processes):
    url = processes.server.url
    async with (
        httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http,
        WebRTCClient(http) as client,
    ):
        await client.receive_frames(1)
        for size in (64, 96, 128, 160):  # a new connection each time: one process, then the other
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as own:
                changed = await own.patch(client.location, json={"size": size})
            assert (changed.status_code, changed.json()["size"]) == (200, size)
        ended = []
        for _ in range(3):
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as own:
                ended.append((await own.delete(client.location)).status_code)
    assert ended == [204, 404, 404]
    assert processes.metric("silhouette_streams", transport="webrtc") == 0


def test_killed_process_loses_only_its_own_photo_and_is_replaced(processes):
    before = processes.pids
    answered, restarts = processes.answered(), processes.metric(RESTARTS)
    processes.hold()
    with ThreadPoolExecutor(2) as clients:
        photos = []
        try:
            for number in (1, 2):  # the second goes to the process without a request
                photos.append(clients.submit(processes.post))
                processes.wait_for(RUNNING, number)
            os.kill(before[0], signal.SIGKILL)
            processes.wait_for(RUNNING, 1)
        finally:
            os.kill(before[1], signal.SIGUSR2)
        results = []
        for photo in photos:
            with suppress(httpx.TransportError):
                results.append(photo.result(PATIENCE_S))
    assert [picture(result).shape for result in results] == [quadrants().shape[:2]]
    processes.wait_for(READY, 2)
    assert processes.metric(RESTARTS) == restarts + 1
    assert processes.answered() == answered + 1
    assert processes.metric(IN_FLIGHT) == 0
    assert len(set(before) & set(processes.pids)) == 1
    for _ in range(2):
        picture(processes.post())
    ended = f"process {before[0]} ended with code -9"
    assert re.search(rf"ERROR {processes.server.process.pid} .*{ended}", processes.server.log)


def test_clients_with_keep_alive_spread_over_a_replaced_process(processes):
    with ExitStack() as stack:
        clients = [stack.enter_context(http_client(processes.server.url)) for _ in range(6)]
        for client in clients:
            assert client.get("/livez").status_code == 200
        os.kill(processes.pids[0], signal.SIGKILL)

        def spread() -> bool:
            for client in clients:
                with suppress(httpx.TransportError):
                    client.get("/livez")
            return len(processes.pids) == 2 and min(map(connections, processes.pids)) >= 2

        processes.server.wait_until(spread)


def connections(pid: int) -> int:
    """Returns the number of sockets of a process that are connected over TCP."""
    inodes = {
        name[8:-1]
        for fd in Path(f"/proc/{pid}/fd").iterdir()
        if (name := os.readlink(fd)).startswith("socket:")
    }
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[9] in inodes and row[3] == "01" for row in rows)


def test_sigterm_finishes_photos_of_both_processes(repository, tmp_path):
    with serving(tmp_path, repository, **TWO) as server, ThreadPoolExecutor(4) as clients:
        processes = Processes(server)
        processes.hold()
        photos = [clients.submit(processes.post) for _ in range(4)]
        processes.wait_for(IN_FLIGHT, 4)
        server.process.send_signal(signal.SIGTERM)
        processes.wait_for(READY, 0)  # both drain now
        for _ in range(2):
            refusal(processes.post(), 503, "draining")
        processes.release()
        for photo in photos:
            picture(photo.result(PATIENCE_S))
        assert server.wait_exit_code() == 0
    assert "Traceback" not in server.log


def test_process_without_its_supervisor_stops(repository, tmp_path):
    with serving(tmp_path, repository, **TWO) as server:
        pids = Processes(server).pids
        server.process.kill()
        server.process.wait(PATIENCE_S)
        for pid in pids:
            wait_end(pid)


def wait_end(pid: int) -> None:
    """Waits for the end of a process that is no child of this one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], PATIENCE_S)[0]
    os.close(descriptor)
