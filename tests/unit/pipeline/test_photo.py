"""How much of a photo is decoded for what was asked for."""

import pytest

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.pipeline.options import Output, Refinement, RenderOptions
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, segment_photo
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.vision.codec.decode import ImageFormat, read_header
from tests.support.images import make_jpeg, person
from tests.support.tiny_model import tiny_spec

HW = (2000, 3200)


class Watching(Segmenter):
    """Knows how large the photo was decoded."""

    longer_side = 0

    async def run(self, load, finish, **how):
        def watched(min_size):
            frame = load(min_size)
            self.longer_side = max(frame.rgb.shape)
            return frame

        return await super().run(watched, finish, **how)


@pytest.mark.parametrize(
    ("options", "longer_side"),
    [
        (RenderOptions(), 400),
        (RenderOptions(refine=Refinement.GUIDED), 1600),
        (RenderOptions(output=Output.CUTOUT), 3200),
        (RenderOptions(output=Output.CUTOUT, refine=Refinement.GUIDED), 3200),
    ],
)
async def test_as_much_is_decoded_as_is_needed(options, longer_side):
    workers = ThreadPool(1)
    segmenter = Watching(FakeEngine(tiny_spec("connectnet", size_hw=(64, 64))), workers)
    data = make_jpeg(person(*HW))
    try:
        job = PhotoJob(ImageFile(data, read_header(data)), options, ImageFormat.PNG)
        rendered = await segment_photo(job, segmenter)
    finally:
        await segmenter.close()
        workers.close()
    assert rendered.size_hw == HW
    assert segmenter.longer_side == longer_side
