"""What an operator sees: metrics, request ids, log lines."""

import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
METRICS_TYPE = CONTENT_TYPE_LATEST
"""Content type of `Telemetry.exposition`."""


class Telemetry:
    """The metrics of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "silhouette_requests",
            "Requests answered; `code` is that of the problem, `ok` without one.",
            ("route", "status", "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "silhouette_stage_seconds",
            "Wall-clock time of one stage of one image.",
            ("model", "stage"),
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "silhouette_requests_in_flight", "Requests in work.", registry=self.registry
        )
        self.streams = Gauge("silhouette_streams", "Streams of live video.", registry=self.registry)
        self._frames = Counter(
            "silhouette_frames",
            "Frames of streams; `outcome` is result, skipped or error.",
            ("transport", "outcome"),
            registry=self.registry,
        )
        self._queued = Gauge(
            "silhouette_queue_depth",
            "Images that wait for the engine.",
            ("model",),
            registry=self.registry,
        )
        self._degraded = Gauge(
            "silhouette_engine_degraded",
            "1 unless the device asked for, or a faster one, is known to run the model.",
            ("model",),
            registry=self.registry,
        )
        self._batch_rows = Histogram(
            "silhouette_batch_rows",
            "Images that shared one run.",
            ("model",),
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )

    def count_request(self, route: str, status: int, code: str = "ok") -> None:
        """`route` is the pattern, never the path a client sent: labels must stay few."""
        self._requests.labels(route, str(status), code).inc()

    def count_frame(self, transport: str, outcome: str) -> None:
        self._frames.labels(transport, outcome).inc()

    def observe_stages(self, model: str, stages: Mapping[str, float]) -> None:
        """Seconds by stage."""
        for stage, seconds in stages.items():
            self._seconds.labels(model, stage).observe(seconds)

    def observe_batch(self, model: str, rows: int) -> None:
        self._batch_rows.labels(model).observe(rows)

    def watch_queue(self, model: str, depth: Callable[[], int]) -> None:
        """Asks `depth` whenever the metrics are read."""
        self._queued.labels(model).set_function(depth)

    def watch_degraded(self, model: str, degraded: Callable[[], bool]) -> None:
        """Asks `degraded` whenever the metrics are read."""
        self._degraded.labels(model).set_function(degraded)

    def exposition(self) -> bytes:
        """What `GET /metrics` answers."""
        return generate_latest(self.registry)


def server_timing(stages: Mapping[str, float]) -> str:
    """The value of `Server-Timing`: seconds in, milliseconds out, in the order given."""
    return ", ".join(f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in stages.items())


@dataclass(frozen=True, slots=True)
class Identity:
    """What ties an answer, its log lines and the caller's trace together."""

    request_id: str
    trace_id: str | None = None
    traceparent: str | None = None
    """The header that the trace id is from, to pass on."""


IDENTITY: ContextVar[Identity | None] = ContextVar("identity", default=None)
"""The request being answered; log lines carry it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}"
    r"(?P<more>-.*)?"
)


def identify(request_id: str | None, traceparent: str | None) -> Identity:
    """Takes over the caller's `X-Request-Id`, else the trace id, else makes an id.

    A request id that could not stand in a header and a log line as it is, is not taken over.
    """
    trace_id = read_traceparent(traceparent or "")
    parent = traceparent.strip() if traceparent and trace_id else None
    if request_id and _REQUEST_ID.fullmatch(request_id):
        return Identity(request_id, trace_id, parent)
    return Identity(trace_id or secrets.token_hex(16), trace_id, parent)


def read_traceparent(header: str) -> str | None:
    """The trace id of a W3C `traceparent`, None when the header is not valid."""
    match = _TRACEPARENT.fullmatch(header.strip())
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        return None
    if not (match["trace"].strip("0") and match["parent"].strip("0")):
        return None
    return match["trace"]


class _UtcFormatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class TextFormatter(_UtcFormatter):
    """`2026-01-31T12:00:00.123+00:00 INFO service.app [request id] message`, then a traceback."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(tag)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        identity = IDENTITY.get()
        record.tag = f" [{identity.request_id}]" if identity else ""
        return super().format(record)


class JsonFormatter(_UtcFormatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        identity = IDENTITY.get()
        event: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identity:
            event["request_id"] = identity.request_id
            if identity.trace_id:
                event["trace_id"] = identity.trace_id
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event)


_FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}


def logging_config(log_format: Literal["text", "json"]) -> dict[str, Any]:
    """For `logging.config.dictConfig`, or as uvicorn's `log_config`: everything to stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _FORMATTERS[log_format]}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
