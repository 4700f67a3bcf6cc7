"""Causes the errors of docs/troubleshooting.md and compares their messages with the page."""

import socket

import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from silhouette_seg.runtime import extras
from silhouette_seg.settings import PREFIX
from silhouette_seg.streaming.protocol import CloseCode
from silhouette_seg.streaming.webrtc import registry
from tests.integration.conftest import in_process
from tests.integration.stream_client import connected
from tests.support.documents import ROOT, code_spans, table_rows
from tests.support.images import TEXT, make_jpeg, quadrants
from tests.support.tiny_model import write_tiny_model

PAGE = ROOT / "docs/troubleshooting.md"
JPEG = make_jpeg(quadrants())
MESSAGES = [code_spans(message)[0] for message, *_ in table_rows(PAGE, "message")]
DETAILS = {
    code.strip("`"): code_spans(detail)[0] for detail, code, *_ in table_rows(PAGE, "detail")
}

WRONG_SETTINGS = {
    "0.0.0.0 is reachable": {"HOST": "0.0.0.0"},
    "unknown settings": {"PORT2": "8001"},
    "SILHOUETTE_WORKERS": {"WORKERS": "many"},
    "SILHOUETTE_MODEL_REPOSITORY": {"MODEL_REPOSITORY": "/nowhere"},
    "/models has no model": {"MODELS": "unett"},
    "This ONNX Runtime": {"DEVICE": "directml"},
    "the engine triton requires": {"ENGINE": "triton"},
    "the engine triton runs": {"ENGINE": "triton", "TRITON_URL": "triton:8001", "DEVICE": "rocm"},
}
"""Beginning of a message -> settings that cause it, without their prefix."""
OTHER_CAUSES = {"Port 8000", "Models need", "onnxruntime and onnxruntime-gpu"}
"""Beginnings of the messages that no setting causes."""


def documented(beginning: str) -> str:
    """Returns the message of the page with this beginning."""
    [message] = [message for message in MESSAGES if message.startswith(beginning)]
    return message


@pytest.fixture
def start(monkeypatch, repository):
    """A function that returns the message with which `silhouette serve` ends."""

    def run(**variables: str) -> str:
        settings = {"MODEL_REPOSITORY": str(repository), "PORT": "0", **variables}
        for name, value in settings.items():
            monkeypatch.setenv(PREFIX + name, value)
        ended = CliRunner().invoke(app, ["serve"])
        assert ended.exit_code == 1
        return ended.stderr.strip().removeprefix("error: ").replace(str(repository), "/models")

    return run


def test_page_lists_messages_that_are_tested():
    beginnings = {*WRONG_SETTINGS, *OTHER_CAUSES}
    assert len(MESSAGES) == len(beginnings)
    assert all(map(documented, beginnings))


@pytest.mark.parametrize("beginning", WRONG_SETTINGS)
def test_wrong_setting_prints_the_documented_message(start, beginning):
    assert start(**WRONG_SETTINGS[beginning]) == documented(beginning)


def test_taken_port_prints_the_documented_message(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert start(PORT=port).replace(port, "8000") == documented("Port 8000")


def test_missing_runtime_prints_the_documented_message(start, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda name: name != "onnxruntime")
    assert start() == documented("Models need")


def test_second_runtime_prints_the_documented_message(start, monkeypatch):
    monkeypatch.setattr(extras, "_is_distribution", {"onnxruntime", "onnxruntime-gpu"}.__contains__)
    assert start() == documented("onnxruntime and onnxruntime-gpu")


# Requests

REFUSALS = {
    "unauthorized": ({"api_keys": "sesame"}, JPEG, ""),
    "body_too_large": ({"max_body_bytes": 100}, JPEG, ""),
    "unsupported_image_type": ({}, TEXT, ""),
    "undecodable_image": ({}, JPEG[:200], ""),
    "too_many_pixels": ({"max_pixels": 100}, JPEG, ""),
    "unknown_model": ({}, JPEG, "?model=big"),
}
"""Code of an error -> settings, body and query that cause it."""


def test_page_lists_details_that_are_tested():
    tested = {*REFUSALS, "warming_up", "model_failed", "engine_down", "not_installed"}
    assert DETAILS.keys() == {*tested, str(int(CloseCode.POLICY))}


@pytest.mark.parametrize("code", REFUSALS)
async def test_refused_photo_has_the_documented_detail(settings_with, code):
    settings, body, query = REFUSALS[code]
    async with in_process(settings_with(**settings)) as service:
        problem = (await service.segment(body, query)).json()
    assert (problem["code"], problem["detail"]) == (code, DETAILS[code])


async def test_changed_weights_have_the_documented_detail(settings_with, tmp_path):
    weights = write_tiny_model(tmp_path).model_file(tmp_path)
    weights.write_bytes(weights.read_bytes() + b"\0")
    async with in_process(settings_with(model_repository=tmp_path), ready=False) as service:
        problem = (await service.segment(JPEG)).json()
    assert (problem["code"], problem["detail"]) == ("model_failed", DETAILS["model_failed"])


async def test_unreachable_triton_has_the_documented_details(settings_with):
    settings = settings_with(engine="triton", triton_url="127.0.0.1:1")
    async with in_process(settings, ready=False) as service:
        photo = (await service.segment(JPEG)).json()
        ready = (await service.client.get("/readyz")).json()
    assert (photo["code"], photo["detail"]) == ("warming_up", DETAILS["warming_up"])
    assert (ready["code"], ready["detail"]) == ("engine_down", DETAILS["engine_down"])


async def test_webrtc_without_extra_has_the_documented_detail(settings_with, monkeypatch):
    monkeypatch.setattr(registry, "IS_INSTALLED", False)
    async with in_process(settings_with()) as service:
        headers = {"content-type": "application/sdp"}
        answer = await service.client.post("/v1/webrtc", content=b"v=0", headers=headers)
    assert answer.json()["detail"] == DETAILS["not_installed"]


async def test_stream_of_another_origin_has_the_documented_reason(settings_with):
    async with (
        in_process(settings_with()) as service,
        connected(service.app, origin="https://shop.example") as peer,
    ):
        end = await peer.end()
    assert DETAILS[str(int(end.code))] == end.reason


# The page


def test_titles_of_camera_errors_are_those_of_the_page():
    source = (ROOT / "service/silhouette_seg/web/live/camera.js").read_text()
    titles = [title for title, *_ in table_rows(PAGE, "title")]
    assert titles
    assert all(f'"{title}"' in source for title in titles)
