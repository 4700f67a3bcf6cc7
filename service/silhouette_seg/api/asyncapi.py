"""`GET /asyncapi.json`: describes the WebSocket `/v1/stream` as an AsyncAPI 3 document.

Names, codes, sizes and limits come from the protocol, the parameters' table and the settings.
"""

from collections.abc import Iterable, Mapping
from struct import calcsize
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from silhouette_seg.api import stream
from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.media_types import JSON, OCTET_STREAM
from silhouette_seg.api.openapi import error_classes, object_schema, schema_properties
from silhouette_seg.api.request.credentials import API_KEY_HEADER
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS, effective_schemas
from silhouette_seg.streaming.protocol import (
    FRAME_CREDITS,
    HEADER_FIELDS,
    MAGIC,
    MAX_JSON_VALUES,
    RESULT_FIELDS,
    SUBPROTOCOL,
    VERSION,
    CloseCode,
    MessageFlags,
    MessageKind,
    TextType,
)

ASYNCAPI_VERSION = "3.0.0"
TEXT, NUMBER, COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
FIELD_TYPES = {"4s": "byte[4]", "B": "uint8", "H": "uint16", "I": "uint32", "Q": "uint64"}
"""Code of `struct` -> name of the type in the document. Integers are little-endian."""
BINARY_BODIES = {
    MessageKind.FRAME: "an image file",
    MessageKind.RESULT: "its own fields and an image file",
    MessageKind.ERROR: "JSON with `code`, `detail` and `retryable`",
    MessageKind.SKIPPED: "nothing",
}
"""Content of each kind of binary message after the header."""

router = APIRouter()


@router.get("/asyncapi.json", include_in_schema=False)
async def asyncapi(request: Request) -> Response:
    """Returns the AsyncAPI document of the running service. It needs no key."""
    return JSONResponse(asyncapi_document(gateway_of(request)))


def asyncapi_document(gateway: Gateway) -> dict[str, Any]:
    """Returns the AsyncAPI document of a service, with its limits and its version."""
    messages = _text_messages(gateway) | _binary_messages(gateway)
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Silhouette: live video",
            "version": gateway.version,
            "description": "Frames of a camera in; masks, cut-outs and composites out. "
            "`/openapi.json` describes the HTTP routes.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "servers": {"service": _server(requires_key=gateway.keyring.requires_key)},
        "channels": {"stream": _channel(messages)},
        "operations": _operations(),
        "components": {"messages": messages, "securitySchemes": _SECURITY},
    }


_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "httpApiKey", "in": "header", "name": API_KEY_HEADER},
}


def _server(*, requires_key: bool) -> dict[str, Any]:
    schemes = [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY]
    return {
        "host": "{host}",
        "protocol": "ws",
        "description": "The protocol is `wss` behind a proxy that ends TLS.",
        "variables": {"host": {"default": "127.0.0.1:8000", "description": "Host and port."}},
        **({"security": schemes} if requires_key else {}),
    }


def _channel(messages: Mapping[str, Any]) -> dict[str, Any]:
    headers = {"Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL}}
    codes = [
        {"code": code.value, "name": code.name.lower(), "description": code.description}
        for code in CloseCode
    ]
    rows = "\n".join(f"| {entry['code']} | {entry['description']} |" for entry in codes)
    return {
        "address": stream.PATH,
        "title": "One video stream",
        "description": f"The subprotocol is `{SUBPROTOCOL}`. The first message is `config`, within "
        f"{stream.CONFIG_TIMEOUT_S:g} seconds. Each `frame` is answered by exactly one `result`, "
        f"`frame_error` or `skipped`. At most {FRAME_CREDITS} frames may be unanswered. Pages "
        "cannot send headers with a handshake, so `config` may contain the key.\n\n"
        f"The service closes a stream with one of these codes:\n\n| code | reason |\n|---|---|\n"
        f"{rows}",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "ws": {
                "method": "GET",
                "headers": {"type": "object", "required": list(headers), "properties": headers},
                "bindingVersion": "0.1.0",
            }
        },
        "x-close-codes": codes,
    }


def _operations() -> dict[str, Any]:
    """Returns the operations as the service sees them: it receives frames and sends results."""
    return {
        "configure": _operation(
            "receive", "Sets options, first or later.", ["config"], ["ready", "error"]
        ),
        "reset": _operation("receive", "Discards the state of earlier frames.", ["reset"]),
        "segmentFrame": _operation(
            "receive", "Segments a frame.", ["frame"], ["result", "frame_error", "skipped"]
        ),
        "warn": _operation("send", "Names a fault of a frame that costs no pixel.", ["warning"]),
    }


def _operation(
    action: str, summary: str, messages: Iterable[str], replies: Iterable[str] = ()
) -> dict[str, Any]:
    def references(names: Iterable[str]) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/stream/messages/{name}"} for name in names]

    channel = {"$ref": "#/channels/stream"}
    reply = {"reply": {"channel": channel, "messages": references(replies)}} if replies else {}
    return {
        "action": action,
        "channel": channel,
        "summary": summary,
        "messages": references(messages),
        **reply,
    }


def _text_messages(gateway: Gateway) -> dict[str, Any]:
    limits = gateway.stream_limits
    error = {
        "code": {"type": "string", "enum": sorted({cls.code for cls in error_classes()})},
        "detail": TEXT | {"description": "Explanation in English."},
        "retryable": {"type": "boolean"},
    }
    ready = {
        "session": TEXT | {"description": "Id of the stream, as in the log."},
        "credits": COUNT | {"description": "Frames that may be unanswered."},
        "max_bytes": COUNT | {"description": "Maximum bytes of a message."},
        "idle_s": NUMBER | {"description": "Seconds without a frame that end the stream."},
        "max_s": NUMBER | {"description": "Maximum duration of the stream in seconds."},
        "from_seq": COUNT | {"description": "First frame to which the options apply."},
        "options": object_schema(
            list(effective_schemas(STREAM_PARAMETERS)), effective_schemas(STREAM_PARAMETERS)
        ),
    }
    key = TEXT | {"description": "API key, if the service requires one."}
    warning = {"seq": COUNT, "detail": TEXT | {"description": "The fault."}}
    options = _nullable(schema_properties(STREAM_PARAMETERS))
    example = {"output": "composite", "background": "blur:4", "format": "jpeg"}
    limit = f"At most {limits.max_message_bytes} bytes and {MAX_JSON_VALUES} values."
    return {
        TextType.CONFIG: _text(
            TextType.CONFIG,
            f"Options; null restores a default. {limit}",
            options | {"key": key},
            required=(),
            example=example,
        ),
        TextType.RESET: _text(TextType.RESET, "Begins a new scene.", {}),
        TextType.READY: _text(TextType.READY, "Limits, and the options in effect.", ready),
        TextType.ERROR: _text(
            TextType.ERROR,
            "A text message had no effect.",
            error,
            example={"code": "bad_parameter", "detail": "size: must be ...", "retryable": False},
        ),
        TextType.WARNING: _text(
            TextType.WARNING,
            "A fault of a frame, once in a stream.",
            warning,
            example={"seq": 0, "detail": "The JPEG has no end marker."},
        ),
    }


def _nullable(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schemas of options, with null allowed as well."""
    nullable = {}
    for name, schema in schemas.items():
        values = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        nullable[name] = schema | {"type": [schema["type"], "null"]} | values
    return nullable


def _text(
    kind: TextType,
    summary: str,
    members: Mapping[str, Any],
    *,
    required: Iterable[str] | None = None,
    example: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns a text message: a JSON object with its `type` and `members`, by default all."""
    names = [*members] if required is None else [*required]
    payload = object_schema(
        ["type", *names], {"type": {"type": "string", "const": kind}, **members}
    )
    examples = [{"payload": {"type": kind, **(example or {})}}]
    return {
        "name": kind,
        "title": kind.title(),
        "summary": summary,
        "contentType": JSON,
        "payload": payload,
        **({"examples": examples} if example is not None or not members else {}),
    }


def _binary_messages(gateway: Gateway) -> dict[str, Any]:
    limit = f"It has at most {gateway.stream_limits.max_message_bytes} bytes."
    return {
        "frame": _binary(MessageKind.FRAME, f"A picture of the camera. {limit}"),
        "result": _binary(
            MessageKind.RESULT,
            f"The result of a frame. Flag {MessageFlags.FOREGROUND} says that there is a person.",
            RESULT_FIELDS,
        ),
        "frame_error": _binary(MessageKind.ERROR, "A frame failed; the stream continues."),
        "skipped": _binary(MessageKind.SKIPPED, "A newer frame replaced this one."),
    }


def _binary(
    kind: MessageKind, summary: str, fields: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Returns a binary message: the header, further `fields`, and a body that depends on `kind`."""
    layout = _layout(HEADER_FIELDS | dict(fields or {}))
    rows = "\n".join(f"| {row['offset']} | `{row['name']}` | {row['type']} |" for row in layout)
    return {
        "name": kind.name.lower(),
        "title": kind.name.title(),
        "summary": summary,
        "description": f"The magic is `{MAGIC.decode()}`, the version {VERSION}, the kind "
        f"{kind.value}. After the header is {BINARY_BODIES[kind]}.\n\n"
        f"| byte | field | type |\n|---|---|---|\n{rows}",
        "contentType": OCTET_STREAM,
        "payload": {"type": "string", "format": "binary"},
        "x-kind": kind.value,
        "x-layout": layout,
    }


def _layout(fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns name, offset in bytes and type of each field, in order."""
    offset, layout = 0, []
    for name, code in fields.items():
        layout.append({"name": name, "offset": offset, "type": FIELD_TYPES[code]})
        offset += calcsize(f"<{code}")
    return layout
