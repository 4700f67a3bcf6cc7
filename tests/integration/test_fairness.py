"""Photos and streams that want the same model at the same time, over real sockets."""

import asyncio

from silhouette_seg.admission import stream_limit
from silhouette_seg.client import AsyncClient, Retries, Segmented
from tests.integration.conftest import PATIENCE_S, on_socket
from tests.support.images import make_jpeg, quadrants
from tests.support.tiny_model import write_tiny_model

JPEG = make_jpeg(quadrants())
STREAMS = 8
PHOTOS = 4
INVERSIONS = 10_000
"""Cost of the model: about 10 ms, which is more than the rest of a frame."""


async def test_streams_leave_photos_a_share_of_the_model(settings_with, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_limit, "MIN_FRAME_RATE", 0.0)  # admits all, however slow it is here
    write_tiny_model(tmp_path, inversions=INVERSIONS)
    settings = settings_with(model_repository=tmp_path, queue_timeout_s=5, request_timeout_s=60)
    with on_socket(settings) as service:
        async with AsyncClient(service.url, timeout_s=60, retries=Retries(tries=1)) as client:
            streaming = [asyncio.Event() for _ in range(STREAMS)]
            streams = [asyncio.create_task(stream_frames(client, event)) for event in streaming]
            async with asyncio.timeout(PATIENCE_S):
                for event in streaming:
                    await event.wait()
            results = await asyncio.gather(*(client.segment(JPEG) for _ in range(PHOTOS)))
            for task in streams:
                assert not task.done()
                task.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
    assert all(isinstance(result, Segmented) for result in results)


async def stream_frames(client: AsyncClient, streaming: asyncio.Event) -> None:
    """Sends frame after frame, and sets `streaming` at the first result."""
    async with client.stream() as stream:
        while True:
            await stream.send(JPEG)
            await anext(stream)
            streaming.set()
