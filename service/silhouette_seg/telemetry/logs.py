"""Log formatters: text for people, JSON for machines. Both include the request id."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from silhouette_seg.telemetry.request_id import IDENTITY

FIELDS_ATTRIBUTE = "log_fields"
"""Name of the log record's attribute that holds the values of its message, by field name."""


def log_fields(**values: object) -> dict[str, dict[str, object]]:
    """Returns the argument `extra` of a log call, which adds fields to the line of a JSON log.

    Values that are None are left out. Lines of text do not show the fields. No name or value may be
    text of a client.
    """
    return {FIELDS_ATTRIBUTE: {name: value for name, value in values.items() if value is not None}}


class _UtcFormatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class TextFormatter(_UtcFormatter):
    """Formats a log record as one line of text, followed by its traceback if it has one.

    The form is `2026-01-31T12:00:00.123+00:00 INFO silhouette_seg [request id] message`. A line
    break in the message is written as `\\n`. With `process_ids` the system id of the process comes
    before the logger.
    """

    def __init__(self, *, process_ids: bool = False) -> None:
        process = " %(process)d" if process_ids else ""
        super().__init__(f"%(asctime)s %(levelname)s{process} %(name)s%(tag)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        identity = IDENTITY.get()
        record.tag = f" [{identity.request_id}]" if identity else ""
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _escape_control_characters(super().formatMessage(record))


class JsonFormatter(_UtcFormatter):
    """Formats a log record as one JSON object on one line.

    Its fields are time, level, logger, message, ids, and the values of `log_fields`. These never
    replace a standard field. With `process_ids` one of the ids is that of the process.
    """

    def __init__(self, *, process_ids: bool = False) -> None:
        super().__init__()
        self._process_ids = process_ids

    def format(self, record: logging.LogRecord) -> str:
        identity = IDENTITY.get()
        event: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process_ids:
            event["process"] = record.process
        if identity:
            event["request_id"] = identity.request_id
            if identity.trace_id:
                event["trace_id"] = identity.trace_id
        event = getattr(record, FIELDS_ATTRIBUTE, {}) | event
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def _escape_control_characters(text: str) -> str:
    """Returns the text with unprintable characters as escapes such as `\\n`.

    Line breaks and cursor movements could otherwise fake a log line.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


_FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}


def logging_config(
    log_format: Literal["text", "json"], *, process_ids: bool = False
) -> dict[str, Any]:
    """Returns a configuration for `logging.config.dictConfig` that writes to stderr from INFO on.

    With `process_ids` each line has the system id of its process. It is also a valid `log_config`
    of uvicorn.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _FORMATTERS[log_format], "process_ids": process_ids}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
