"""Decompresses request bodies (`Content-Encoding`) in small pieces, as they arrive."""

import zlib
from collections.abc import Iterator
from typing import Protocol

from silhouette_seg.errors import MalformedBody, UnsupportedMediaType

SUPPORTED_ENCODINGS = ("gzip", "deflate")
"""Values of `Content-Encoding`, besides `identity`, that are decompressed."""
PIECE_BYTES = 256 * 1024
"""Maximum bytes of one decompressed piece.

A compressed byte may become a thousand. With pieces the limits of a body are checked in between,
and the memory of a piece is bounded.
"""
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_ZLIB_FORMAT = zlib.MAX_WBITS
_RAW_FORMAT = -zlib.MAX_WBITS


class BodyDecoder(Protocol):
    """Decodes the chunks of a request body, one after another."""

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Yields the decoded pieces of the next chunk. Raises MalformedBody if it is invalid."""
        ...

    def close(self) -> None:
        """Ends the body. Raises MalformedBody if it is not complete."""
        ...


def body_decoder(encoding: str) -> BodyDecoder:
    """Returns the decoder of a body with the header `Content-Encoding: <encoding>`.

    Raises UnsupportedMediaType for an encoding that is not in `SUPPORTED_ENCODINGS`.
    """
    match encoding.lower():
        case "identity":
            return IdentityDecoder()
        case "gzip" | "x-gzip":
            return GzipDecoder()
        case "deflate":
            return DeflateDecoder()
    raise UnsupportedMediaType(
        f"The Content-Encoding {encoding[:80]!r} is not supported; "
        f"send {', '.join(SUPPORTED_ENCODINGS)} or none."
    )


class IdentityDecoder:
    """Decoder of a body that is not compressed."""

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def close(self) -> None:
        pass


class GzipDecoder:
    """Decompresses gzip (RFC 1952): one member or several, one after another."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(_GZIP_FORMAT)

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._inflater.eof:
                self._inflater = zlib.decompressobj(_GZIP_FORMAT)
            yield from _inflate(self._inflater, chunk)
            chunk = self._inflater.unused_data

    def close(self) -> None:
        _check_complete(self._inflater)


class DeflateDecoder:
    """Decompresses deflate data in the zlib format (RFC 1950), or without its header.

    HTTP means the zlib format. Some clients send raw deflate data (RFC 1951) instead.
    """

    def __init__(self) -> None:
        self._head = b""
        self._inflater = zlib.decompressobj(_ZLIB_FORMAT)

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        if len(self._head) < 2:  # the format shows in two bytes
            self._head += chunk
            if len(self._head) < 2:
                return
            chunk = self._head
            if not _has_zlib_header(chunk):
                self._inflater = zlib.decompressobj(_RAW_FORMAT)
        yield from _inflate(self._inflater, chunk)
        if self._inflater.unused_data:
            raise MalformedBody("The compressed body has bytes after its end.")

    def close(self) -> None:
        _check_complete(self._inflater)


def _has_zlib_header(data: bytes) -> bool:
    return data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0


def _inflate(inflater: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    """Yields the next bytes of a stream, at most `PIECE_BYTES` at once."""
    piece = b""
    # After a full piece zlib may hold more bytes, although it has consumed the chunk.
    while not inflater.eof and (chunk or len(piece) == PIECE_BYTES):
        try:
            piece = inflater.decompress(chunk, PIECE_BYTES)
        except zlib.error:
            raise MalformedBody("The compressed body is damaged.") from None
        chunk = inflater.unconsumed_tail
        if piece:
            yield piece


def _check_complete(inflater: "zlib._Decompress") -> None:
    if not inflater.eof:
        raise MalformedBody("The compressed body ends too early.")
