"""The clients of the service: `Client` is synchronous, `AsyncClient` asynchronous.

Both send the calls of `client.calls`, and repeat them as `client.retries` says.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from silhouette_seg.api.request.signatures import with_options
from silhouette_seg.client.batch import ServiceLimits, read_photos, split_photos
from silhouette_seg.client.calls import (
    BatchForm,
    Call,
    Segmented,
    batch_form,
    batch_limits_call,
    failed_models_call,
    models_call,
    refused_photo,
    segment_call,
)
from silhouette_seg.client.errors import Refused, translate_http_errors
from silhouette_seg.client.parameters import PhotoParameters, StreamParameters
from silhouette_seg.client.retries import Retries
from silhouette_seg.client.stream import Stream, open_stream
from silhouette_seg.errors import InvalidArgument
from silhouette_seg.runtime.sources import FileSource

T = TypeVar("T")

EXAMPLE_URL = "http://localhost:8000"
_WITHOUT_SCHEME = re.compile(r"(?!\w+:/)[\w\[][\w.:\[\]-]*(/[^\s:]*)?")
"""Host, port and path of a URL that lacks `http://`."""


class Client:
    """Client of the service at `url`, as a context manager.

    `key` is an API key, and `timeout_s` bounds each try in seconds. `transport` replaces httpx's
    transport. Several threads may share a client. Raises InvalidArgument for a URL that is not like
    `http://localhost:8000`.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout_s: float = 30.0,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = _parse_url(url)
        self._retries = retries or Retries()
        self._batch_limits: ServiceLimits | None = None
        self._http = httpx.Client(
            base_url=self._url, headers=_key_headers(key), timeout=timeout_s, transport=transport
        )

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.__exit__(kind, error, traceback)

    def close(self) -> None:
        """Closes the connections; the end of a `with` block does it too."""
        self._http.close()

    def models(self) -> tuple[str, ...]:
        """Returns the names of the segmentation models that the service offers.

        Raises Refused for an error of the service, and Unreachable without a valid answer.
        """
        return self._send(models_call())

    def failed_models(self) -> dict[str, str]:
        """Returns the reason of each model that the service has and cannot run, by its name.

        Raises the errors of `models`.
        """
        return self._send(failed_models_call())

    @with_options(PhotoParameters.__annotations__)
    def segment(self, photo: FileSource, **parameters: Unpack[PhotoParameters]) -> Segmented:
        """Segments one photo, and returns the result image.

        The photo is a path, the bytes of an image file, or a binary file that is open. After a
        retryable error the request is repeated, as `retries` allows. Raises Refused for an error of
        the service, and Unreachable without a valid answer. Raises InvalidArgument for an argument
        of another type, and OSError for a file that cannot be read.
        """
        return self._send(segment_call(photo, parameters))

    @with_options(PhotoParameters.__annotations__)
    def segment_batch(
        self, photos: Iterable[FileSource], **parameters: Unpack[PhotoParameters]
    ) -> Iterator[Segmented | Refused]:
        """Segments several photos, as many at a time as the service takes in one request.

        Yields the result or the error of each photo, in order. A photo is read shortly before it is
        sent, so the photos may be an endless iterator. Parameters and background apply to every
        photo. Raises Refused if the service rejects a whole request, and the other errors of
        `segment`; the results of earlier requests were yielded by then.
        """
        form = batch_form(photos, parameters)
        return self._segment_batches(photos, form)

    def _segment_batches(
        self, photos: Iterable[FileSource], form: BatchForm
    ) -> Iterator[Segmented | Refused]:
        if self._batch_limits is None:
            self._batch_limits = self._send(batch_limits_call())
        for batch in split_photos(read_photos(photos), self._batch_limits, form.size):
            try:
                results = self._send(form.call(batch))
            except Refused as error:
                results = refused_photo(batch, error)
            yield from results

    def _send(self, call: Call[T]) -> T:
        def attempt() -> T:
            with translate_http_errors(self._url):
                response = self._http.request(call.method, call.path, **call.arguments)
            return call.read(response)

        return self._retries.run(attempt)


class AsyncClient:
    """Client of the service at `url`, as an asynchronous context manager.

    Arguments and errors are those of `Client`. It also opens streams.
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
        self._url = _parse_url(url)
        self._headers = _key_headers(key)
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._batch_limits: ServiceLimits | None = None
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

    async def aclose(self) -> None:
        """Closes the connections; the end of an `async with` block does it too."""
        await self._http.aclose()

    async def models(self) -> tuple[str, ...]:
        """Returns the names of the segmentation models; see `Client.models`."""
        return await self._send(models_call())

    async def failed_models(self) -> dict[str, str]:
        """Returns the reasons of models that do not serve; see `Client.failed_models`."""
        return await self._send(failed_models_call())

    @with_options(PhotoParameters.__annotations__)
    async def segment(self, photo: FileSource, **parameters: Unpack[PhotoParameters]) -> Segmented:
        """Segments one photo; see `Client.segment`. Files are read in a thread."""
        return await self._send(await asyncio.to_thread(segment_call, photo, parameters))

    @with_options(PhotoParameters.__annotations__)
    def segment_batch(
        self, photos: Iterable[FileSource], **parameters: Unpack[PhotoParameters]
    ) -> AsyncGenerator[Segmented | Refused, None]:
        """Segments several photos; see `Client.segment_batch`. Files are read in a thread."""
        return self._segment_batches(photos, parameters)

    async def _segment_batches(
        self, photos: Iterable[FileSource], parameters: PhotoParameters
    ) -> AsyncGenerator[Segmented | Refused, None]:
        form = await asyncio.to_thread(batch_form, photos, parameters)
        if self._batch_limits is None:
            self._batch_limits = await self._send(batch_limits_call())
        batches = split_photos(read_photos(photos), self._batch_limits, form.size)
        while batch := await asyncio.to_thread(next, batches, None):
            try:
                results = await self._send(form.call(batch))
            except Refused as error:
                results = refused_photo(batch, error)
            for result in results:
                yield result

    @asynccontextmanager
    async def stream(self, **options: Unpack[StreamParameters]) -> AsyncIterator[Stream]:
        """Opens a WebSocket stream for video frames, and yields it until the block ends.

        The options are those of its `config` message, such as `output="mask"`. Raises Refused if
        the service rejects the handshake or an option, StreamClosed if it closes the stream, and
        Unreachable if it cannot be reached.
        """
        async with open_stream(self._url, self._headers, self._timeout_s, options) as stream:
            yield stream

    async def _send(self, call: Call[T]) -> T:
        async def attempt() -> T:
            with translate_http_errors(self._url):
                response = await self._http.request(call.method, call.path, **call.arguments)
            return call.read(response)

        return await self._retries.run_async(attempt)


def _parse_url(text: object) -> httpx.URL:
    """Returns the URL of a service. Raises InvalidArgument unless it is http or https."""
    if not isinstance(text, str):
        kind = type(text).__name__
        raise InvalidArgument("url", f"must be text such as {EXAMPLE_URL}, not {kind}")
    if _WITHOUT_SCHEME.fullmatch(text):
        raise InvalidArgument("url", f"has no scheme; write http://{text} or https://{text}")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise InvalidArgument("url", f"{text!r} is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidArgument("url", f"must be like {EXAMPLE_URL}, not {text!r}")
    return url


def _key_headers(key: str | None) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}
