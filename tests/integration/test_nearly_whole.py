"""JPEG files that lack their last bytes, on every route: segmented if no pixel is missing."""

import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from silhouette_seg.client import AsyncClient, Result, Segmented
from tests.integration.batch_client import parts_of, send
from tests.integration.conftest import in_process, on_socket
from tests.integration.pictures import picture, refusal
from tests.integration.stream_client import frame, result_of, streaming
from tests.support.images import make_jpeg, make_png, person, quadrants

WARNING = "The JPEG has no end marker; no pixel is missing."
WHOLE = make_jpeg(quadrants(96, 128))
NEARLY_WHOLE = WHOLE[:-2]
REMOVEBG = "/v1.0/removebg"


def unwrapped(text: str) -> str:
    """Returns the text of a terminal without its line breaks."""
    return " ".join(text.split())


async def test_nearly_whole_jpeg_is_segmented_with_warning(service):
    answer = await service.segment(NEARLY_WHOLE)
    whole = await service.segment(WHOLE)
    assert answer.headers["x-input-warning"] == WARNING
    assert (picture(answer) == picture(whole)).all()
    assert "x-input-warning" not in whole.headers


async def test_report_of_nearly_whole_jpeg_has_warning(service):
    answer = await service.segment(NEARLY_WHOLE, accept="application/json")
    assert answer.json()["foreground"]["present"]
    assert answer.headers["x-input-warning"] == WARNING


async def test_truncated_jpeg_is_refused_with_its_missing_rows(service):
    photo = make_jpeg(person(96, 128))
    document = refusal(await service.segment(photo[: len(photo) // 2]), 422, "undecodable_image")
    assert "of its 96 rows are missing" in document["detail"]


async def test_nearly_whole_background_is_reported(service):
    answer = await service.form(
        ("image", make_png(quadrants())),
        ("background_image", NEARLY_WHOLE),
        ("output", "composite"),
    )
    picture(answer)
    assert answer.headers["x-input-warning"] == WARNING


async def test_batch_part_of_nearly_whole_jpeg_has_warning(service):
    first, second = parts_of(await send(service, NEARLY_WHOLE, WHOLE))
    assert (first.status, second.status) == (200, 200)
    assert first.headers["x-input-warning"] == WARNING
    assert "x-input-warning" not in second.headers


async def test_removebg_result_of_nearly_whole_jpeg_has_warning(service):
    answers = [
        await service.client.post(REMOVEBG, files={"image_file": ("photo.jpg", photo)})
        for photo in (NEARLY_WHOLE, WHOLE, WHOLE[:-200])
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert answers[0].headers["x-input-warning"] == WARNING
    assert "x-input-warning" not in answers[1].headers
    assert answers[2].json()["errors"][0]["code"] == "failed_to_read_image"
    assert "missing" in answers[2].json()["errors"][0]["detail"]


async def test_stream_frame_without_end_marker_is_segmented(service):
    async with streaming(service.app, output="mask") as peer:
        peer.send(frame(7, NEARLY_WHOLE))
        assert await peer.receive() == {"type": "warning", "seq": 7, "detail": WARNING}
        _, result, _ = result_of(await peer.receive())
        peer.send(frame(8, NEARLY_WHOLE))
        result_of(await peer.receive())  # the warning is not repeated
    assert (result.height, result.width) == (96, 128)


async def test_client_has_the_warnings_of_photos_and_streams(settings_with):
    with on_socket(settings_with()) as running:
        async with AsyncClient(running.url) as client:
            assert (await client.segment(NEARLY_WHOLE)).warning == WARNING
            assert (await client.segment(WHOLE)).warning is None
            parts = [part async for part in client.segment_batch([WHOLE, NEARLY_WHOLE])]
            assert [part.warning for part in parts if isinstance(part, Segmented)] == [
                None,
                WARNING,
            ]
            async with client.stream(output="mask") as stream:
                for _ in range(2):
                    await stream.send(NEARLY_WHOLE)
                    assert isinstance(await anext(stream), Result)
                await stream.configure(output="cutout")
                assert stream.warnings == [WARNING]


def test_command_segments_nearly_whole_jpeg(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    (tmp_path / "photo.jpg").write_bytes(NEARLY_WHOLE)
    arguments = ["segment", str(tmp_path / "photo.jpg"), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert unwrapped(result.stderr).count(f"photo.jpg: {WARNING}") == 1
    assert "1 of 1 photos done" in unwrapped(result.stdout)
    assert (tmp_path / "out" / "photo.png").exists()


def test_command_reports_nearly_whole_jpeg_of_a_service(settings_with, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(NEARLY_WHOLE)
    (tmp_path / "whole.jpg").write_bytes(WHOLE)
    with on_socket(settings_with()) as running:
        arguments = ["segment", str(tmp_path), "-o", str(tmp_path / "out"), "--server", running.url]
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert unwrapped(result.stderr).count(WARNING) == 1
    assert f"photo.jpg: {WARNING}" in unwrapped(result.stderr)


def test_command_reports_nearly_whole_standard_input(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    arguments = ["segment", "-", "-o", str(tmp_path / "out.png")]
    result = CliRunner().invoke(app, arguments, input=NEARLY_WHOLE)
    assert result.exit_code == 0
    assert f"standard input: {WARNING}" in unwrapped(result.stderr)


async def test_warning_header_is_readable_from_other_origins(settings_with):
    origin = "https://example.com"
    async with in_process(settings_with(cors_origins=(origin,))) as service:
        answer = await service.segment(NEARLY_WHOLE, origin=origin)
        assert "X-Input-Warning" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("cut", [3, 100])
async def test_stream_frame_without_pixels_is_refused(service, cut):
    async with streaming(service.app) as peer:
        peer.send(frame(0, WHOLE[:-cut]))
        message = await peer.receive()
    assert b"undecodable_image" in message
