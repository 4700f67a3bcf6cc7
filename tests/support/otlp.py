"""OTLP collector on loopback that stores the spans it receives over HTTP."""

import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TIMEOUT_S = 30


@dataclass
class OtlpCollector:
    """Received spans. Requests are answered while `gate` is set."""

    url: str = ""
    spans: list[dict[str, Any]] = field(default_factory=list)
    """Spans as in OTLP's JSON, with ids in hexadecimal and the service name as `service`."""
    paths: set[str] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    received: threading.Event = field(default_factory=threading.Event)

    def receive(self, path: str, content_type: str, body: bytes) -> None:
        self.paths.add(path)
        self.received.set()
        self.gate.wait(TIMEOUT_S)
        for resource in _document(content_type, body).get("resourceSpans", ()):
            service = _attributes(resource["resource"])["service.name"]
            for scope in resource["scopeSpans"]:
                self.spans += [span | {"service": service} for span in scope["spans"]]

    def span_named(self, name: str) -> dict[str, Any]:
        """Returns the only span of a name."""
        (span,) = [span for span in self.spans if span["name"] == name]
        return span


@contextmanager
def run_collector() -> Iterator[OtlpCollector]:
    """Runs a collector until the block ends."""
    collector = OtlpCollector()
    collector.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.receive(self.path, self.headers["content-type"], body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.gate.set()
            server.shutdown()
            thread.join()


def _document(content_type: str, body: bytes) -> dict[str, Any]:
    if content_type == "application/json":
        document: dict[str, Any] = json.loads(body)
        return document
    document = json_format.MessageToDict(ExportTraceServiceRequest.FromString(body))
    for span in _spans(document):
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in span:
                span[name] = _hex(span[name])
    return document


def _spans(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in document.get("resourceSpans", ()):
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]


def _hex(base64: str) -> str:
    """Converts protobuf's base64 to the hexadecimal ids of OTLP's JSON."""
    return b64decode(base64).hex()


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in holder["attributes"]}
