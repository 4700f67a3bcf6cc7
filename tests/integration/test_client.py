"""Both Python clients with a real service."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from silhouette_seg.client import (
    AsyncClient,
    Client,
    Failed,
    Refused,
    Result,
    Segmented,
    Skipped,
    StreamClosed,
)
from silhouette_seg.streaming import protocol
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.pictures import pixels
from tests.support.images import TEXT, make_jpeg, quadrants

PHOTO = make_jpeg(quadrants())
PATIENCE_S = 60


@pytest.fixture(scope="module")
def served(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(max_streams=2)) as running:
        yield running


@pytest.fixture
async def client(served) -> AsyncIterator[AsyncClient]:
    async with asyncio.timeout(PATIENCE_S), AsyncClient(served.url) as client:
        yield client


async def test_photo_is_segmented_with_its_properties(client, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    segmented = await client.segment(
        tmp_path / "photo.jpg", output="cutout", format="webp", crop=True
    )
    assert segmented.media_type == "image/webp"
    assert segmented.model == "connectnet"
    assert segmented.foreground
    assert segmented.box is not None
    assert pixels(segmented.body).shape[:2] == (segmented.box.height, segmented.box.width)
    assert set(segmented.timings_s) == {"decode", "route", "queue", "infer", "post", "encode"}
    assert 0 < segmented.coverage < 1


async def test_batch_with_masks_has_a_report_for_each_photo(client):
    batch = client.segment_batch([PHOTO, TEXT, PHOTO], masks="rle")
    first, refused, last = [answer async for answer in batch]
    assert isinstance(refused, Refused)
    for segmented in (first, last):
        assert isinstance(segmented, Segmented)
        assert segmented.media_type == "image/png"
        assert segmented.report is not None
        size = segmented.report["people"][0]["segmentation"]["size"]
        assert pixels(segmented.body).shape == tuple(size)


async def test_synchronous_client_returns_the_same_result(client, served, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    options = {"output": "composite", "background": PHOTO, "format": "webp"}
    expected = await client.segment(PHOTO, **options)
    with Client(served.url) as blocking, (tmp_path / "photo.jpg").open("rb") as file:
        assert blocking.models() == await client.models()
        assert blocking.segment(file, **options).body == expected.body
        good, bad = blocking.segment_batch([str(tmp_path / "photo.jpg"), TEXT], **options)
    assert isinstance(good, Segmented)
    assert good.body == expected.body
    assert isinstance(bad, Refused)


def test_threads_share_a_synchronous_client(served):
    with Client(served.url) as client, ThreadPoolExecutor(4) as pool:
        bodies = {one.body for one in pool.map(client.segment, [PHOTO] * 8)}
    assert len(bodies) == 1


async def test_rejected_photo_raises_refused(client):
    with pytest.raises(Refused) as refused:
        await client.segment(TEXT)
    assert (refused.value.code, refused.value.status) == ("unsupported_image_type", 415)
    assert refused.value.request_id


async def test_stream_answers_frames_and_changes_options(client):
    async def frames() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield PHOTO

    async with client.stream(output="mask") as stream:
        assert stream.options["output"] == "mask"
        answers = [answer async for answer in stream.map(frames())]
        assert sorted(answer.seq for answer in answers) == [1, 2, 3, 4, 5]
        results = [answer for answer in answers if isinstance(answer, Result)]
        assert results[-1].seq == 5  # the newest is never skipped
        assert all(isinstance(answer, Result | Skipped) for answer in answers)
        assert results[-1].dropped == 5 - len(results)
        for result in results:
            assert pixels(result.picture).shape == (64, 96)
            assert (result.width, result.height) == (96, 64)
            assert result.foreground
            assert 0 < result.server_s <= result.round_trip_s

        await stream.configure(output="composite", background=PHOTO)
        assert stream.options["background"] == "picture"
        await stream.configure(output="cutout", background=None)
        await stream.reset()
        await stream.send(PHOTO)
        answer = await anext(stream)
        assert isinstance(answer, Result)
        assert pixels(answer.picture).shape == (64, 96, 4)

        with pytest.raises(Refused) as refused:
            await stream.configure(grow="much")
        assert refused.value.code == "bad_parameter"

        await stream.send(TEXT)
        failed = await anext(stream)
        assert isinstance(failed, Failed)
        assert failed.code == "unsupported_image_type"


async def test_rejected_stream_raises_stream_closed(client):
    with pytest.raises(StreamClosed) as closed:
        async with client.stream(output="nothing"):
            raise AssertionError("the stream opened")
    assert closed.value.code == protocol.CloseCode.BAD_CONFIG
    assert "output" in closed.value.reason

    async with client.stream(), client.stream():
        with pytest.raises(StreamClosed) as closed:
            async with client.stream():
                raise AssertionError("the stream opened")
        assert closed.value.retryable


async def test_batch_equals_single_requests(client, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    photos = [tmp_path / "photo.jpg", TEXT, PHOTO]
    batch = client.segment_batch(photos, output="cutout", format="webp")
    first, second, third = [answer async for answer in batch]

    alone = await client.segment(PHOTO, output="cutout", format="webp")
    assert isinstance(first, Segmented)
    assert isinstance(third, Segmented)
    assert first.body == third.body == alone.body
    assert (first.box, first.foreground) == (alone.box, True)
    assert isinstance(second, Refused)
    assert (second.code, second.status) == ("unsupported_image_type", 415)

    many = [answer async for answer in client.segment_batch([PHOTO] * 33)]
    assert [answer.body for answer in many] == [many[0].body] * 33
