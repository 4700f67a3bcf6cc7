"""Reads HTTP request bodies into memory, with the same limits and errors on every route."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from silhouette_seg.admission.body_memory import Reserve
from silhouette_seg.api.media_types import media_type_of
from silhouette_seg.api.request.content_encoding import PIECE_BYTES, body_decoder
from silhouette_seg.api.request.multipart import MultipartReader, Part
from silhouette_seg.errors import BodyTooLarge, BodyTooSlow, MalformedBody, UnsupportedMediaType

MAX_LENGTH_DIGITS = 19
"""Maximum digits of a byte count in a header: 2**63 has 19, and no body is larger."""


async def consume_body(
    request: Request,
    consume: Callable[[bytes], None],
    *,
    max_bytes: int,
    timeout_s: float,
    reserve: Reserve,
) -> None:
    """Passes the body of a request to `consume` in pieces, as they arrive.

    A body in gzip or deflate is decompressed. Before each piece `reserve` is called with its bytes.
    Nothing is read if a header already shows that the body cannot be accepted.

    Raises UnsupportedMediaType for another compression, and MalformedBody for a damaged body or a
    Content-Length that is no number. Raises BodyTooLarge above `max_bytes`, compressed or not,
    BodyTooSlow after `timeout_s` seconds, and the errors of `reserve` and `consume`. starlette's
    ClientDisconnect passes through.
    """
    decoder = body_decoder(request.headers.get("content-encoding", "identity"))
    _check_declared_length(request, max_bytes)
    received = size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                received += len(chunk)
                _check_size(received, max_bytes)
                for piece in decoder.decode(chunk):
                    size += len(piece)
                    _check_size(size, max_bytes, "The decompressed body")
                    reserve(len(piece))
                    consume(piece)
                    if len(piece) == PIECE_BYTES:
                        await asyncio.sleep(0)  # other requests have their turn
            decoder.close()
    except TimeoutError:
        raise BodyTooSlow("The body did not arrive in time.", limit=timeout_s) from None


async def read_body(
    request: Request,
    media_type: str | None,
    *,
    max_bytes: int,
    timeout_s: float,
    reserve: Reserve,
) -> bytes:
    """Returns the whole body of a request.

    Raises UnsupportedMediaType unless its Content-Type is `media_type` (None accepts any), and
    the errors of `consume_body`.
    """
    sent = media_type_of(request.headers.get("content-type", ""))
    if media_type not in (None, sent):
        raise UnsupportedMediaType(f"Content-Type is {sent[:80] or 'missing'!r}, not {media_type}.")
    chunks: list[bytes] = []
    await consume_body(
        request, chunks.append, max_bytes=max_bytes, timeout_s=timeout_s, reserve=reserve
    )
    return b"".join(chunks)


async def read_form(
    request: Request,
    form: MultipartReader,
    *,
    max_bytes: int,
    timeout_s: float,
    reserve: Reserve,
) -> list[Part]:
    """Feeds a multipart/form-data body to the reader `form`, and returns its parts in order.

    Raises the errors of `consume_body` and of the reader.
    """
    await consume_body(
        request, form.feed, max_bytes=max_bytes, timeout_s=timeout_s, reserve=reserve
    )
    return form.close()


def parse_byte_count(header: str, text: str) -> int:
    """Returns the byte count in the value `text` of a header.

    Raises MalformedBody, with the name `header`, unless it is 1 to `MAX_LENGTH_DIGITS` digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_LENGTH_DIGITS):
        raise MalformedBody(f"{header} is not a number.")
    return int(text)


def _check_declared_length(request: Request, max_bytes: int) -> None:
    declared = request.headers.get("content-length")
    if declared is not None:
        _check_size(parse_byte_count("Content-Length", declared), max_bytes)


def _check_size(size: int, max_bytes: int, body: str = "The body") -> None:
    if size > max_bytes:
        raise BodyTooLarge(f"{body} has more than {max_bytes} bytes.", limit=max_bytes, actual=size)
