"""Requests of the load test, their weights, and the check of their responses."""

from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple

from loadtests.scenario.photos import HD, TWELVE_MEGAPIXELS, VGA, ImageSize, photo_jpeg
from loadtests.scenario.responses import (
    Outcome,
    UnexpectedResponse,
    check_image,
    classify_status,
    parse_batch,
    parse_server_timing,
)

RequestKind = Literal["photo", "batch", "stream", "health"]
"""Kind under which a request is counted. A frame is a request of a stream."""

BOUNDARY = "silhouette-load"


class CheckedResponse(NamedTuple):
    """Outcome of a response, and the seconds that each stage of the server took."""

    outcome: Outcome
    stages: dict[str, float]


class ImageRequest(NamedTuple):
    """A request with one photo, or a batch with several."""

    sizes: tuple[ImageSize, ...]
    output: str
    format: str = "png"

    @property
    def kind(self) -> RequestKind:
        """Kind under which the request is counted."""
        return "photo" if len(self.sizes) == 1 else "batch"

    @property
    def name(self) -> str:
        """Name in the report."""
        content = str(self.sizes[0]) if self.kind == "photo" else f"of {len(self.sizes)}"
        return f"{self.kind} {content} {self.output}"

    @property
    def path(self) -> str:
        """Path and query of the URL."""
        route = "/v1/segment" if self.kind == "photo" else "/v1/segment/batch"
        return f"{route}?output={self.output}&format={self.format}"

    @property
    def content_type(self) -> str:
        """Value of the Content-Type header."""
        return "image/jpeg" if self.kind == "photo" else f"multipart/form-data; boundary={BOUNDARY}"

    @property
    def body(self) -> bytes:
        """Body of the request."""
        return photo_jpeg(self.sizes[0]) if self.kind == "photo" else _form(self.sizes)

    def check_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> CheckedResponse:
        """Checks a response; header names are in lower case. Raises UnexpectedResponse."""
        if classify_status(status, headers) == "refused":
            return CheckedResponse("refused", {})
        if self.kind == "batch":
            return CheckedResponse(self._check_batch(headers, body), {})
        check_image(body, self.sizes[0], format=self.format)
        return CheckedResponse("ok", parse_server_timing(headers.get("server-timing", "")))

    def _check_batch(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Checks each photo of a batch. The batch is refused if one of its photos is."""
        parts = parse_batch(headers.get("content-type", ""), body)
        if len(parts) != len(self.sizes):
            raise UnexpectedResponse(f"{len(parts)} results for a batch of {len(self.sizes)}")
        outcomes = [classify_status(part.status, part.headers) for part in parts]
        for part, outcome, size in zip(parts, outcomes, self.sizes, strict=True):
            if outcome == "ok":
                check_image(part.body, size, format=self.format)
        return "refused" if "refused" in outcomes else "ok"


PHOTO_WEIGHTS: dict[ImageRequest, float] = {
    ImageRequest((VGA,), "mask"): 4,
    ImageRequest((VGA,), "cutout"): 2,
    ImageRequest((VGA,), "composite", "jpeg"): 2,
    ImageRequest((HD,), "mask"): 4,
    ImageRequest((HD,), "cutout"): 2,
    ImageRequest((HD,), "composite", "jpeg"): 2,
    ImageRequest((TWELVE_MEGAPIXELS,), "mask"): 0.4,
    ImageRequest((TWELVE_MEGAPIXELS,), "cutout"): 0.2,
    ImageRequest((TWELVE_MEGAPIXELS,), "composite", "jpeg"): 0.2,
}
"""Relative frequency of each request with one photo."""

BATCH_WEIGHTS: dict[ImageRequest, float] = {
    ImageRequest((VGA, VGA, HD, VGA), "mask"): 2,
    ImageRequest((VGA, HD, VGA, VGA), "cutout"): 1,
}
"""Relative frequency of each batch."""


@cache
def _form(sizes: tuple[ImageSize, ...]) -> bytes:
    fields = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{index}.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + photo_jpeg(size)
        + b"\r\n"
        for index, size in enumerate(sizes)
    ]
    return b"".join(fields) + f"--{BOUNDARY}--\r\n".encode()
