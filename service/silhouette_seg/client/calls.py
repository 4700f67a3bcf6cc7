"""Calls of the API: their requests, and the results that their responses hold.

They are the same for both clients. A call does no input and output, apart from reading files.
"""

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from silhouette_seg.client.batch import PART_BYTES, NamedPhoto, ServiceLimits, split_responses
from silhouette_seg.client.errors import Refused, refused_from_response
from silhouette_seg.client.parameters import query_of, split_background
from silhouette_seg.errors import InvalidArgument
from silhouette_seg.runtime.sources import FileSource, is_file_source, read_file_source

T = TypeVar("T")

_PHOTO_HEADERS = {"Content-Type": "image/*"}
"""Request headers of a photo of any format; the service detects the format from the bytes."""
_JSON = "application/json"
_ABSENT = (None, False, "false")
"""Values of a parameter for facts that ask for none."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the upright photo, in pixels."""

    top: int
    left: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Segmented:
    """Result of one photo: the image file that the service returned, and facts about the mask."""

    body: bytes
    media_type: str
    model: str
    digest: str
    """`sha256:` and the hash of the model file."""
    backend: str
    """Execution provider that ran the model, such as `CPUExecutionProvider`."""
    foreground: bool
    """True if the photo shows a person."""
    doubtful: bool
    """True if that person may be an animal or an object."""
    box: Box | None
    """Bounding box of the person; None without a person."""
    coverage: float
    """Share of the photo that the person covers, 0..1."""
    confidence: float | None
    """Expected share of correct pixels along the outline, 0..1; None for a mask without one."""
    domain: str | None
    """Distance of the person, from `far_shot` to `head_shot`, or `no_face`.

    None for a model without a domain input, unless the request searches for faces.
    """
    timings_s: dict[str, float]
    """Seconds that the service spent in each stage, such as `decode` and `infer`, by name."""
    request_id: str
    warning: str | None = None
    """Sentences on a fault of an input file that costs no pixel, or on `person="dominant"` without
    a face detector; None without one."""
    blurred_faces: int | None = None
    """Number of faces that `background="blur_faces"` blurred; None for any other background."""
    report: dict[str, Any] | None = None
    """JSON report of the service if `masks` or `faces` is set, for example its list `people`."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request of the API, and the function that reads its response."""

    method: str
    path: str
    parse: Callable[[httpx.Response], T]
    """Function from a response without an error to the result."""
    arguments: Mapping[str, Any]
    """Other arguments of `request` of httpx's clients: the query, the headers and the body."""

    def read(self, response: httpx.Response) -> T:
        """Returns the result that a response holds.

        Raises Refused for an error status, and Unreachable for a response that is incomplete.
        """
        if not response.is_success:
            raise _parse_refused(response)
        return self.parse(response)


def models_call() -> Call[tuple[str, ...]]:
    """Returns the call for the names of the segmentation models."""
    return Call("GET", "/v1/models", _parse_models, {})


def batch_limits_call() -> Call[ServiceLimits]:
    """Returns the call for the limits of a batch."""
    return Call("GET", "/v1/capabilities", _parse_batch_limits, {})


def failed_models_call() -> Call[dict[str, str]]:
    """Returns the call for the reason of each model that does not serve, by its name."""
    return Call("GET", "/v1/models", _parse_failed_models, {})


def segment_call(photo: FileSource, parameters: Mapping[str, Any]) -> Call[Segmented]:
    """Reads the files of one photo and returns the call that segments it.

    Raises InvalidArgument for a file or a parameter of another type, and OSError for a file that
    cannot be read.
    """
    texts, background = split_background(parameters)
    image = read_file_source(photo, "photo")
    headers = _accept(texts)
    arguments: dict[str, Any] = {"params": query_of(texts)}
    if background is None:
        arguments |= {"content": image, "headers": _PHOTO_HEADERS | headers}
    else:
        files = {"image": image, "background_image": background}
        arguments |= {"files": files, "headers": headers}
    return Call("POST", "/v1/segment", _parse_segmented, arguments)


@dataclass(frozen=True, slots=True)
class BatchForm:
    """Parameters and background that all batches of one call share."""

    query: Mapping[str, str]
    background: bytes | None
    headers: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes of the body of a batch, apart from its photos."""
        return PART_BYTES + len(self.background or b"")

    def call(self, photos: Sequence[NamedPhoto]) -> Call[list[Segmented | Refused]]:
        """Returns the call that segments the photos of one batch together."""
        files = [("image", (photo.name, photo.data)) for photo in photos]
        if self.background is not None:
            files.append(("background_image", ("background", self.background)))
        arguments = {"params": self.query, "files": files, "headers": self.headers}
        return Call("POST", "/v1/segment/batch", _parse_batch, arguments)


def refused_photo(photos: Sequence[NamedPhoto], error: Refused) -> list[Segmented | Refused]:
    """Returns the error of a batch as that of its only photo, if the photo is too large.

    Raises the error itself otherwise.
    """
    if len(photos) == 1 and error.code == "body_too_large":
        return [error]
    raise error


def batch_form(photos: object, parameters: Mapping[str, Any]) -> BatchForm:
    """Checks the arguments of a call for several photos, and reads its background.

    Raises InvalidArgument for a single photo or an empty sequence, and the errors of
    `segment_call` for a parameter or the background.
    """
    is_empty = isinstance(photos, Sized) and not len(photos)
    if is_file_source(photos) or is_empty or not isinstance(photos, Iterable):
        raise InvalidArgument("photos", "must be a sequence of at least one photo")
    texts, background = split_background(parameters)
    return BatchForm(query_of(texts), background, _accept(texts))


def _accept(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Returns the header that asks for a JSON report if a parameter needs one, else none."""
    needs_report = any(parameters.get(name) not in _ABSENT for name in ("masks", "faces"))
    return {"Accept": _JSON} if needs_report else {}


def _parse_models(response: httpx.Response) -> tuple[str, ...]:
    cards = response.json()["models"]
    return tuple(card["name"] for card in cards if card["task"] == "segmentation")


def _parse_batch_limits(response: httpx.Response) -> ServiceLimits:
    limits = response.json()["limits"]
    return ServiceLimits(limits["batch_images"], limits["image_bytes"], limits["batch_body_bytes"])


def _parse_failed_models(response: httpx.Response) -> dict[str, str]:
    return {model["name"]: model["reason"] for model in response.json().get("failed", [])}


def _parse_batch(response: httpx.Response) -> list[Segmented | Refused]:
    return [
        _parse_segmented(part) if part.is_success else _parse_refused(part)
        for part in split_responses(response)
    ]


def _parse_segmented(response: httpx.Response) -> Segmented:
    headers = response.headers
    media_type, body, report = headers["content-type"], response.content, None
    if media_type == _JSON:
        report = response.json()
        media_type, body = report["image"]["media_type"], b64decode(report["image"]["data"])
    return Segmented(
        body=body,
        media_type=media_type,
        model=headers["x-model"],
        digest=headers["x-model-digest"],
        backend=headers["x-backend"],
        foreground=headers["x-foreground"] == "present",
        doubtful=headers.get("x-foreground-doubtful") == "true",
        box=_parse_box(headers),
        coverage=float(headers["x-mask-coverage"]),
        confidence=_parse_number(headers.get("x-mask-confidence")),
        domain=headers.get("x-domain"),
        timings_s=_parse_timings(headers["server-timing"]),
        request_id=headers["x-request-id"],
        warning=headers.get("x-input-warning"),
        blurred_faces=_parse_count(headers.get("x-faces-blurred")),
        report=report,
    )


def _parse_number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _parse_count(text: str | None) -> int | None:
    return None if text is None else int(text)


def _parse_refused(response: httpx.Response) -> Refused:
    return refused_from_response(response.status_code, response.headers, response.content)


def _parse_box(headers: httpx.Headers) -> Box | None:
    if "x-foreground-top" not in headers:
        return None
    sides = ("top", "left", "width", "height")
    return Box(**{side: int(headers[f"x-foreground-{side}"]) for side in sides})


def _parse_timings(server_timing: str) -> dict[str, float]:
    """Returns the seconds of each stage in a `Server-Timing` header, by name.

    The header has milliseconds: `decode;dur=1.5, infer;dur=6`.
    """
    entries = (entry.strip().partition(";dur=") for entry in server_timing.split(","))
    return {name: float(ms) / 1000 for name, _, ms in entries if ms}
