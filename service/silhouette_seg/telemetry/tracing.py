"""The seam of tracing: what is told of a request, and to nobody where no trace is asked for."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Protocol, Self

from silhouette_seg.telemetry.request_id import Identity

OTEL_EXTRA = "otel"
"""Of pyproject.toml: what brings OpenTelemetry's SDK."""


class RequestSpan(Protocol):
    """One request, from its head to the end of its answer."""

    @property
    def identity(self) -> Identity:
        """The caller's; where the request is traced, with our span in the place of the caller's."""
        ...

    def set_response(self, route: str, status: int, code: str) -> None:
        """`route` is the pattern, never the path that a client sent."""
        ...


class InferenceSpan(Protocol):
    """One call of an engine."""

    def set_queue_time(self, queue_s: float) -> None:
        """Of its time, before it ran."""
        ...


class Tracing(Protocol):
    """Told of what happens; `close` returns soon, whether or not anybody takes the last spans."""

    def request_span(
        self, identity: Identity, method: str, path: str
    ) -> AbstractContextManager[RequestSpan]: ...

    def inference_span(self, model: str) -> AbstractContextManager[InferenceSpan]: ...

    def record_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        """Of an image that is done now."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NoOpSpan:
    """Where nobody looks."""

    identity: Identity

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def set_response(self, route: str, status: int, code: str) -> None:
        pass

    def set_queue_time(self, queue_s: float) -> None:
        pass


NO_OP_SPAN = NoOpSpan(Identity(""))


class NoOpTracing:
    def request_span(self, identity: Identity, method: str, path: str) -> NoOpSpan:
        return NoOpSpan(identity)

    def inference_span(self, model: str) -> NoOpSpan:
        return NO_OP_SPAN

    def record_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


def open_tracing(endpoint: str | None, version: str) -> Tracing:
    """Sends spans to the collector at `endpoint`; without one nothing is loaded, nothing is sent.

    Raises ValueError when the SDK is not installed.
    """
    if endpoint is None:
        return NoOpTracing()
    try:
        otel = import_module("silhouette_seg.telemetry.otel")
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: install silhouette[{OTEL_EXTRA}]") from error
    opened: Tracing = otel.open_otel_tracing(endpoint, version)
    return opened
