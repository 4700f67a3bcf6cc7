"""Calls of the API: their requests, and the results that their responses hold.

They are the same for both clients. A call does no input and output, apart from reading files.
"""

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from silhouette_seg.client.batch import split_responses
from silhouette_seg.client.errors import Refused, refused_from_response
from silhouette_seg.errors import InvalidArgument
from silhouette_seg.runtime.parameter_text import parameter_text
from silhouette_seg.runtime.sources import FileSource, read_file_source, source_name

T = TypeVar("T")

Value = str | int | float | bool
"""Type of the value of a request parameter."""
_PHOTO_HEADERS = {"Content-Type": "image/*"}
"""Request headers of a photo of any format; the service detects the format from the bytes."""
_JSON = "application/json"


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


def failed_models_call() -> Call[dict[str, str]]:
    """Returns the call for the reason of each model that does not serve, by its name."""
    return Call("GET", "/v1/models", _parse_failed_models, {})


def segment_call(
    photo: FileSource, background: FileSource | None, parameters: Mapping[str, Value]
) -> Call[Segmented]:
    """Reads the files of one photo and returns the call that segments it.

    Raises InvalidArgument for a file or a parameter of another type, and OSError for a file that
    cannot be read.
    """
    image = read_file_source(photo, "photo")
    headers = _accept(parameters)
    arguments: dict[str, Any] = {"params": _query(parameters)}
    if background is None:
        arguments |= {"content": image, "headers": _PHOTO_HEADERS | headers}
    else:
        scene = read_file_source(background, "background_image")
        files = {"image": image, "background_image": scene}
        arguments |= {"files": files, "headers": headers}
    return Call("POST", "/v1/segment", _parse_segmented, arguments)


def batch_call(
    photos: Sequence[FileSource], background: FileSource | None, parameters: Mapping[str, Value]
) -> Call[list[Segmented | Refused]]:
    """Reads the files of several photos and returns the call that segments them together.

    Raises the errors of `segment_call`.
    """
    if isinstance(photos, str | bytes | bytearray) or not photos:
        raise InvalidArgument("photos", "must be a sequence of at least one photo")
    files = [
        ("image", (source_name(photo) or "photo", read_file_source(photo, f"photos[{index}]")))
        for index, photo in enumerate(photos)
    ]
    if background is not None:
        scene = read_file_source(background, "background_image")
        files.append(("background_image", ("background", scene)))
    arguments = {"params": _query(parameters), "files": files, "headers": _accept(parameters)}
    return Call("POST", "/v1/segment/batch", _parse_batch, arguments)


def _query(parameters: Mapping[str, Value]) -> dict[str, str]:
    query = {}
    for name, value in parameters.items():
        try:
            query[name] = parameter_text(value)
        except TypeError as error:
            raise InvalidArgument(name, str(error)) from None
    return query


def _accept(parameters: Mapping[str, Value]) -> dict[str, str]:
    """Returns the header that asks for a JSON report if a parameter needs one, else none."""
    return {"Accept": _JSON} if {"masks", "faces"} & parameters.keys() else {}


def _parse_models(response: httpx.Response) -> tuple[str, ...]:
    cards = response.json()["models"]
    return tuple(card["name"] for card in cards if card["task"] == "segmentation")


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
