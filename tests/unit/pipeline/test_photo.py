"""Tests of the size at which photos are decoded, and of the memory that a job counts."""

import pytest

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.pipeline.options import Output, Refinement, RenderOptions
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, PhotoTask
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.vision.codec.decode import ImageFormat, read_header
from tests.support.images import make_jpeg, person
from tests.support.tiny_model import tiny_spec

HW = (2000, 3200)


class RecordingTask(PhotoTask):
    """A photo task that records the longer side of the decoded photo."""

    longer_side = 0

    def decode(self, min_size):
        frame = super().decode(min_size)
        self.longer_side = max(frame.rgb.shape)
        return frame


@pytest.mark.parametrize(
    ("options", "longer_side"),
    [
        (RenderOptions(), 400),
        (RenderOptions(refine=Refinement.GUIDED), 1600),
        (RenderOptions(output=Output.CUTOUT), 3200),
        (RenderOptions(output=Output.CUTOUT, refine=Refinement.GUIDED), 3200),
    ],
)
async def test_photo_is_decoded_at_the_size_its_options_need(options, longer_side):
    workers = ThreadPool(1)
    segmenter = Segmenter(FakeEngine(tiny_spec("connectnet", size_hw=(64, 64))), workers)
    data = make_jpeg(person(*HW))
    try:
        task = RecordingTask(PhotoJob(ImageFile(data, read_header(data)), options, ImageFormat.PNG))
        rendered = await segmenter.run(task)
    finally:
        await segmenter.close()
        workers.close()
    assert rendered.size_hw == HW
    assert task.longer_side == longer_side


@pytest.mark.parametrize(
    ("format", "output", "factor"),
    [
        (ImageFormat.PNG, Output.CUTOUT, 1),
        (ImageFormat.JPEG, Output.COMPOSITE, 1),
        (ImageFormat.WEBP, Output.MASK, 1),
        (ImageFormat.WEBP, Output.CUTOUT, 3),
        (ImageFormat.AVIF, Output.MASK, 2),
        (ImageFormat.AVIF, Output.COMPOSITE, 3),
    ],
)
def test_job_counts_pixels_by_the_memory_of_its_encoder(format, output, factor):
    data = make_jpeg(person(40, 60))
    file = ImageFile(data, read_header(data))
    job = PhotoJob(file, RenderOptions(output=output), format, background=file)
    assert job.pixels == (factor + 1) * 2400
