"""JPEG files that end early: whole ones are decoded, and the others say which part is missing."""

import re
from pathlib import Path

import numpy as np
import pytest

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.decode import Frame, decode, read_header
from silhouette_seg.vision.codec.jpeg_end import NO_END_MARKER, has_all_scans
from tests.support.images import make_jpeg, person

KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "cmyk": {"mode": "CMYK"},
    "restarts": {"restart_marker_blocks": 5},
    "rotated": {"orientation": 6},
}
CASE = Path(__file__).parents[5] / "shared" / "cases" / "no_eoi.jpg"


def decoded(data: bytes, **options) -> Frame:
    return decode(data, read_header(data), **options)


@pytest.mark.parametrize("min_size", [None, (20, 20)])
@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_jpeg_without_end_marker_has_every_pixel(kind, missing, min_size):
    jpeg = make_jpeg(person(160, 200), **KINDS[kind])
    frame = decoded(jpeg[:-missing], min_size=min_size)
    assert (frame.rgb == decoded(jpeg, min_size=min_size).rgb).all()
    assert frame.warning == NO_END_MARKER


@pytest.mark.parametrize("kind", KINDS)
def test_whole_jpeg_has_no_warning(kind):
    jpeg = make_jpeg(person(160, 200), **KINDS[kind])
    assert decoded(jpeg).warning is None
    assert decoded(jpeg + b"trailer").warning is None


@pytest.mark.parametrize("missing", [3, 4, 30, 400])
@pytest.mark.parametrize("kind", KINDS)
def test_jpeg_without_its_last_pixels_is_truncated(kind, missing):
    jpeg = make_jpeg(person(160, 200), **KINDS[kind])
    with pytest.raises(UndecodableImage, match=r"^The JPEG is truncated: .* missing\.$"):
        decoded(jpeg[:-missing])


def test_truncated_jpeg_names_its_missing_rows():
    jpeg = make_jpeg(person(160, 200))
    with pytest.raises(UndecodableImage) as refused:
        decoded(jpeg[: len(jpeg) // 2])
    match = re.search(r"the last (\d+) of its 160 rows", refused.value.detail)
    assert match is not None
    assert 24 <= int(match[1]) <= 136


def test_progressive_jpeg_cut_between_scans_is_truncated():
    jpeg = make_jpeg(person(160, 200), progressive=True)
    scans = [match.start() for match in re.finditer(b"\xff\xda", jpeg)]
    assert has_all_scans(jpeg)
    for start in scans[1:]:
        assert not has_all_scans(jpeg[:start])
        with pytest.raises(UndecodableImage, match="its last scans are missing"):
            decoded(jpeg[:start])


@pytest.mark.parametrize("header", [b"", b"\xff\xd8\xff\xc0", b"\xff\xd8\xff\xda\x00\x08\x03\x01"])
def test_malformed_jpeg_lacks_scans(header):
    assert not has_all_scans(header)


def test_every_truncation_of_a_jpeg_is_refused_or_whole():
    jpeg = make_jpeg(person(24, 24), progressive=True)
    for length in range(200, len(jpeg)):
        if length >= len(jpeg) - 2:
            assert (decoded(jpeg[:length]).rgb == decoded(jpeg).rgb).all()
        else:
            with pytest.raises(UndecodableImage):
                decoded(jpeg[:length])


@pytest.mark.skipif(not CASE.exists(), reason="the shared cases are not here")
def test_shared_case_without_end_marker_is_decoded():
    frame = decoded(CASE.read_bytes())
    assert frame.warning == NO_END_MARKER
    assert np.ptp(frame.rgb) > 100
