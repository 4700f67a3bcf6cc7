"""`POST /v1/segment`, and the door to streams."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from silhouette_seg.client.batch import answers
from silhouette_seg.client.errors import ClientError, Refused, http_errors, refusal
from silhouette_seg.client.stream import Option, Stream, Value, open_stream


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright photo."""

    top: int
    left: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Segmented:
    """The picture that was asked for, and what the service says of it."""

    body: bytes
    media_type: str
    model: str
    digest: str
    """`sha256:` and the hash of the model."""
    backend: str
    """The execution provider that really ran."""
    foreground: bool
    """Whether there is a person in the photo."""
    box: Box | None
    """Where."""
    coverage: float
    """Share of the photo that is person, 0..1."""
    confidence: float
    """Share of the pixels along the outline that is expected to be right, 0..1."""
    domain: str | None
    """None where the model takes none."""
    timings_s: dict[str, float]
    """Seconds in the server, by stage."""
    request_id: str


@dataclass(frozen=True, slots=True)
class Retries:
    """A call is tried at most so often and for so long, and only if its end is retryable."""

    tries: int = 4
    total_s: float = 20.0
    """No wait goes beyond it."""
    first_s: float = 0.25
    """The first wait where the service names none; each next is twice as long."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def wait_s(self, tried: int, spent_s: float, error: ClientError) -> float | None:
        """How long to wait before the next try; None where there is none."""
        if not error.retryable or tried >= self.tries:
            return None
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = self.first_s * 2 ** (tried - 1)
        return wait_s if spent_s + wait_s <= self.total_s else None


class Client:
    """One service. `transport` is httpx's seam: an application in the process, for one.

    Raises ValueError for a URL that is not http or https.
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
        """The models that may be asked for. Raises Refused or Unreachable."""
        cards = (await self._call("GET", "/v1/models")).json()["models"]
        return tuple(card["name"] for card in cards if card["task"] == "segmentation")

    async def segment(
        self,
        photo: bytes | Path,
        *,
        background_image: bytes | Path | None = None,
        **parameters: Value,
    ) -> Segmented:
        """What `POST /v1/segment` makes of a photo; the parameters are those of it.

        Tried again as `retries` says: the request changes nothing. Raises Refused, Unreachable,
        and OSError for a file.
        """
        query = {name: _text(value) for name, value in parameters.items()}
        sent: dict[str, Any] = {"content": await _read(photo), "headers": _IMAGE}
        if background_image is not None:
            files = {"image": sent["content"], "background_image": await _read(background_image)}
            sent = {"files": files}
        return _segmented(await self._call("POST", "/v1/segment", params=query, **sent))

    async def segment_batch(
        self,
        photos: Sequence[bytes | Path],
        *,
        background_image: bytes | Path | None = None,
        **parameters: Value,
    ) -> list[Segmented | Refused]:
        """What `POST /v1/segment/batch` makes of each photo, in order, or why it does not.

        The parameters and the background are for all. What refuses the whole is raised; the rest
        is as with `segment`.
        """
        query = {name: _text(value) for name, value in parameters.items()}
        files = [("image", (_name(photo), await _read(photo))) for photo in photos]
        if background_image is not None:
            files.append(("background_image", ("background", await _read(background_image))))
        whole = await self._call("POST", "/v1/segment/batch", params=query, files=files)
        return [
            _segmented(answer)
            if answer.is_success
            else refusal(answer.status_code, answer.headers, answer.content)
            for answer in answers(whole)
        ]

    @asynccontextmanager
    async def stream(self, **options: Option) -> AsyncIterator[Stream]:
        """A stream of live frames; the options are those of its `config` message.

        Raises StreamClosed where the service ends it, Refused where there are none, Unreachable.
        """
        async with open_stream(self._url, self._headers, self._timeout_s, options) as stream:
            yield stream

    async def _call(self, method: str, path: str, **sent: Any) -> httpx.Response:  # noqa: ANN401
        started = time.monotonic()
        tried = 0
        while True:
            try:
                return await self._try(method, path, **sent)
            except ClientError as error:
                tried += 1
                wait_s = self._retries.wait_s(tried, time.monotonic() - started, error)
                if wait_s is None:
                    raise
            await self._retries.sleep(wait_s)

    async def _try(self, method: str, path: str, **sent: Any) -> httpx.Response:  # noqa: ANN401
        with http_errors(self._url):
            answer = await self._http.request(method, path, **sent)
        if not answer.is_success:
            raise refusal(answer.status_code, answer.headers, answer.content)
        return answer


_IMAGE = {"Content-Type": "image/*"}
"""The service looks at the bytes."""


async def _read(file: bytes | Path) -> bytes:
    return file if isinstance(file, bytes) else await asyncio.to_thread(file.read_bytes)


def _name(file: bytes | Path) -> str:
    return "photo" if isinstance(file, bytes) else file.name


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _segmented(answer: httpx.Response) -> Segmented:
    said = answer.headers
    return Segmented(
        body=answer.content,
        media_type=said["content-type"],
        model=said["x-model"],
        digest=said["x-model-digest"],
        backend=said["x-backend"],
        foreground=said["x-foreground"] == "present",
        box=_box(said),
        coverage=float(said["x-mask-coverage"]),
        confidence=float(said["x-mask-confidence"]),
        domain=said.get("x-domain"),
        timings_s=_timings_s(said["server-timing"]),
        request_id=said["x-request-id"],
    )


def _box(headers: httpx.Headers) -> Box | None:
    if "x-foreground-top" not in headers:
        return None
    sides = ("top", "left", "width", "height")
    return Box(**{side: int(headers[f"x-foreground-{side}"]) for side in sides})


def _timings_s(server_timing: str) -> dict[str, float]:
    """`decode;dur=1.5, infer;dur=6` to seconds by name."""
    marks = (mark.strip().partition(";dur=") for mark in server_timing.split(","))
    return {name: float(ms) / 1000 for name, _, ms in marks if ms}
