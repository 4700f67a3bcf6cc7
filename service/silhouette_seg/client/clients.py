"""The clients of the service: `Client` is synchronous, `AsyncClient` asynchronous.

Both send the calls of `client.calls`, and repeat them as `client.retries` says.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

import httpx

from silhouette_seg.client.calls import (
    Call,
    Segmented,
    Value,
    batch_call,
    failed_models_call,
    models_call,
    segment_call,
)
from silhouette_seg.client.errors import Refused, translate_http_errors
from silhouette_seg.client.retries import Retries
from silhouette_seg.client.stream import Option, Stream, open_stream
from silhouette_seg.runtime.sources import FileSource

T = TypeVar("T")


class Client:
    """Client of the service at `url`, as a context manager.

    `key` is an API key, and `timeout_s` bounds each try in seconds. `transport` replaces httpx's
    transport. Several threads may share a client. Raises ValueError unless the URL is http or https
    with a host.
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

    def segment(
        self,
        photo: FileSource,
        *,
        background_image: FileSource | None = None,
        **parameters: Value,
    ) -> Segmented:
        """Segments one photo, and returns the result image.

        The photo is a path, the bytes of an image file, or a binary file that is open.
        `parameters` are those of `POST /v1/segment`, such as `output="cutout"`. After a retryable
        error the request is repeated, as `retries` allows. Raises Refused for an error of the
        service, and Unreachable without a valid answer. Raises InvalidArgument for an argument of
        another type, and OSError for a file that cannot be read.
        """
        return self._send(segment_call(photo, background_image, parameters))

    def segment_batch(
        self,
        photos: Sequence[FileSource],
        *,
        background_image: FileSource | None = None,
        **parameters: Value,
    ) -> list[Segmented | Refused]:
        """Segments several photos with one `POST /v1/segment/batch`.

        Returns the result or the error of each photo, in order. Parameters and background apply to
        every photo. Raises Refused if the service rejects the whole batch, and the other errors of
        `segment`.
        """
        return self._send(batch_call(photos, background_image, parameters))

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

    async def segment(
        self,
        photo: FileSource,
        *,
        background_image: FileSource | None = None,
        **parameters: Value,
    ) -> Segmented:
        """Segments one photo; see `Client.segment`. Files are read in a thread."""
        call = await asyncio.to_thread(segment_call, photo, background_image, parameters)
        return await self._send(call)

    async def segment_batch(
        self,
        photos: Sequence[FileSource],
        *,
        background_image: FileSource | None = None,
        **parameters: Value,
    ) -> list[Segmented | Refused]:
        """Segments several photos; see `Client.segment_batch`. Files are read in a thread."""
        call = await asyncio.to_thread(batch_call, photos, background_image, parameters)
        return await self._send(call)

    @asynccontextmanager
    async def stream(self, **options: Option) -> AsyncIterator[Stream]:
        """Opens a WebSocket stream for video frames, and yields it until the block ends.

        `options` are those of its `config` message, such as `output="mask"`. Raises Refused if the
        service rejects the handshake or an option, StreamClosed if it closes the stream, and
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


def _parse_url(text: str) -> httpx.URL:
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{text!r} is not like http://host:port")
    return url


def _key_headers(key: str | None) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}
