import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.batch import part_accept, run_in_order
from silhouette_seg.api.response.content_disposition import MAX_STEM_CHARS, attachment, unique_stems
from silhouette_seg.api.response.multipart_mixed import CHUNK_BYTES, MixedPart, encode_parts


class Works:
    """Each of `count` ends when the test says so; counts what has begun."""

    def __init__(self, count: int) -> None:
        self.ends = [asyncio.Event() for _ in range(count)]
        self.begun: list[int] = []
        self.cancelled: list[int] = []

    def __iter__(self):
        return iter([lambda n=n: self._work(n) for n in range(len(self.ends))])

    async def _work(self, number: int) -> int:
        self.begun.append(number)
        try:
            await self.ends[number].wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number


async def test_results_are_in_order_whatever_ends_first():
    works = Works(3)
    results = run_in_order(works, at_once=3)
    first = asyncio.ensure_future(anext(results))
    works.ends[2].set()
    works.ends[1].set()
    await asyncio.sleep(0)
    assert not first.done()
    works.ends[0].set()
    assert await first == 0
    assert [result async for result in results] == [1, 2]


async def test_no_more_than_a_few_are_begun_before_their_results_are_taken():
    works = Works(6)
    for end in works.ends:
        end.set()
    taken = 0
    async for _ in run_in_order(works, at_once=2):
        taken += 1
        assert len(works.begun) <= taken + 1
    assert works.begun == list(range(6))


@pytest.mark.parametrize("at_once", [1, 2, 9])
async def test_closing_cancels_what_is_in_work(at_once):
    works = Works(4)
    async with aclosing(run_in_order(works, at_once)) as results:
        works.ends[0].set()
        assert await anext(results) == 0
    assert works.cancelled == works.begun[1:]


async def test_cancelling_who_waits_cancels_what_is_in_work():
    works = Works(4)
    waiting = asyncio.ensure_future(anext(run_in_order(works, at_once=2)))
    while len(works.begun) < 2:  # noqa: ASYNC110  # there is nothing to be told by
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert works.cancelled == [0, 1]


@pytest.mark.parametrize(
    ("accept", "of_parts"),
    [
        (None, None),
        ("", ""),
        ("*/*", "*/*"),
        ("multipart/mixed", ""),
        ("Multipart/Mixed;q=1, application/json;q=0.9", " application/json;q=0.9"),
        ("image/webp,multipart/*", "image/webp"),
    ],
)
def test_what_accept_says_of_the_parts(accept, of_parts):
    assert part_accept(accept) == of_parts


@given(st.lists(st.text(max_size=150), max_size=8))
def test_any_names_become_safe_and_different_ones(filenames):
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


def test_a_name_in_another_script_is_there_for_who_can_read_it():
    assert attachment("a b.png") == 'attachment; filename="a b.png"'
    assert attachment("ñ.png") == "attachment; filename=\"_.png\"; filename*=UTF-8''%C3%B1.png"


async def test_parts_are_written_in_pieces_with_their_lengths():
    long = bytes(2 * CHUNK_BYTES + 1)

    async def parts():
        yield MixedPart({"X-A": "1"}, long)
        yield MixedPart({}, b"")

    pieces = [piece async for piece in encode_parts(parts(), "edge")]
    assert max(map(len, pieces)) == CHUNK_BYTES
    assert b"".join(pieces) == (
        b"--edge\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n" % len(long)
        + long
        + b"\r\n--edge\r\nContent-Length: 0\r\n\r\n\r\n--edge--\r\n"
    )
