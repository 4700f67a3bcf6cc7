"""Log lines: text for people, JSON for machines; both carry the request's id."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from silhouette_seg.telemetry.request_id import IDENTITY

FIELDS_ATTRIBUTE = "log_fields"
"""Attribute of a record: what its message says, by name."""


def log_fields(**known: object) -> dict[str, dict[str, object]]:
    """For `extra=` of a log call: JSON lines have these by name, text lines the message alone.

    What is None is left out. As in a message, nothing in it may be made up by a client.
    """
    return {FIELDS_ATTRIBUTE: {name: value for name, value in known.items() if value is not None}}


class _UtcFormatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class TextFormatter(_UtcFormatter):
    """`2026-01-31T12:00:00.123+00:00 INFO silhouette_seg [request id] message`, then a traceback.

    The message is one line: where a library put a line break into it, it says `\\n`.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(tag)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        identity = IDENTITY.get()
        record.tag = f" [{identity.request_id}]" if identity else ""
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _escape_control_characters(super().formatMessage(record))


class JsonFormatter(_UtcFormatter):
    """One JSON object per line. A record's own fields never hide those that every line has."""

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
        event = getattr(record, FIELDS_ATTRIBUTE, {}) | event
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def _escape_control_characters(text: str) -> str:
    """A line break, or what moves a terminal's cursor, would pass for a line of its own."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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
