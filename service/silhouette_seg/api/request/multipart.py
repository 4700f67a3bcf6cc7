"""Parses multipart/form-data in memory, within limits of parts and bytes.

Nothing is written to disk.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from silhouette_seg.api.request.parameters import MAX_NAME_CHARS
from silhouette_seg.errors import BadParameter, BodyTooLarge, MalformedBody

MAX_PARTS = 32
MAX_TEXT_BYTES = 4096


@dataclass(slots=True)
class Part:
    """One part of a multipart form: a file or a text field, collected while it arrives.

    `max_bytes` bounds its content, `size` counts it, and `hash` is the SHA-256 of a file.
    """

    name: str
    is_file: bool
    filename: str | None
    max_bytes: int
    advice: str = ""
    """End of the error of a text field that looks like a file, with the fields of files."""
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def append(self, chunk: bytes) -> None:
        """Adds the next bytes of the content.

        Beyond `max_bytes` it raises BodyTooLarge for a file and BadParameter for text.
        """
        self.size += len(chunk)
        if self.size > self.max_bytes:
            raise self._too_large()
        self.chunks.append(chunk)
        if self.is_file:
            self.hash.update(chunk)

    def data(self) -> bytes:
        """Returns all bytes that were added, joined into one."""
        self.chunks = [b"".join(self.chunks)]
        return self.chunks[0]

    def text(self) -> str:
        """Returns the content decoded from UTF-8. Raises BadParameter if it is not UTF-8."""
        try:
            return self.data().decode()
        except UnicodeDecodeError:
            reason = f"is not UTF-8 text{self.advice}"
            raise BadParameter(f"{self.name[:MAX_NAME_CHARS]}: {reason}") from None

    def is_sent_as_text(self) -> bool:
        """Returns whether the part has no file name, and is UTF-8 as short as a text field."""
        if self.filename is not None or self.size > MAX_TEXT_BYTES:
            return False
        try:
            self.data().decode()
        except UnicodeDecodeError:
            return False
        return True

    def _too_large(self) -> BodyTooLarge | BadParameter:
        if not self.is_file:
            reason = f"has more than {self.max_bytes} bytes{self.advice}"
            return BadParameter(f"{self.name[:MAX_NAME_CHARS]}: {reason}")
        file = f" ({self.filename[:MAX_NAME_CHARS]})" if self.filename else ""
        return BodyTooLarge(
            f"{self.name}{file} has more than {self.max_bytes} bytes",
            limit=self.max_bytes,
            actual=self.size,
        )


class MultipartReader:
    """Incremental parser of multipart/form-data: `feed` it chunks, then `close` returns the parts.

    `max_file_bytes` maps the names of file parts to their byte limits. All other parts are text
    of at most MAX_TEXT_BYTES. `on_part` receives all parts whenever a new one begins, and may
    raise. Every method raises MalformedBody, BodyTooLarge or BadParameter as soon as the bytes
    show the error.
    """

    def __init__(
        self,
        content_type: str,
        *,
        max_file_bytes: Mapping[str, int],
        max_parts: int = MAX_PARTS,
        on_part: Callable[[Sequence[Part]], None] = lambda parts: None,
    ) -> None:
        self._max_file_bytes = max_file_bytes
        self._max_parts = max_parts
        self._on_part = on_part
        self._parts: list[Part] = []
        self._headers: dict[str, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._is_complete = False
        self._parser = self._create_parser(content_type)

    def feed(self, chunk: bytes) -> None:
        """Parses the next bytes of the body. Raises MalformedBody for invalid multipart syntax."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise MalformedBody("The multipart body cannot be parsed.") from None

    def close(self) -> list[Part]:
        """Returns all parts in order. Raises MalformedBody if the last boundary is missing."""
        if not self._is_complete:
            raise MalformedBody("The multipart body ends before its last boundary.")
        return self._parts

    def _create_parser(self, content_type: str) -> MultipartParser:
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
        disposition, options = parse_options_header(self._headers.get("content-disposition", b""))
        name, filename = options.get(b"name"), options.get(b"filename")
        if disposition != b"form-data" or name is None:
            raise MalformedBody("A part of the multipart body has no name.")
        self._parts.append(
            self._new_part(_decode(name), None if filename is None else _decode(filename))
        )
        self._on_part(self._parts)

    def _new_part(self, name: str, filename: str | None) -> Part:
        is_file = name in self._max_file_bytes
        max_bytes = self._max_file_bytes.get(name, MAX_TEXT_BYTES)
        advice = f"; fields of files are {', '.join(self._max_file_bytes)}" if filename else ""
        return Part(name, is_file, filename, max_bytes, advice)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._parts[-1].append(data[start:end])

    def _on_end(self) -> None:
        self._is_complete = True


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
