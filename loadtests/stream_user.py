"""Who sends live video: a camera on a WebSocket, and a look at every answer."""

import json
from itertools import count

import gevent
from gevent import Greenlet
from locust import User, task
from locust.exception import StopUser
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from loadtests.answers import Outcome, Unexpected
from loadtests.frames import REFUSED, SUBPROTOCOL, Kind, Ledger
from loadtests.load import Load
from loadtests.photos import camera
from loadtests.record import Sample

NAME = "frame 640x480 mask"
OPEN_S = 10.0
SETTLE_S = 10.0
"""For the answers to the last frames."""
AGAIN_S = 1.0
"""After a refusal, which on a WebSocket cannot say when to come again."""

OUTCOMES: dict[Kind, Outcome] = {
    Kind.RESULT: "ok",
    Kind.SKIPPED: "skipped",
    Kind.ERROR: "failed",  # all our frames are photos
}


class Camera(User):
    """Frames at the rate of a camera; one without credit is left out, as a page would."""

    abstract = True
    load: Load

    @task
    def film(self) -> None:
        self.load.sleep_until(0)
        while self.load.now_s < self.load.seconds:
            try:
                self._stream()
            except Unexpected as error:
                self._record("failed", self.load.now_s, why=str(error))
                gevent.sleep(AGAIN_S)
            except ConnectionClosed as error:
                self._closed(error)
                gevent.sleep(AGAIN_S)
            except (OSError, WebSocketException) as error:
                self._record("failed", self.load.now_s, why=repr(error))
                gevent.sleep(AGAIN_S)
        raise StopUser

    def _stream(self) -> None:
        """To the end of the load. Raises what stopped it before."""
        with connect(
            f"ws{self.load.url.removeprefix('http')}/v1/stream",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            max_size=None,
            open_timeout=OPEN_S,
        ) as connection:
            ledger = Ledger(self._configure(connection))
            reading = gevent.spawn(self._read, connection, ledger)
            try:
                self._send(connection, ledger, reading)
                ledger.over = True
                if ledger.unanswered:
                    reading.join(SETTLE_S)
            finally:
                ended = reading.value
                reading.kill()
        if ended is not None:
            raise ended
        if ledger.unanswered:
            raise Unexpected(f"{len(ledger.unanswered)} frames were not answered")

    def _configure(self, connection: ClientConnection) -> int:
        """Returns the credits."""
        config = {"type": "config", "output": "mask"}
        connection.send(json.dumps(config | ({"key": self.load.key} if self.load.key else {})))
        ready = connection.recv(OPEN_S)
        if not isinstance(ready, str) or json.loads(ready).get("type") != "ready":
            raise Unexpected("the first message of a stream is not ready")
        return int(json.loads(ready)["credits"])

    def _send(self, connection: ClientConnection, ledger: Ledger, reading: Greenlet) -> None:
        """To the end of the load, or until nobody reads any more."""
        pictures = camera()
        for number in count(max(0, int(self.load.now_s * self.load.fps) + 1)):
            due_s = number / self.load.fps
            if due_s >= self.load.seconds:
                return
            self.load.sleep_until(due_s)
            if reading.ready():
                return
            picture = next(pictures)
            if ledger.has_credit:
                due_ns = int((self.load.began + due_s) * 1e9)
                connection.send(ledger.frame(due_ns, picture))
            else:
                self.load.record.left_out += 1

    def _read(self, connection: ClientConnection, ledger: Ledger) -> Exception | None:
        """To the last answer, or to what stopped it: nobody waits who could be thrown at."""
        try:
            while ledger.unanswered or not ledger.over:
                answer = ledger.answer(connection.recv())
                due_s = answer.due_ns / 1e9 - self.load.began
                self._record(OUTCOMES[answer.kind], due_s, answer.server_s)
        except (Unexpected, ConnectionClosed) as error:
            return error
        return None

    def _closed(self, error: ConnectionClosed) -> None:
        code = error.rcvd.code if error.rcvd else None
        if code in REFUSED:
            self._record("refused", self.load.now_s)
        else:
            self._record("failed", self.load.now_s, why=f"the stream was closed: {error}")

    def _record(
        self, outcome: Outcome, due_s: float, server_s: float | None = None, why: str = ""
    ) -> None:
        stages = {} if server_s is None else {"server": server_s}
        seconds = self.load.now_s - due_s
        sample = Sample("stream", NAME, outcome, due_s, seconds, stages=stages, why=why)
        self.environment.events.request.fire(
            request_type="WS",
            name=NAME if outcome == "ok" else f"{NAME}: {outcome}",
            response_time=1000 * seconds,
            response_length=0,
            exception=Unexpected(why) if outcome == "failed" else None,
            context={"sample": sample},
        )
