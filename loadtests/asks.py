"""What is asked for, how often, and how its answer is read."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from loadtests.answers import (
    Outcome,
    Unexpected,
    check_picture,
    judge,
    parts_of,
    server_timing,
)
from loadtests.photos import HD, TWELVE_MEGAPIXELS, VGA, Size, photo
from loadtests.record import Kind

BOUNDARY = "silhouette-load"


class Finding(NamedTuple):
    """What an answer was; its stages are seconds in the server."""

    outcome: Outcome
    stages: dict[str, float]


class Ask(NamedTuple):
    """One photo, or several in a batch, and what is wanted of it."""

    sizes: tuple[Size, ...]
    output: str
    format: str = "png"

    @property
    def kind(self) -> Kind:
        return "photo" if len(self.sizes) == 1 else "batch"

    @property
    def name(self) -> str:
        what = str(self.sizes[0]) if self.kind == "photo" else f"of {len(self.sizes)}"
        return f"{self.kind} {what} {self.output}"

    @property
    def path(self) -> str:
        route = "/v1/segment" if self.kind == "photo" else "/v1/segment/batch"
        return f"{route}?output={self.output}&format={self.format}"

    @property
    def content_type(self) -> str:
        return "image/jpeg" if self.kind == "photo" else f"multipart/form-data; boundary={BOUNDARY}"

    @property
    def body(self) -> bytes:
        return photo(self.sizes[0]) if self.kind == "photo" else _form(self.sizes)

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Finding:
        """Names of headers in lower case. Raises Unexpected for what should not be."""
        if judge(status, headers) == "refused":
            return Finding("refused", {})
        if self.kind == "batch":
            return Finding(self._read_parts(headers, body), {})
        check_picture(body, self.sizes[0], format=self.format)
        return Finding("ok", server_timing(headers.get("server-timing", "")))

    def _read_parts(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Refused as a whole when one of its photos was."""
        parts = parts_of(headers.get("content-type", ""), body)
        if len(parts) != len(self.sizes):
            raise Unexpected(f"{len(parts)} answers to a batch of {len(self.sizes)}")
        outcomes = [judge(part.status, part.headers) for part in parts]
        for part, outcome, size in zip(parts, outcomes, self.sizes, strict=True):
            if outcome == "ok":
                check_picture(part.body, size, format=self.format)
        return "refused" if "refused" in outcomes else "ok"


PHOTOS: dict[Ask, float] = {
    Ask((VGA,), "mask"): 4,
    Ask((VGA,), "cutout"): 2,
    Ask((VGA,), "composite", "jpeg"): 2,
    Ask((HD,), "mask"): 4,
    Ask((HD,), "cutout"): 2,
    Ask((HD,), "composite", "jpeg"): 2,
    Ask((TWELVE_MEGAPIXELS,), "mask"): 0.4,
    Ask((TWELVE_MEGAPIXELS,), "cutout"): 0.2,
    Ask((TWELVE_MEGAPIXELS,), "composite", "jpeg"): 0.2,
}
"""How often each is asked for, beside the others."""

BATCHES: dict[Ask, float] = {
    Ask((VGA, VGA, HD, VGA), "mask"): 2,
    Ask((VGA, HD, VGA, VGA), "cutout"): 1,
}


@cache
def _form(sizes: tuple[Size, ...]) -> bytes:
    pieces = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{index}.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + photo(size)
        + b"\r\n"
        for index, size in enumerate(sizes)
    ]
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()
