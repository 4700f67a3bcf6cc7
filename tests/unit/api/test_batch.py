import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.batch import part_accept, run_in_order
from silhouette_seg.api.response.content_disposition import MAX_STEM_CHARS, attachment, unique_stems
from silhouette_seg.api.response.multipart_mixed import CHUNK_BYTES, MixedPart, encode_parts


class Calls:
    """`count` calls that each end on an event of the test; records their starts."""

    def __init__(self, count: int) -> None:
        self.ends = [asyncio.Event() for _ in range(count)]
        self.started: list[int] = []
        self.cancelled: list[int] = []

    def __iter__(self):
        return iter([lambda n=n: self._call(n) for n in range(len(self.ends))])

    async def _call(self, number: int) -> int:
        self.started.append(number)
        try:
            await self.ends[number].wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number


async def test_run_in_order_keeps_order_when_calls_do_not():
    calls = Calls(3)
    results = run_in_order(calls, concurrency=3)
    first = asyncio.ensure_future(anext(results))
    calls.ends[2].set()
    calls.ends[1].set()
    await asyncio.sleep(0)
    assert not first.done()
    calls.ends[0].set()
    assert await first == 0
    assert [result async for result in results] == [1, 2]


async def test_run_in_order_limits_calls_ahead_of_the_consumer():
    calls = Calls(6)
    for end in calls.ends:
        end.set()
    consumed = 0
    async for _ in run_in_order(calls, concurrency=2):
        consumed += 1
        assert len(calls.started) <= consumed + 1
    assert calls.started == list(range(6))


@pytest.mark.parametrize("concurrency", [1, 2, 9])
async def test_run_in_order_cancels_running_calls_on_close(concurrency):
    calls = Calls(4)
    async with aclosing(run_in_order(calls, concurrency)) as results:
        calls.ends[0].set()
        assert await anext(results) == 0
    assert calls.cancelled == calls.started[1:]


async def test_run_in_order_cancels_running_calls_with_the_consumer():
    calls = Calls(4)
    consumer = asyncio.ensure_future(anext(run_in_order(calls, concurrency=2)))
    while len(calls.started) < 2:  # noqa: ASYNC110  # no event announces the start
        await asyncio.sleep(0)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)
    assert calls.cancelled == [0, 1]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, None),
        ("", ""),
        ("*/*", "*/*"),
        ("multipart/mixed", ""),
        ("Multipart/Mixed;q=1, application/json;q=0.9", " application/json;q=0.9"),
        ("image/webp,multipart/*", "image/webp"),
    ],
)
def test_part_accept_drops_multipart_entries(accept, expected):
    assert part_accept(accept) == expected


@given(st.lists(st.text(max_size=150), max_size=8))
def test_unique_stems_are_safe_and_distinct(filenames):
    names = unique_stems(filenames)
    assert len(names) == len(filenames)
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert name.strip(". ") == name
        assert 0 < len(name) <= MAX_STEM_CHARS + 3
        assert name.isprintable()
        assert not set(name) & set('/\\"*:<>?|')
        header = attachment(name + ".png")
        assert header.isascii()
        assert header.isprintable()


def test_attachment_adds_the_encoded_name_beside_ascii():
    assert attachment("a b.png") == 'attachment; filename="a b.png"'
    assert attachment("ñ.png") == "attachment; filename=\"_.png\"; filename*=UTF-8''%C3%B1.png"


async def test_encode_parts_writes_chunks_with_content_lengths():
    long = bytes(2 * CHUNK_BYTES + 1)

    async def parts():
        yield MixedPart({"X-A": "1"}, long)
        yield MixedPart({}, b"")

    chunks = [chunk async for chunk in encode_parts(parts(), "edge")]
    assert max(map(len, chunks)) == CHUNK_BYTES
    assert b"".join(chunks) == (
        b"--edge\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n" % len(long)
        + long
        + b"\r\n--edge\r\nContent-Length: 0\r\n\r\n\r\n--edge--\r\n"
    )
