"""Python client of the service: segments photos, alone or in batches, and opens video streams."""

import asyncio
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from silhouette_seg.client.batch import split_responses
from silhouette_seg.client.errors import (
    ClientError,
    Refused,
    refused_from_response,
    translate_http_errors,
)
from silhouette_seg.client.stream import Option, Stream, Value, open_stream

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
    confidence: float
    """Expected share of correct pixels along the outline, 0..1."""
    domain: str | None
    """Distance of the person, from `far_shot` to `head_shot`, or `no_face`.

    None for a model without a domain input, unless the request searches for faces.
    """
    timings_s: dict[str, float]
    """Seconds that the service spent in each stage, such as `decode` and `infer`, by name."""
    request_id: str
    warning: str | None = None
    """A sentence on a fault of an input file that costs no pixel; None without one."""
    blurred_faces: int | None = None
    """Number of faces that `background="blur_faces"` blurred; None for any other background."""
    report: dict[str, Any] | None = None
    """JSON report of the service if `masks` or `faces` is set, for example its list `people`."""


@dataclass(frozen=True, slots=True)
class Retries:
    """Policy for repeating a call that ended in a retryable error: number, delays and limits."""

    tries: int = 9
    """Maximum number of tries, the first included."""
    total_s: float = 20.0
    """Maximum seconds from the start of the first try to the start of the last."""
    first_s: float = 0.25
    """Seconds of the first wait if the service sends no `Retry-After`.

    Each further wait is twice as long, up to `longest_s`.
    """
    longest_s: float = 2.0
    """Maximum seconds of a wait without `Retry-After`."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Asynchronous function that waits for a number of seconds; tests replace it."""

    def wait_s(self, tried: int, spent_s: float, error: ClientError) -> float | None:
        """Returns the seconds to wait before the next try, or None if there is none.

        `tried` is the number of tries so far, `spent_s` the seconds since the first began, and
        `error` the error of the last.
        """
        if not error.retryable or tried >= self.tries:
            return None
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = min(self.longest_s, self.first_s * 2 ** (tried - 1))
        return wait_s if spent_s + wait_s <= self.total_s else None


class Client:
    """Client of the service at `url`, as an asynchronous context manager.

    `key` is an API key, and `timeout_s` bounds each try in seconds. `transport` replaces httpx's
    transport, for example by an application in the same process. Raises ValueError unless the URL
    is http or https with a host.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout_s: float = 30.0,
        *,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = httpx.URL(url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ValueError(f"{url!r} is not like http://host:port")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=timeout_s, transport=transport
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def models(self) -> tuple[str, ...]:
        """Returns the names of the segmentation models that the service offers.

        Raises Refused for an error of the service, and Unreachable without a valid answer.
        """
        cards = (await self._request("GET", "/v1/models")).json()["models"]
        return tuple(card["name"] for card in cards if card["task"] == "segmentation")

    async def segment(
        self,
        photo: bytes | Path,
        *,
        background_image: bytes | Path | None = None,
        **parameters: Value,
    ) -> Segmented:
        """Segments one photo, an image file or its path, and returns the result image.

        `parameters` are those of `POST /v1/segment`, such as `output="cutout"`. With `masks` or
        `faces` the result has the JSON report too. After a retryable
        error the request is repeated, as `retries` allows. Raises Refused for an error of the
        service, Unreachable without a valid answer, and OSError for a file that cannot be read.
        """
        query = {name: _to_query(value) for name, value in parameters.items()}
        sent: dict[str, Any] = {"content": await _read_file(photo), "headers": _PHOTO_HEADERS}
        if background_image is not None:
            files = {
                "image": sent["content"],
                "background_image": await _read_file(background_image),
            }
            sent = {"files": files}
        sent["headers"] = sent.get("headers", {}) | _accept(parameters)
        return _parse_segmented(await self._request("POST", "/v1/segment", params=query, **sent))

    async def segment_batch(
        self,
        photos: Sequence[bytes | Path],
        *,
        background_image: bytes | Path | None = None,
        **parameters: Value,
    ) -> list[Segmented | Refused]:
        """Segments several photos, image files or paths, with one `POST /v1/segment/batch`.

        Returns the result or the error of each photo, in order. Parameters and background apply to
        every photo. Raises Refused if the service rejects the whole batch, and the other errors of
        `segment`.
        """
        query = {name: _to_query(value) for name, value in parameters.items()}
        files = [("image", (_file_name(photo), await _read_file(photo))) for photo in photos]
        if background_image is not None:
            files.append(("background_image", ("background", await _read_file(background_image))))
        response = await self._request(
            "POST", "/v1/segment/batch", params=query, files=files, headers=_accept(parameters)
        )
        return [
            _parse_segmented(part) if part.is_success else _parse_refused(part)
            for part in split_responses(response)
        ]

    @asynccontextmanager
    async def stream(self, **options: Option) -> AsyncIterator[Stream]:
        """Opens a WebSocket stream for video frames, and yields it until the block ends.

        `options` are those of its `config` message, such as `output="mask"`. Raises Refused if the
        service rejects the handshake or an option, StreamClosed if it closes the stream, and
        Unreachable if it cannot be reached.
        """
        async with open_stream(self._url, self._headers, self._timeout_s, options) as stream:
            yield stream

    async def _request(self, method: str, path: str, **sent: Any) -> httpx.Response:  # noqa: ANN401
        started = time.monotonic()
        tried = 0
        while True:
            try:
                return await self._request_once(method, path, **sent)
            except ClientError as error:
                tried += 1
                wait_s = self._retries.wait_s(tried, time.monotonic() - started, error)
                if wait_s is None:
                    raise
            await self._retries.sleep(wait_s)

    async def _request_once(self, method: str, path: str, **sent: Any) -> httpx.Response:  # noqa: ANN401
        with translate_http_errors(self._url):
            response = await self._http.request(method, path, **sent)
        if not response.is_success:
            raise _parse_refused(response)
        return response


async def _read_file(file: bytes | Path) -> bytes:
    return file if isinstance(file, bytes) else await asyncio.to_thread(file.read_bytes)


def _file_name(file: bytes | Path) -> str:
    return "photo" if isinstance(file, bytes) else file.name


def _to_query(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _accept(parameters: Mapping[str, Value]) -> dict[str, str]:
    """Returns the header that asks for a JSON report if a parameter needs one, else none."""
    return {"Accept": _JSON} if {"masks", "faces"} & parameters.keys() else {}


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
        confidence=float(headers["x-mask-confidence"]),
        domain=headers.get("x-domain"),
        timings_s=_parse_timings(headers["server-timing"]),
        request_id=headers["x-request-id"],
        warning=headers.get("x-input-warning"),
        blurred_faces=_parse_count(headers.get("x-faces-blurred")),
        report=report,
    )


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
