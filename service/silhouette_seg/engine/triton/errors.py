"""Maps gRPC status and text of a failed Triton call to an error of the service."""

from silhouette_seg.engine.base import queue_timeout_error
from silhouette_seg.errors import (
    DeadlineExceeded,
    EngineDown,
    EngineFailed,
    Overloaded,
    ServiceError,
)

MODEL_FAILURE_STATUSES = ("INTERNAL", "UNKNOWN")
"""gRPC statuses of a model that fails, or of which the Python backend's stub process is dead."""
SHUTDOWN_TEXTS = (
    "Server is stopping",
    "Server exiting",
    "is not at ready state",
    "has no available versions",
)
"""Parts of the text of the gRPC status UNAVAILABLE from a server that is stopping or starting."""


def error_from_status(status: str, text: str, *, known: bool) -> ServiceError:
    """Returns the error of the service for a failed Triton call, by its gRPC status and text.

    `known` is true if the server had the model before. UNAVAILABLE means four things that only its
    text distinguishes. The text never reaches callers: it may hold tracebacks and paths.
    """
    match status:
        case "UNAVAILABLE" if "maximum queue size" in text:
            return Overloaded("Too many images are waiting", retry_after_s=1)
        case "UNAVAILABLE" if "Request timeout expired" in text:
            return queue_timeout_error()
        case "UNAVAILABLE" if any(shutdown in text for shutdown in SHUTDOWN_TEXTS):
            return _restarting()
        case "UNAVAILABLE" | "CANCELLED":
            return EngineDown()
        case "NOT_FOUND" if known:
            return _restarting()  # Triton unloads its models before it exits
        case "NOT_FOUND":
            return EngineFailed("The inference server does not have the model")
        case "DEADLINE_EXCEEDED":
            return deadline_error()
    return EngineFailed("The inference engine failed")


def _restarting() -> EngineDown:
    return EngineDown("The inference server is restarting", retry_after_s=1)


def deadline_error() -> DeadlineExceeded:
    return DeadlineExceeded("The model did not respond in time")
