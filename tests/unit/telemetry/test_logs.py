import json
import logging
import logging.config
import sys

import pytest

from silhouette_seg.telemetry import (
    IDENTITY,
    Identity,
    JsonFormatter,
    TextFormatter,
    log_fields,
    logging_config,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
LOGGER = "silhouette_seg.api.middleware.request_log"


@pytest.fixture
def record():
    try:
        raise KeyError("cause")
    except KeyError:
        failure = sys.exc_info()
    return logging.LogRecord(
        "silhouette_seg.app", logging.ERROR, "app.py", 1, "it %s", ("broke",), failure
    )


@pytest.fixture
def identity():
    token = IDENTITY.set(Identity("order-17", TRACE))
    yield
    IDENTITY.reset(token)


@pytest.mark.usefixtures("identity")
def test_json_line_contains_message_ids_and_exception(record):
    line = JsonFormatter().format(record)
    event = json.loads(line)
    assert "\n" not in line
    assert event["message"] == "it broke"
    assert (event["level"], event["logger"]) == ("ERROR", "silhouette_seg.app")
    assert (event["request_id"], event["trace_id"]) == ("order-17", TRACE)
    assert "KeyError" in event["exception"]


def test_json_line_outside_requests_has_no_id(record):
    assert "request_id" not in json.loads(JsonFormatter().format(record))


@pytest.mark.usefixtures("identity")
def test_text_line_contains_request_id_and_traceback(record):
    line = TextFormatter().format(record)
    assert "ERROR silhouette_seg.app [order-17] it broke" in line
    assert "KeyError" in line


def test_text_line_outside_requests_has_no_id(record):
    assert "ERROR silhouette_seg.app it broke" in TextFormatter().format(record)


def make_record(message, *args, **extra):
    logger = logging.Logger(LOGGER)
    return logger.makeRecord(logger.name, logging.INFO, "x.py", 1, message, args, None, extra=extra)


@pytest.mark.usefixtures("identity")
def test_log_fields_appear_in_json_but_not_in_text():
    record = make_record("%s %d", "POST", 200, **log_fields(method="POST", status=200, model=None))
    event = json.loads(JsonFormatter().format(record))
    assert (event["method"], event["status"], event["message"]) == ("POST", 200, "POST 200")
    assert "model" not in event
    assert TextFormatter().format(record).endswith(f"INFO {LOGGER} [order-17] POST 200")


@pytest.mark.usefixtures("identity")
def test_log_fields_never_replace_standard_fields():
    record = make_record("message", **log_fields(level=1, request_id=2))
    event = json.loads(JsonFormatter().format(record))
    assert (event["level"], event["request_id"]) == ("INFO", "order-17")


@pytest.mark.parametrize("formatter", [TextFormatter, JsonFormatter])
def test_line_break_in_message_starts_no_line(formatter):
    line = formatter().format(
        make_record("odd %s", "a\nERROR silhouette_seg.app all is lost\x1b[2J\u2028z")
    )
    assert line.isprintable()
    assert "\\nERROR" in line


@pytest.mark.parametrize(("log_format", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_logging_config_is_a_valid_dict_config(log_format, kind):
    configurator = logging.config.DictConfigurator(logging_config(log_format))
    formatter = configurator.configure_formatter(configurator.config["formatters"]["line"])
    assert isinstance(formatter, kind)
