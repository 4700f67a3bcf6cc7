"""Locust users that send photos and batches, and that probe the server's health and memory."""

from collections.abc import Callable, Iterator, Mapping

import gevent
from gevent.pool import Group
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FastResponse
from locust.exception import StopUser

from loadtests.measurement.record import Sample
from loadtests.scenario.photos import camera_frames
from loadtests.scenario.request_mix import (
    BATCH_WEIGHTS,
    PHOTO_WEIGHTS,
    CheckedResponse,
    ImageRequest,
    RequestKind,
)
from loadtests.scenario.responses import Outcome, UnexpectedResponse, parse_resident_bytes
from loadtests.users.load_run import LoadRun

MAX_CONNECTIONS = 1000
"""Maximum connections of an open loop."""
HEALTH_INTERVAL_S = 0.2
MEMORY_INTERVAL_S = 1.0
RETRY_DELAY_S = 1.0
"""Pause of a closed-loop user after a refusal or a failure."""

ResponseCheck = Callable[[int, Mapping[str, str], bytes], CheckedResponse]
"""Checks status, headers and body of a response. Raises UnexpectedResponse."""


class RequestUser(FastHttpUser):
    """Sends requests, measures latency from the due time, and records the outcome."""

    abstract = True
    load_run: LoadRun

    def send_image(self, request: ImageRequest, due_s: float) -> Outcome:
        """Sends a photo or a batch and returns the outcome."""
        return self.send(
            due_s,
            request.kind,
            request.name,
            request.path,
            request.check_response,
            body=request.body,
            content_type=request.content_type,
        )

    def send(
        self,
        due_s: float,
        kind: RequestKind,
        name: str,
        path: str,
        check: ResponseCheck,
        *,
        body: bytes | None = None,
        content_type: str = "",
    ) -> Outcome:
        """Sends a POST, or a GET if there is no body, and returns the outcome."""
        sent_s = self.load_run.now_s
        headers = self.load_run.headers | ({"Content-Type": content_type} if body else {})
        method = "POST" if body else "GET"
        with self.client.request(
            method,
            path,
            name=name,
            data=body,  # type: ignore[arg-type]  # bytes are accepted as well
            headers=headers,
            catch_response=True,
        ) as response:
            latency_s = self.load_run.now_s - due_s
            meta = response.request_meta
            try:
                checked, reason = _check(response, meta["exception"], check), ""
                response.success()
            except UnexpectedResponse as error:
                checked, reason = CheckedResponse("failed", {}), str(error)
                response.failure(reason)
            outcome, stages = checked
            meta["response_time"] = 1000 * latency_s
            meta["name"] = name if outcome != "refused" else f"{name}: refused"
            meta["context"]["sample"] = Sample(
                kind, name, outcome, due_s, latency_s, sent_s - due_s, stages, reason
            )
        return outcome


def _check(
    response: FastResponse, exception: Exception | None, check: ResponseCheck
) -> CheckedResponse:
    """Checks a response. `exception` is locust's, which may be about the status only."""
    if not response.status_code or (exception is not None and response.status_code == 200):
        raise UnexpectedResponse(repr(exception))
    headers = {name.lower(): value for name, value in (response.headers or {}).items()}
    return check(response.status_code, headers, response.content or b"")


class OpenLoopUser(RequestUser):
    """Sends all requests of an open loop: each starts when due, even if others are unanswered."""

    abstract = True
    concurrency = MAX_CONNECTIONS

    @task
    def send_all(self) -> None:
        """Sends every request and waits for the responses."""
        running = Group()
        requests = self.load_run.requests()
        for due_s in self.load_run.due_times():
            self.load_run.sleep_until(due_s)
            running.spawn(self.send_image, next(requests), due_s)
        running.join(raise_error=True)
        raise StopUser


class ClosedLoopUser(RequestUser):
    """Waits for each response before the next request, and pauses unless it was ok."""

    abstract = True

    def on_start(self) -> None:
        """Waits for time 0."""
        self.requests: Iterator[ImageRequest] = self.load_run.requests(
            next(self.load_run.user_numbers)
        )
        self.load_run.sleep_until(0)

    @task
    def send_one(self) -> None:
        """Sends one request."""
        if self.load_run.now_s >= self.load_run.seconds:
            raise StopUser
        if self.send_image(next(self.requests), self.load_run.now_s) != "ok":
            gevent.sleep(RETRY_DELAY_S)


class HealthUser(RequestUser):
    """Probes the liveness of the server on a connection of its own."""

    abstract = True

    @task
    def probe(self) -> None:
        """Sends all probes of the run."""
        for due_s in self.load_run.periodic_times(HEALTH_INTERVAL_S):
            self.load_run.sleep_until(due_s)
            self.send(due_s, "health", "GET /livez", "/livez", _check_health)
        raise StopUser


class MemoryUser(FastHttpUser):
    """Reads the resident memory of the server from its metrics."""

    abstract = True
    load_run: LoadRun

    @task
    def read_memory(self) -> None:
        """Reads the memory at equal intervals until the end of the run."""
        for at_s in self.load_run.periodic_times(MEMORY_INTERVAL_S):
            self.load_run.sleep_until(at_s)
            response = self.client.get("/metrics", headers=self.load_run.headers)
            size = parse_resident_bytes(response.text or "")
            if size is not None:
                self.load_run.record.memory.append((at_s, size))
        raise StopUser


def prepare_bodies() -> None:
    """Creates and caches all bodies, so that encoding them does not delay requests."""
    camera_frames()
    for request in (*PHOTO_WEIGHTS, *BATCH_WEIGHTS):
        assert request.body


def _check_health(status: int, _headers: Mapping[str, str], _body: bytes) -> CheckedResponse:
    if status != 200:
        raise UnexpectedResponse(f"status {status}")
    return CheckedResponse("ok", {})
