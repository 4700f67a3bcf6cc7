from dataclasses import replace

import pytest

from silhouette_seg.api.photo_response import ResolvedRequest
from silhouette_seg.api.request.negotiation import Representation
from silhouette_seg.api.request.parameters import SegmentOptions
from silhouette_seg.api.request.uploads import PhotoUpload, UploadedImage
from silhouette_seg.api.response.etag import photo_etag
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.pipeline.options import MaskEncoding, Output, RenderOptions
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.vision.codec.decode import ImageFormat
from tests.support.tiny_model import tiny_spec

UPLOAD = PhotoUpload(UploadedImage(b"photo", digest="0a" * 32))


@pytest.fixture(scope="module")
def workers():
    pool = ThreadPool(1)
    yield pool
    pool.close()


def segmenter(workers: ThreadPool, digest: str = "0b" * 32, detector: str | None = "0c" * 32):
    spec = tiny_spec("md_trisenet", digest=digest)
    if detector is None:
        return Segmenter(FakeEngine(spec), workers)
    faces = FakeEngine(tiny_spec("face_detector", digest=detector))
    return Segmenter(FakeEngine(spec), workers, FaceRouter(faces, workers))


@pytest.fixture
def request_of_defaults(workers) -> ResolvedRequest:
    return ResolvedRequest(SegmentOptions(), segmenter(workers), Representation(ImageFormat.PNG))


def test_etag_of_a_request_is_golden(request_of_defaults):
    """A change of this value makes every client's cache stale."""
    etag = photo_etag("1.0", UPLOAD, request_of_defaults)
    assert etag == '"fac9c05e18c18350d2904c876d0e753d"'


def test_etag_differs_when_anything_differs(request_of_defaults, workers):
    resolved, options = request_of_defaults, request_of_defaults.options
    background = replace(UPLOAD, background=UploadedImage(b"scene", digest="0d" * 32))
    etags = [
        photo_etag("1.0", UPLOAD, resolved),
        photo_etag("1.1", UPLOAD, resolved),
        photo_etag("1.0", PhotoUpload(UploadedImage(b"photo", digest="0e" * 32)), resolved),
        photo_etag("1.0", background, resolved),
    ]
    others = [
        replace(resolved, options=replace(options, render=RenderOptions(Output.CUTOUT))),
        replace(resolved, options=replace(options, domain=Domain.FAR_SHOT)),
        replace(resolved, options=replace(options, keep_metadata=True)),
        replace(resolved, options=replace(options, render=RenderOptions(Output.TRIMAP))),
        replace(resolved, options=replace(options, render=RenderOptions(faces=True))),
        replace(resolved, options=replace(options, render=RenderOptions(masks=MaskEncoding.RLE))),
        replace(resolved, representation=Representation(ImageFormat.WEBP)),
        replace(resolved, representation=Representation(ImageFormat.PNG, report=True)),
        replace(resolved, segmenter=segmenter(workers, digest="0f" * 32)),
        replace(resolved, segmenter=segmenter(workers, detector="0f" * 32)),
        replace(resolved, segmenter=segmenter(workers, detector=None)),
    ]
    etags += [photo_etag("1.0", UPLOAD, other) for other in others]
    assert len(set(etags)) == len(etags)
    assert all(etag.startswith('"') and etag.endswith('"') and len(etag) == 34 for etag in etags)
