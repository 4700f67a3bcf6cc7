"""A small request body as a whole, within a type, a byte limit and a deadline."""

import asyncio

from starlette.requests import Request

from silhouette_seg.admission.body_memory import Reserve
from silhouette_seg.errors import BodyTooLarge, BodyTooSlow, UnsupportedMediaType


async def read_body(
    request: Request,
    media_type: str | None,
    *,
    limit: int,
    timeout_s: float,
    reserve: Reserve,
) -> bytes:
    """`media_type` is None where any will do; `reserve` is told of every piece before it is kept.

    Raises UnsupportedMediaType, BodyTooLarge before it is all there, and BodyTooSlow.
    """
    headers = request.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (None, kind):
        raise UnsupportedMediaType(f"Content-Type is {kind[:80] or 'missing'!r}, not {media_type}.")
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("A compressed body (Content-Encoding) is not read.")
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(request, limit, reserve)
    except TimeoutError:
        raise BodyTooSlow("The body was not complete in time.", limit=timeout_s) from None


async def _read(request: Request, limit: int, reserve: Reserve) -> bytes:
    declared = request.headers.get("content-length", "0")
    size = int(declared) if declared.isascii() and declared.isdigit() else 0
    kept: list[bytes] = []
    _check(size, limit)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        _check(size, limit)
        reserve(len(piece))
        kept.append(piece)
    return b"".join(kept)


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise BodyTooLarge(f"The body has more than {limit} bytes.", limit=limit, actual=size)
