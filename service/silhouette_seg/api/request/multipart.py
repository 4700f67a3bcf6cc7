"""multipart/form-data in memory, with limits: nothing is ever spooled to a disk."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from silhouette_seg.errors import BadParameter, BodyTooLarge, MalformedBody

MAX_PARTS = 32
MAX_TEXT_BYTES = 4096
MAX_NAME = 80
"""Characters of a name that somebody sent, when it is told back."""


@dataclass(slots=True)
class Part:
    """One part of a form, gathered while it arrives."""

    name: str
    is_file: bool
    filename: str | None
    limit: int
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self.limit:
            raise self._too_large()
        self.chunks.append(chunk)
        if self.is_file:
            self.hash.update(chunk)

    def data(self) -> bytes:
        """The whole; its pieces are let go."""
        self.chunks = [b"".join(self.chunks)]
        return self.chunks[0]

    def text(self) -> str:
        """Raises BadParameter for what is not UTF-8."""
        try:
            return self.data().decode()
        except UnicodeDecodeError:
            raise BadParameter(f"{self.name[:MAX_NAME]}: is not UTF-8 text") from None

    def _too_large(self) -> BodyTooLarge | BadParameter:
        if not self.is_file:
            return BadParameter(f"{self.name[:MAX_NAME]}: has more than {self.limit} bytes")
        return BodyTooLarge(
            f"{self.name} has more than {self.limit} bytes", limit=self.limit, actual=self.size
        )


class MultipartReader:
    """Feed it chunks, then `close` it for the parts.

    `files` says how many bytes the parts of each name may have; all others are text, of
    MAX_TEXT_BYTES. `watch` is shown the parts whenever one begins, and may raise. Raises
    MalformedBody, BodyTooLarge and BadParameter as soon as the bytes show it.
    """

    def __init__(
        self,
        content_type: str,
        *,
        files: Mapping[str, int],
        max_parts: int = MAX_PARTS,
        watch: Callable[[Sequence[Part]], None] = lambda parts: None,
    ) -> None:
        self._files = files
        self._max_parts = max_parts
        self._watch = watch
        self._parts: list[Part] = []
        self._headers: dict[str, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._ended = False
        self._parser = self._open_parser(content_type)

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise MalformedBody("The multipart body cannot be parsed.") from None

    def close(self) -> list[Part]:
        if not self._ended:
            raise MalformedBody("The multipart body ends before its last boundary.")
        return self._parts

    def _open_parser(self, content_type: str) -> MultipartParser:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise MalformedBody("The Content-Type of a multipart body needs a boundary.")
        try:
            return MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]
        except FormParserError:
            raise MalformedBody("The boundary is too long.") from None

    def _callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        if len(self._parts) == self._max_parts:
            raise MalformedBody(f"The multipart body has more than {self._max_parts} parts.")
        kind, options = parse_options_header(self._headers.get("content-disposition", b""))
        name, filename = options.get(b"name"), options.get(b"filename")
        if kind != b"form-data" or name is None:
            raise MalformedBody("A part of the multipart body has no name.")
        self._parts.append(self._part(_text(name), None if filename is None else _text(filename)))
        self._watch(self._parts)

    def _part(self, name: str, filename: str | None) -> Part:
        is_file = name in self._files
        return Part(name, is_file, filename, self._files.get(name, MAX_TEXT_BYTES))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._parts[-1].add(data[start:end])

    def _on_end(self) -> None:
        self._ended = True


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
