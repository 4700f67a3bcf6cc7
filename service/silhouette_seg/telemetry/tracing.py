"""Interface of tracing, and the implementation for a process without traces."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from silhouette_seg.telemetry.request_id import Identity


class RequestSpan(Protocol):
    """Span of a request, from its head to the end of the response."""

    @property
    def identity(self) -> Identity:
        """Identity of the request; in a traced request its parent is this span."""
        ...

    def set_response(self, route: str, status: int, code: str) -> None:
        """Records the response; `route` is the pattern, never the path that the client sent."""
        ...


class InferenceSpan(Protocol):
    """Span of one engine call."""

    def set_queue_time(self, queue_s: float) -> None:
        """Records the seconds of the call that were spent in the queue of the engine."""
        ...


class Tracing(Protocol):
    """Receives the events of a process. `close` returns soon, even if the collector is gone."""

    def request_span(
        self, identity: Identity, method: str, path: str
    ) -> AbstractContextManager[RequestSpan]: ...

    def inference_span(self, model: str) -> AbstractContextManager[InferenceSpan]: ...

    def record_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        """Records the seconds of each stage of an image that has just been finished."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NoOpSpan:
    """Span that records nothing."""

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
    """Tracing that records nothing."""

    def request_span(self, identity: Identity, method: str, path: str) -> NoOpSpan:
        return NoOpSpan(identity)

    def inference_span(self, model: str) -> NoOpSpan:
        return NO_OP_SPAN

    def record_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass
