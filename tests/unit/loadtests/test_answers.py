"""What is read from the server's answers."""

import cv2
import numpy as np
import pytest

from loadtests.answers import (
    Unexpected,
    check_picture,
    judge,
    parts_of,
    resident_bytes,
    server_timing,
)
from loadtests.asks import BATCHES, PHOTOS, Ask
from loadtests.photos import VGA, Size, photo

MIXED = "multipart/mixed; boundary=edge"


def png(size: Size) -> bytes:
    return cv2.imencode(".png", np.zeros((size.height, size.width), np.uint8))[1].tobytes()


def mixed(*parts: tuple[int, str, bytes], end: str = "--edge--\r\n") -> bytes:
    """Each part is its index, its status and its body."""
    body = b"".join(
        f"--edge\r\nContent-Length: {len(content)}\r\nX-Index: {index}\r\n"
        f"X-Status: {status}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for index, status, content in parts
    )
    return body + end.encode()


def test_server_timing_is_seconds_by_stage():
    header = 'decode;dur=1.50, route;dur=0.00, cache;desc="a hit", infer;dur=12.25'
    assert server_timing(header) == {"decode": 0.0015, "route": 0.0, "infer": 0.01225}


def test_no_server_timing_has_no_stages():
    assert server_timing("") == {}


def test_the_memory_of_the_process_is_read_from_the_metrics():
    metrics = (
        "# HELP process_resident_memory_bytes Resident memory size in bytes.\n"
        "# TYPE process_resident_memory_bytes gauge\n"
        "process_resident_memory_bytes 2.5e+08\n"
        "process_open_fds 12.0\n"
    )
    assert resident_bytes(metrics) == 250e6
    assert resident_bytes("silhouette_streams 0.0\n") is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_says_when_to_come_again(status):
    assert judge(status, {"retry-after": "1"}) == "refused"
    with pytest.raises(Unexpected, match=f"{status} without Retry-After"):
        judge(status, {})


@pytest.mark.parametrize("status", [0, 204, 304, 400, 404, 500, 502, 504])
def test_anything_else_is_unexpected(status):
    with pytest.raises(Unexpected, match=f"status {status}"):
        judge(status, {"retry-after": "1"})


def test_a_picture_is_of_the_format_and_size_asked_for():
    check_picture(png(VGA), VGA, format="png")
    check_picture(photo(VGA), VGA, format="jpeg")
    with pytest.raises(Unexpected, match="640x480, the photo 480x640"):
        check_picture(png(VGA), Size(480, 640), format="png")
    with pytest.raises(Unexpected, match="no PNG"):
        check_picture(photo(VGA), VGA, format="png")
    with pytest.raises(Unexpected, match="no JPEG"):
        check_picture(png(VGA), VGA, format="jpeg")


def test_the_parts_of_a_batch_are_read_in_order():
    picture = b"\r\n\r\npicture\r\n"
    first, second = parts_of(MIXED, mixed((0, "200", picture), (1, "422", b"{}")))
    assert (first.status, first.body) == (200, picture)
    assert (second.status, second.body) == (422, b"{}")
    assert second.headers["content-length"] == "2"


@pytest.mark.parametrize(
    ("content_type", "body", "why"),
    [
        ("application/json", b"{}", "is application/json"),
        ("", b"", "of no type"),
        (MIXED, b"", "not whole"),
        (MIXED, mixed((0, "200", b"x"), end=""), "not whole"),
        (MIXED, mixed((1, "200", b"x")), "part 0 of a batch is number 1"),
        (MIXED, mixed((0, "soon", b"x")), "no X-Status"),
    ],
)
def test_a_batch_that_is_not_whole_is_unexpected(content_type, body, why):
    with pytest.raises(Unexpected, match=why):
        parts_of(content_type, body)


def test_a_batch_is_refused_when_one_of_its_photos_is():
    ask = Ask((VGA, VGA), "mask")
    headers = {"content-type": MIXED}
    whole = mixed((0, "200", png(VGA)), (1, "200", png(VGA)))
    assert ask.read(200, headers, whole).outcome == "ok"
    refused = whole.replace(b"X-Index: 1\r\nX-Status: 200", b"X-Index: 1\r\nX-Status: 503")
    with pytest.raises(Unexpected, match="without Retry-After"):
        ask.read(200, headers, refused)
    later = refused.replace(b"X-Status: 503", b"X-Status: 503\r\nRetry-After: 1")
    assert ask.read(200, headers, later).outcome == "refused"


def test_an_answer_is_missing_in_a_batch():
    with pytest.raises(Unexpected, match="1 answers to a batch of 2"):
        Ask((VGA, VGA), "mask").read(200, {"content-type": MIXED}, mixed((0, "200", png(VGA))))


def test_a_photo_brings_its_stages_along():
    found = Ask((VGA,), "mask").read(200, {"server-timing": "infer;dur=5"}, png(VGA))
    assert found == ("ok", {"infer": 0.005})


def test_names_tell_asks_apart():
    names = [ask.name for ask in (*PHOTOS, *BATCHES)]
    assert len(set(names)) == len(names)
