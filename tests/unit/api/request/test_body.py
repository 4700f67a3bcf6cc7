import asyncio
import gzip
import zlib
from collections.abc import Callable, Sequence

import pytest
from starlette.requests import Request

from silhouette_seg.admission.body_memory import BodyMemoryBudget
from silhouette_seg.api.request.body import consume_body, read_body
from silhouette_seg.api.request.content_encoding import PIECE_BYTES
from silhouette_seg.errors import (
    BodyTooLarge,
    BodyTooSlow,
    MalformedBody,
    Overloaded,
    UnsupportedMediaType,
)


class FakeBody:
    """A request with a body in chunks; with `then_stall` the body never ends."""

    def __init__(
        self, *chunks: bytes, headers: dict[str, str] | None = None, then_stall: bool = False
    ) -> None:
        self.received = 0
        self._chunks = list(chunks)
        self._then_stall = then_stall
        raw = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.request = Request({"type": "http", "headers": raw}, self._receive)

    async def _receive(self) -> dict[str, object]:
        if not self._chunks and self._then_stall:
            await asyncio.Event().wait()
        chunk = self._chunks.pop(0) if self._chunks else b""
        self.received += len(chunk)
        more = bool(self._chunks) or self._then_stall
        return {"type": "http.request", "body": chunk, "more_body": more}


GZIP = {"content-encoding": "gzip"}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": lambda data: zlib.compress(data, wbits=-zlib.MAX_WBITS),
}
"""Compression by the value of `Content-Encoding`; the second `deflate` has no zlib header."""


def compressed_body(encoding: str, data: bytes, chunk_bytes: int = 65_536) -> FakeBody:
    body = COMPRESSED[encoding](data)
    chunks = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)]
    return FakeBody(*chunks, headers={"content-encoding": encoding})


async def read(
    body: FakeBody,
    media_type: str | None = None,
    *,
    max_bytes: int = 100,
    timeout_s: float = 20,
    budget: BodyMemoryBudget | None = None,
) -> bytes:
    with (budget or BodyMemoryBudget(1000)).reservation() as reserve:
        return await read_body(
            body.request, media_type, max_bytes=max_bytes, timeout_s=timeout_s, reserve=reserve
        )


@pytest.mark.parametrize("chunks", [(), (b"abc",), (b"a", b"", b"bc")])
async def test_read_body_joins_all_chunks(chunks: Sequence[bytes]):
    assert await read(FakeBody(*chunks)) == b"".join(chunks)


async def test_body_at_the_limit_is_read():
    assert await read(FakeBody(b"x" * 60, b"x" * 40)) == b"x" * 100


async def test_body_above_the_limit_is_rejected_while_reading():
    body = FakeBody(b"x" * 60, b"x" * 41, b"x" * 41)
    with pytest.raises(BodyTooLarge) as error:
        await read(body)
    assert (error.value.limit, error.value.actual) == (100, 101)
    assert body.received == 101


async def test_body_with_a_large_content_length_is_not_read():
    body = FakeBody(b"x", headers={"content-length": "101"})
    with pytest.raises(BodyTooLarge) as error:
        await read(body)
    assert (error.value.limit, error.value.actual) == (100, 101)
    assert body.received == 0


@pytest.mark.parametrize("length", ["", "-1", "+1", "1e3", "0x1", "1 ", "abc", "²", "9" * 20])
async def test_content_length_that_is_no_number_is_rejected(length):
    body = FakeBody(b"x", headers={"content-length": length})
    with pytest.raises(MalformedBody, match="Content-Length is not a number"):
        await read(body)
    assert body.received == 0


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "gzip, deflate", "", "identity, gzip", "x" * 999]
)
async def test_unknown_encoding_is_rejected_before_reading(encoding):
    body = FakeBody(b"x", headers={"content-encoding": encoding})
    with pytest.raises(UnsupportedMediaType, match=r"Content-Encoding.*gzip, deflate") as error:
        await read(body)
    assert len(error.value.detail) < 200
    assert body.received == 0


@pytest.mark.parametrize("chunk_bytes", [1, 7, 10_000])
@pytest.mark.parametrize("encoding", COMPRESSED)
async def test_compressed_body_is_decompressed(encoding, chunk_bytes):
    data = bytes(range(256)) * 40
    body = compressed_body(encoding, data, chunk_bytes)
    assert await read(body, max_bytes=len(data), budget=BodyMemoryBudget(len(data))) == data


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 1])
@pytest.mark.parametrize("encoding", COMPRESSED)
async def test_compressed_body_of_any_size_is_complete(encoding, size):
    data = b"\0" * size
    body = compressed_body(encoding, data)
    assert await read(body, max_bytes=size + 20, budget=BodyMemoryBudget(size + 20)) == data


async def test_gzip_members_are_joined():
    body = FakeBody(gzip.compress(b"ab") + gzip.compress(b"c"), headers=GZIP)
    assert await read(body) == b"abc"


@pytest.mark.parametrize("encoding", COMPRESSED)
async def test_compressed_body_is_limited_by_its_inflated_size(encoding):
    body = compressed_body(encoding, b"\0" * 100_000_000, chunk_bytes=50_000)
    pieces: list[int] = []
    with pytest.raises(BodyTooLarge, match="decompressed") as error:
        await consume_body(
            body.request,
            lambda piece: pieces.append(len(piece)),
            max_bytes=PIECE_BYTES,
            timeout_s=20,
            reserve=lambda size: None,
        )
    assert error.value.limit == PIECE_BYTES
    assert error.value.actual == 2 * PIECE_BYTES
    assert pieces == [PIECE_BYTES]
    assert body.received == 50_000


async def test_compressed_body_is_limited_by_its_compressed_size():
    data = gzip.compress(b"") * 10
    with pytest.raises(BodyTooLarge) as error:
        await read(FakeBody(data, headers=GZIP), max_bytes=len(data) - 1)
    assert (error.value.limit, error.value.actual) == (len(data) - 1, len(data))


async def test_inflated_bytes_are_reserved_before_they_are_consumed():
    budget = BodyMemoryBudget(10)
    with budget.reservation() as reserve:
        reserve(8)
        with pytest.raises(Overloaded):
            await read(compressed_body("gzip", b"abc"), budget=budget)


@pytest.mark.parametrize(
    ("encoding", "data", "message"),
    [
        pytest.param("gzip", b"plain", "damaged", id="gzip-not-compressed"),
        pytest.param("gzip", gzip.compress(b"x" * 90)[:-1], "too early", id="gzip-short"),
        pytest.param("gzip", gzip.compress(b"x" * 90)[:-5] + bytes(5), "damaged", id="gzip-sum"),
        pytest.param("gzip", gzip.compress(b"x") + b"more", "damaged", id="gzip-surplus"),
        pytest.param("gzip", b"", "too early", id="gzip-empty"),
        pytest.param("deflate", b"\xff\xff", "damaged", id="deflate-not-compressed"),
        pytest.param("deflate", zlib.compress(b"x" * 90)[:-1], "too early", id="deflate-short"),
        pytest.param(
            "deflate", zlib.compress(b"x") + b"more", "after its end", id="deflate-surplus"
        ),
        pytest.param("deflate", b"x", "too early", id="deflate-one-byte"),
    ],
)
async def test_damaged_compressed_body_is_rejected(encoding, data, message):
    with pytest.raises(MalformedBody, match=message):
        await read(FakeBody(data, headers={"content-encoding": encoding}))


async def test_body_with_identity_encoding_is_read():
    assert await read(FakeBody(b"abc", headers={"content-encoding": "identity"})) == b"abc"


@pytest.mark.parametrize("sent", ["application/json", "Application/JSON; charset=utf-8"])
async def test_body_of_the_expected_media_type_is_read(sent):
    assert await read(FakeBody(b"{}", headers={"content-type": sent}), "application/json") == b"{}"


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "text/plain"}, {"content-type": "x" * 999}]
)
async def test_body_of_another_media_type_is_rejected(headers):
    body = FakeBody(b"{}", headers=headers)
    with pytest.raises(UnsupportedMediaType, match="application/json") as error:
        await read(body, "application/json")
    assert len(error.value.detail) < 200
    assert body.received == 0


async def test_stalled_body_is_rejected_after_the_timeout():
    with pytest.raises(BodyTooSlow) as error:
        await read(FakeBody(b"x", then_stall=True), timeout_s=0.01)
    assert error.value.limit == 0.01


async def test_body_chunks_are_reserved_before_they_are_consumed():
    events: list[tuple[str, int]] = []
    await consume_body(
        FakeBody(b"ab", b"c").request,
        lambda chunk: events.append(("consume", len(chunk))),
        max_bytes=100,
        timeout_s=20,
        reserve=lambda size: events.append(("reserve", size)),
    )
    assert [event for event in events if event[1]] == [
        ("reserve", 2),
        ("consume", 2),
        ("reserve", 1),
        ("consume", 1),
    ]


async def test_body_beyond_the_memory_budget_is_rejected():
    budget = BodyMemoryBudget(10)
    with budget.reservation() as reserve:
        reserve(8)
        assert await read(FakeBody(b"ab"), budget=budget) == b"ab"
        with pytest.raises(Overloaded):
            await read(FakeBody(b"a", b"b", b"c"), budget=budget)
        assert budget.reserved == 8
    assert await read(FakeBody(b"x" * 50), budget=budget) == b"x" * 50
    assert budget.reserved == 0
