"""What an operator sees: metrics, request ids, log lines, traces."""

from service.telemetry.identity import IDENTITY, Identity, identify, read_traceparent
from service.telemetry.logs import JsonFormatter, TextFormatter, fields, logging_config
from service.telemetry.loop import watch_loop
from service.telemetry.metrics import METRICS_TYPE, Answered, Telemetry, Transport, server_timing
from service.telemetry.tracing import NoTracing, Tracing, open_tracing

__all__ = [
    "IDENTITY",
    "METRICS_TYPE",
    "Answered",
    "Identity",
    "JsonFormatter",
    "NoTracing",
    "Telemetry",
    "TextFormatter",
    "Tracing",
    "Transport",
    "fields",
    "identify",
    "logging_config",
    "open_tracing",
    "read_traceparent",
    "server_timing",
    "watch_loop",
]
