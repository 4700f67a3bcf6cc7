"""The AsyncAPI document agrees with the protocol, and with the messages of a running stream."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft7Validator

from silhouette_seg.api.asyncapi import asyncapi_document
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.app import create_app
from silhouette_seg.streaming.protocol import (
    SUBPROTOCOL,
    CloseCode,
    MessageHeader,
    MessageKind,
    ResultHeader,
    TextType,
    pack,
    pack_result,
)
from tests.integration.conftest import in_process
from tests.integration.stream_client import config, connected, frame
from tests.support.images import make_jpeg, quadrants

BINARY_NAMES = {"frame": 1, "result": 2, "frame_error": 3, "skipped": 4}


@pytest.fixture(scope="module")
def document(settings_with) -> dict[str, Any]:
    described = asyncapi_document(create_app(settings_with()).state.gateway)
    return json.loads(json.dumps(described))


def message(document: dict[str, Any], name: str) -> dict[str, Any]:
    return document["components"]["messages"][name]


def check(document: dict[str, Any], received: dict[str, Any]) -> None:
    """Asserts that a text message conforms to the payload of its type."""
    Draft7Validator(message(document, received["type"])["payload"]).validate(received)


def test_asyncapi_names_the_channel_of_the_route(document):
    assert document["asyncapi"] == "3.0.0"
    channel = document["channels"]["stream"]
    assert channel["address"] == "/v1/stream"
    headers = channel["bindings"]["ws"]["headers"]["properties"]
    assert headers == {"Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL}}


def test_asyncapi_has_every_message_of_the_protocol(document):
    names = document["components"]["messages"].keys()
    assert names == set(TextType) | BINARY_NAMES.keys()
    assert document["channels"]["stream"]["messages"].keys() == names
    kinds = {name: message(document, name)["x-kind"] for name in BINARY_NAMES}
    assert kinds == BINARY_NAMES
    assert sorted(kinds.values()) == sorted(MessageKind)


def test_asyncapi_references_resolve(document):
    for pointer in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        target: Any = document
        for step in pointer.split("/"):
            target = target[step]


def test_asyncapi_operations_cover_every_message_once(document):
    operations = document["operations"].values()
    lists = [item["messages"] for item in operations]
    lists += [item["reply"]["messages"] for item in operations if "reply" in item]
    covered = [entry["$ref"].rpartition("/")[2] for entries in lists for entry in entries]
    assert sorted(covered) == sorted(document["components"]["messages"])


def test_asyncapi_lists_every_close_code(document):
    channel = document["channels"]["stream"]
    assert [entry["code"] for entry in channel["x-close-codes"]] == sorted(CloseCode)
    for code in CloseCode:
        assert f"| {code.value} | {code.description} |" in channel["description"]


def test_asyncapi_config_has_the_schema_of_every_option(document):
    properties = message(document, "config")["payload"]["properties"]
    assert properties.keys() == STREAM_PARAMETERS.keys() | {"type", "key"}
    for name, parameter in STREAM_PARAMETERS.items():
        schema = properties[name]
        assert schema["type"] == [parameter.schema["type"], "null"]
        assert schema.get("enum", [None])[:-1] == parameter.schema.get("enum", [])
        for key in ("default", "minimum", "maximum", "pattern"):
            assert schema.get(key) == parameter.schema.get(key), name


def test_asyncapi_layout_places_the_bytes_of_messages(document):
    header = MessageHeader(MessageKind.RESULT, seq=7, timestamp=9)
    packed = pack_result(header, ResultHeader(640, 480, 3, 1234), b"image")
    values = {"magic": b"SILH", "version": 1, "kind": 2, "flags": 0, "seq": 7, "timestamp": 9}
    values |= {"width": 640, "height": 480, "skipped": 3, "server_us": 1234}
    layout = message(document, "result")["x-layout"]
    assert [row["name"] for row in layout] == list(values)
    ends = [row["offset"] for row in layout[1:]] + [len(packed) - len(b"image")]
    for row, end in zip(layout, ends, strict=True):
        data = packed[row["offset"] : end]
        value = values[row["name"]]
        assert (data if isinstance(value, bytes) else int.from_bytes(data, "little")) == value
        size = {"byte[4]": 4, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}[row["type"]]
        assert len(data) == size
    assert len(pack(header)) == message(document, "frame")["x-layout"][-1]["offset"] + 8


def test_asyncapi_examples_conform_to_their_payloads(document):
    for name in TextType:
        for example in message(document, name).get("examples", ()):
            check(document, example["payload"])


async def test_text_messages_of_a_stream_conform_to_asyncapi(service, engine, document):
    broken = make_jpeg(quadrants())[:-2]
    async with connected(service.app) as peer:
        sent = [config(size=320, smoothing=0.5, threshold=None), config(size=1)]
        for text in sent:
            peer.send(text)
        ready, error = await peer.receive(), await peer.receive()
        peer.send(frame(0, broken))
        warning = await peer.receive()
    assert [received["type"] for received in (ready, error, warning)] == [
        TextType.READY,
        TextType.ERROR,
        TextType.WARNING,
    ]
    for received in (json.loads(sent[0]), ready, error, warning):
        check(document, received)


@pytest.mark.parametrize(("keys", "described"), [((), False), (("sesame",), True)])
async def test_asyncapi_requires_a_key_only_if_the_service_does(settings_with, keys, described):
    async with in_process(settings_with(api_keys=keys)) as service:
        assert ("security" in asyncapi_document(service.gateway)["servers"]["service"]) is described
        assert (await service.client.get("/asyncapi.json")).status_code == 200
