"""Policy for repeating a call, carried out by tenacity."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
)

from silhouette_seg.client.errors import ClientError, Refused

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """Policy for repeating a call that ended in a retryable error: number, delays and limits."""

    tries: int = 9
    """Maximum number of tries, the first included."""
    total_s: float = 20.0
    """Seconds from the start of the first try, before which the last must start."""
    first_s: float = 0.25
    """Seconds of the first wait if the service sends no `Retry-After`.

    Each further wait is twice as long, up to `longest_s`.
    """
    longest_s: float = 2.0
    """Maximum seconds of a wait without `Retry-After`."""
    busy_s: float | None = None
    """Replaces `tries` and `total_s` while the service answers with a retryable error.

    It is the number of seconds in which the last try must start. None: a busy service gets no more
    tries than one that is unreachable.
    """
    sleep: Callable[[float], Any] | None = None
    """Function that waits for a number of seconds, asynchronous for AsyncClient; None: the usual.

    Tests replace it.
    """

    def run(self, attempt: Callable[[], T]) -> T:
        """Returns the result of `attempt`, which is called again after a retryable error.

        Raises the error of the last try.
        """
        return Retrying(sleep=self.sleep or time.sleep, **self._policy())(attempt)

    async def run_async(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Awaits `attempt`, and otherwise works like `run`."""
        return await AsyncRetrying(sleep=self.sleep or asyncio.sleep, **self._policy())(attempt)

    def wait_s(self, state: RetryCallState) -> float:
        """Returns the seconds to wait before the next try."""
        error = _error_of(state)
        if error.retry_after_s is not None:
            return error.retry_after_s
        return wait_exponential(multiplier=self.first_s, max=self.longest_s)(state)

    def is_last(self, state: RetryCallState) -> bool:
        """Returns whether the policy allows no further try after that of `state`."""
        if self.busy_s is not None and isinstance(_error_of(state), Refused):
            return stop_before_delay(self.busy_s)(state)
        stop = stop_after_attempt(self.tries) | stop_before_delay(self.total_s)
        return stop(state)

    def _policy(self) -> dict[str, Any]:
        """Returns the arguments of tenacity's retrying objects."""
        return {
            "retry": retry_if_exception(_is_retryable),
            "wait": self.wait_s,
            "stop": self.is_last,
            "reraise": True,
        }


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ClientError) and error.retryable


def _error_of(state: RetryCallState) -> ClientError:
    """Returns the error of the last try, which is retryable."""
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, ClientError)
    return error
