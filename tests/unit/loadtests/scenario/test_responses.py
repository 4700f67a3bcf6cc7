"""Tests of parsing and classifying responses."""

import cv2
import numpy as np
import pytest

from loadtests.scenario.photos import VGA, ImageSize, photo_jpeg
from loadtests.scenario.request_mix import BATCH_WEIGHTS, PHOTO_WEIGHTS, ImageRequest
from loadtests.scenario.responses import (
    UnexpectedResponse,
    check_image,
    classify_status,
    parse_batch,
    parse_resident_bytes,
    parse_server_timing,
)

MIXED = "multipart/mixed; boundary=edge"


def png(size: ImageSize) -> bytes:
    return cv2.imencode(".png", np.zeros((size.height, size.width), np.uint8))[1].tobytes()


def mixed(*parts: tuple[int, str, bytes], end: str = "--edge--\r\n") -> bytes:
    """Returns a multipart body; each part is an index, a status and a body."""
    body = b"".join(
        f"--edge\r\nContent-Length: {len(content)}\r\nX-Index: {index}\r\n"
        f"X-Status: {status}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for index, status, content in parts
    )
    return body + end.encode()


def test_server_timing_is_parsed_to_seconds_by_stage():
    header = 'decode;dur=1.50, route;dur=0.00, cache;desc="a hit", infer;dur=12.25'
    assert parse_server_timing(header) == {"decode": 0.0015, "route": 0.0, "infer": 0.01225}


def test_empty_server_timing_has_no_stages():
    assert parse_server_timing("") == {}


def test_resident_memory_is_read_from_metrics():
    metrics = (
        "# HELP process_resident_memory_bytes Resident memory size in bytes.\n"
        "# TYPE process_resident_memory_bytes gauge\n"
        "process_resident_memory_bytes 2.5e+08\n"
        "process_open_fds 12.0\n"
    )
    assert parse_resident_bytes(metrics) == 250e6
    assert parse_resident_bytes("silhouette_streams 0.0\n") is None


@pytest.mark.parametrize("status", [429, 503])
def test_refusal_without_retry_after_is_unexpected(status):
    assert classify_status(status, {"retry-after": "1"}) == "refused"
    with pytest.raises(UnexpectedResponse, match=f"{status} without Retry-After"):
        classify_status(status, {})


@pytest.mark.parametrize("status", [0, 204, 304, 400, 404, 500, 502, 504])
def test_status_other_than_ok_and_refusal_is_unexpected(status):
    with pytest.raises(UnexpectedResponse, match=f"status {status}"):
        classify_status(status, {"retry-after": "1"})


def test_image_of_other_format_or_size_is_unexpected():
    check_image(png(VGA), VGA, format="png")
    check_image(photo_jpeg(VGA), VGA, format="jpeg")
    with pytest.raises(UnexpectedResponse, match="640x480 pixels, the photo 480x640"):
        check_image(png(VGA), ImageSize(480, 640), format="png")
    with pytest.raises(UnexpectedResponse, match="not a PNG"):
        check_image(photo_jpeg(VGA), VGA, format="png")
    with pytest.raises(UnexpectedResponse, match="not a JPEG"):
        check_image(png(VGA), VGA, format="jpeg")


def test_parts_of_batch_are_parsed_in_order():
    body = b"\r\n\r\nimage\r\n"
    first, second = parse_batch(MIXED, mixed((0, "200", body), (1, "422", b"{}")))
    assert (first.status, first.body) == (200, body)
    assert (second.status, second.body) == (422, b"{}")
    assert second.headers["content-length"] == "2"


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        ("application/json", b"{}", "has content type application/json"),
        ("", b"", "has content type none"),
        (MIXED, b"", "is incomplete"),
        (MIXED, mixed((0, "200", b"x"), end=""), "is incomplete"),
        (MIXED, mixed((1, "200", b"x")), "part 0 of a batch has X-Index 1"),
        (MIXED, mixed((0, "soon", b"x")), "no X-Status"),
    ],
)
def test_incomplete_batch_response_is_unexpected(content_type, body, reason):
    with pytest.raises(UnexpectedResponse, match=reason):
        parse_batch(content_type, body)


def test_batch_with_one_refused_photo_is_refused():
    request = ImageRequest((VGA, VGA), "mask")
    headers = {"content-type": MIXED}
    complete = mixed((0, "200", png(VGA)), (1, "200", png(VGA)))
    assert request.check_response(200, headers, complete).outcome == "ok"
    refused = complete.replace(b"X-Index: 1\r\nX-Status: 200", b"X-Index: 1\r\nX-Status: 503")
    with pytest.raises(UnexpectedResponse, match="without Retry-After"):
        request.check_response(200, headers, refused)
    with_delay = refused.replace(b"X-Status: 503", b"X-Status: 503\r\nRetry-After: 1")
    assert request.check_response(200, headers, with_delay).outcome == "refused"


def test_batch_response_with_missing_result_is_unexpected():
    request = ImageRequest((VGA, VGA), "mask")
    with pytest.raises(UnexpectedResponse, match="1 results for a batch of 2"):
        request.check_response(200, {"content-type": MIXED}, mixed((0, "200", png(VGA))))


def test_photo_response_has_stages_of_server():
    request = ImageRequest((VGA,), "mask")
    found = request.check_response(200, {"server-timing": "infer;dur=5"}, png(VGA))
    assert found == ("ok", {"infer": 0.005})


def test_request_names_are_unique():
    names = [request.name for request in (*PHOTO_WEIGHTS, *BATCH_WEIGHTS)]
    assert len(set(names)) == len(names)
