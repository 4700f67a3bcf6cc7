"""What a failed call of Triton means, by its gRPC status and text."""

from silhouette_seg.errors import (
    DeadlineExceeded,
    EngineDown,
    EngineFailed,
    Overloaded,
    ServiceError,
)

MODEL_FAILURE_STATUSES = ("INTERNAL", "UNKNOWN")
"""What a model answers that fails, and what the server does whose Python stub is dead."""
SHUTDOWN_TEXTS = (
    "Server is stopping",
    "Server exiting",
    "is not at ready state",
    "has no available versions",
)


def error_from_status(status: str, text: str, *, known: bool) -> ServiceError:
    """`known` says that the model was there before.

    UNAVAILABLE means four things that only its text tells apart. The text is for us alone: it may
    hold tracebacks and paths.
    """
    match status:
        case "UNAVAILABLE" if "maximum queue size" in text:
            return Overloaded("Too many images are waiting", retry_after_s=1)
        case "UNAVAILABLE" if "Request timeout expired" in text:
            return queue_timeout_error()
        case "UNAVAILABLE" if any(said in text for said in SHUTDOWN_TEXTS):
            return _restarting()
        case "UNAVAILABLE" | "CANCELLED":
            return EngineDown("The inference server is not there")
        case "NOT_FOUND" if known:
            return _restarting()  # models are unloaded before the server is gone
        case "NOT_FOUND":
            return EngineFailed("The inference server does not have the model")
        case "DEADLINE_EXCEEDED":
            return deadline_error()
    return EngineFailed("The inference engine failed")


def _restarting() -> EngineDown:
    return EngineDown("The inference server is restarting", retry_after_s=1)


def queue_timeout_error() -> Overloaded:
    return Overloaded("The image waited too long for the model", retry_after_s=1)


def deadline_error() -> DeadlineExceeded:
    return DeadlineExceeded("The model did not answer in time")
