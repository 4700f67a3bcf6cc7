"""Who sends photos and batches, and who watches: health, and the memory of the server."""

from collections.abc import Callable, Iterator, Mapping

import gevent
from gevent.pool import Group
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FastResponse
from locust.exception import StopUser

from loadtests.answers import Outcome, Unexpected, resident_bytes
from loadtests.asks import BATCHES, PHOTOS, Ask, Finding
from loadtests.load import Load
from loadtests.photos import clip
from loadtests.record import Kind, Sample

CONNECTIONS = 1000
"""Of an open loop, at most."""
PROBE_S = 0.2
MEMORY_S = 1.0
AGAIN_S = 1.0
"""After a refusal, in a closed loop."""

Read = Callable[[int, Mapping[str, str], bytes], Finding]
"""Of status, headers and body; raises Unexpected for what should not be."""


class Visitor(FastHttpUser):
    """Sends requests, times each from the moment due, and says what became of it."""

    abstract = True
    load: Load

    def ask(self, ask: Ask, due_s: float) -> Outcome:
        return self.send(
            due_s, ask.kind, ask.name, ask.path, ask.read, body=ask.body, type=ask.content_type
        )

    def send(
        self,
        due_s: float,
        kind: Kind,
        name: str,
        path: str,
        read: Read,
        *,
        body: bytes | None = None,
        type: str = "",
    ) -> Outcome:
        """A GET without a body."""
        sent_s = self.load.now_s
        headers = self.load.headers | ({"Content-Type": type} if body else {})
        method = "POST" if body else "GET"
        with self.client.request(
            method,
            path,
            name=name,
            data=body,  # type: ignore[arg-type]  # bytes do as well
            headers=headers,
            catch_response=True,
        ) as response:
            seconds = self.load.now_s - due_s
            meta = response.request_meta
            try:
                finding, why = _finding(response, meta["exception"], read), ""
                response.success()
            except Unexpected as error:
                finding, why = Finding("failed", {}), str(error)
                response.failure(why)
            outcome, stages = finding
            meta["response_time"] = 1000 * seconds
            meta["name"] = name if outcome != "refused" else f"{name}: refused"
            meta["context"]["sample"] = Sample(
                kind, name, outcome, due_s, seconds, sent_s - due_s, stages, why
            )
        return outcome


def _finding(response: FastResponse, broken: Exception | None, read: Read) -> Finding:
    """`broken` is what locust has against the answer, a mere status among it."""
    if not response.status_code or (broken is not None and response.status_code == 200):
        raise Unexpected(repr(broken))
    headers = {name.lower(): value for name, value in (response.headers or {}).items()}
    return read(response.status_code, headers, response.content or b"")


class OpenLoop(Visitor):
    """All requests of a rate: each starts when it is due, whatever became of those before."""

    abstract = True
    concurrency = CONNECTIONS

    @task
    def send_all(self) -> None:
        under_way = Group()
        asks = self.load.asks()
        for due_s in self.load.due():
            self.load.sleep_until(due_s)
            under_way.spawn(self.ask, next(asks), due_s)
        under_way.join(raise_error=True)
        raise StopUser


class ClosedLoop(Visitor):
    """One who waits for each answer before asking again; told to come later, comes later."""

    abstract = True

    def on_start(self) -> None:
        self.asks: Iterator[Ask] = self.load.asks(next(self.load.visitors))
        self.load.sleep_until(0)

    @task
    def send_one(self) -> None:
        if self.load.now_s >= self.load.seconds:
            raise StopUser
        if self.ask(next(self.asks), self.load.now_s) != "ok":
            gevent.sleep(AGAIN_S)


class Prober(Visitor):
    """Asks whether the server lives, on a connection of its own."""

    abstract = True

    @task
    def probe(self) -> None:
        for due_s in self.load.every(PROBE_S):
            self.load.sleep_until(due_s)
            self.send(due_s, "health", "GET /livez", "/livez", _alive)
        raise StopUser


class MemoryReader(FastHttpUser):
    """Reads from the metrics how much the server holds."""

    abstract = True
    load: Load

    @task
    def read(self) -> None:
        for moment_s in self.load.every(MEMORY_S):
            self.load.sleep_until(moment_s)
            answer = self.client.get("/metrics", headers=self.load.headers)
            size = resident_bytes(answer.text or "")
            if size is not None:
                self.load.record.memory.append((moment_s, size))
        raise StopUser


def prepare() -> None:
    """Makes all that is sent: later it would hold up what is due."""
    clip()
    for ask in (*PHOTOS, *BATCHES):
        assert ask.body


def _alive(status: int, _headers: Mapping[str, str], _body: bytes) -> Finding:
    if status != 200:
        raise Unexpected(f"status {status}")
    return Finding("ok", {})
