"""Interface for trace spans, and an implementation that records nothing."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from silhouette_seg.telemetry.request_id import Identity


class RequestSpan(Protocol):
    """Trace span of an HTTP request, from its headers to the end of the response."""

    @property
    def identity(self) -> Identity:
        """Ids of the request; if it is traced, this span is the parent of further calls."""
        ...

    def set_response(self, route: str, status: int, code: str) -> None:
        """Records HTTP status and error code of the response, and the pattern of the route.

        `route` is never the path that the client sent.
        """
        ...


class InferenceSpan(Protocol):
    """Trace span of one inference."""

    def set_queue_time(self, queue_s: float) -> None:
        """Records the seconds of the inference that were a wait in the model's queue."""
        ...


class Tracing(Protocol):
    """Interface for the trace spans of a process: requests, inferences, and stages of images.

    `close` returns within seconds, even if the collector of the spans is gone.
    """

    def request_span(
        self, identity: Identity, method: str, path: str
    ) -> AbstractContextManager[RequestSpan]: ...

    def inference_span(self, model: str) -> AbstractContextManager[InferenceSpan]: ...

    def record_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        """Creates a trace span for each stage of an image that was finished just now.

        `seconds` has the duration of each stage by name.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NoOpSpan:
    """Trace span of a request or an inference that records nothing."""

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
