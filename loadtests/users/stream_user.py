"""Locust user that sends live video over a WebSocket and checks every reply."""

import json
from itertools import count

import gevent
from gevent import Greenlet
from locust import User, task
from locust.exception import StopUser
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from loadtests.measurement.record import Sample
from loadtests.scenario.photos import cycle_camera_frames
from loadtests.scenario.responses import Outcome, UnexpectedResponse
from loadtests.scenario.stream_protocol import (
    REFUSAL_CLOSE_CODES,
    SUBPROTOCOL,
    FrameWindow,
    MessageType,
)
from loadtests.users.load_run import LoadRun

NAME = "frame 640x480 mask"
OPEN_TIMEOUT_S = 10.0
LAST_REPLIES_TIMEOUT_S = 10.0
"""Time for the replies to the last frames."""
RECONNECT_DELAY_S = 1.0
"""Pause after a refusal or a failure. A WebSocket has no Retry-After."""

OUTCOMES: dict[MessageType, Outcome] = {
    MessageType.RESULT: "ok",
    MessageType.SKIPPED: "skipped",
    MessageType.ERROR: "failed",  # every frame sent is a valid photo
}


class StreamUser(User):
    """Sends frames at the rate of a camera. Like a page, it drops frames without credit."""

    abstract = True
    load_run: LoadRun

    @task
    def stream_frames(self) -> None:
        """Streams until the end of the load, and reconnects after errors."""
        self.load_run.sleep_until(0)
        while self.load_run.now_s < self.load_run.seconds:
            try:
                self._stream_once()
            except UnexpectedResponse as error:
                self._record("failed", self.load_run.now_s, reason=str(error))
                gevent.sleep(RECONNECT_DELAY_S)
            except ConnectionClosed as error:
                self._record_close(error)
                gevent.sleep(RECONNECT_DELAY_S)
            except (OSError, WebSocketException) as error:
                self._record("failed", self.load_run.now_s, reason=repr(error))
                gevent.sleep(RECONNECT_DELAY_S)
        raise StopUser

    def _stream_once(self) -> None:
        """Streams over one connection until the end of the load. Raises the error that ends it."""
        with connect(
            f"ws{self.load_run.url.removeprefix('http')}/v1/stream",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            max_size=None,
            open_timeout=OPEN_TIMEOUT_S,
        ) as connection:
            window = FrameWindow(self._configure(connection))
            reader = gevent.spawn(self._read_replies, connection, window)
            try:
                self._send_frames(connection, window, reader)
                window.is_complete = True
                if window.unanswered:
                    reader.join(LAST_REPLIES_TIMEOUT_S)
            finally:
                reader_error = reader.value
                reader.kill()
        if reader_error is not None:
            raise reader_error
        if window.unanswered:
            raise UnexpectedResponse(f"{len(window.unanswered)} frames have no reply")

    def _configure(self, connection: ClientConnection) -> int:
        """Sends the configuration and returns the credits."""
        config = {"type": "config", "output": "mask"}
        key = {"key": self.load_run.key} if self.load_run.key else {}
        connection.send(json.dumps(config | key))
        ready = connection.recv(OPEN_TIMEOUT_S)
        if not isinstance(ready, str) or json.loads(ready).get("type") != "ready":
            raise UnexpectedResponse("the first message of a stream is not `ready`")
        return int(json.loads(ready)["credits"])

    def _send_frames(
        self, connection: ClientConnection, window: FrameWindow, reader: Greenlet
    ) -> None:
        """Sends frames until the end of the load, or until the reader has ended."""
        images = cycle_camera_frames()
        run = self.load_run
        for number in count(max(0, int(run.now_s * run.fps) + 1)):
            due_s = number / run.fps
            if due_s >= run.seconds:
                return
            run.sleep_until(due_s)
            if reader.ready():
                return
            image = next(images)
            if window.has_credit:
                due_ns = int((run.start_time_s + due_s) * 1e9)
                connection.send(window.next_message(due_ns, image))
            else:
                run.record.frames_without_credit += 1

    def _read_replies(self, connection: ClientConnection, window: FrameWindow) -> Exception | None:
        """Reads replies until the last one. Returns the error that ends it: no caller waits."""
        try:
            while window.unanswered or not window.is_complete:
                reply = window.match_reply(connection.recv())
                due_s = reply.due_ns / 1e9 - self.load_run.start_time_s
                self._record(OUTCOMES[reply.type], due_s, reply.server_s)
        except (UnexpectedResponse, ConnectionClosed) as error:
            return error
        return None

    def _record_close(self, error: ConnectionClosed) -> None:
        code = error.rcvd.code if error.rcvd else None
        if code in REFUSAL_CLOSE_CODES:
            self._record("refused", self.load_run.now_s)
        else:
            reason = f"the stream was closed: {error}"
            self._record("failed", self.load_run.now_s, reason=reason)

    def _record(
        self, outcome: Outcome, due_s: float, server_s: float | None = None, reason: str = ""
    ) -> None:
        stages = {} if server_s is None else {"server": server_s}
        latency_s = self.load_run.now_s - due_s
        sample = Sample("stream", NAME, outcome, due_s, latency_s, stages=stages, error=reason)
        self.environment.events.request.fire(
            request_type="WS",
            name=NAME if outcome == "ok" else f"{NAME}: {outcome}",
            response_time=1000 * latency_s,
            response_length=0,
            exception=UnexpectedResponse(reason) if outcome == "failed" else None,
            context={"sample": sample},
        )
