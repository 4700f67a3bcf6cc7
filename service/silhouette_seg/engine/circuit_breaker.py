"""When to stop asking what only fails, and when to try it again: a policy, told the time."""


class CircuitBreaker:
    """Opens after `failure_threshold` consecutive failures. Only a successful probe closes it."""

    def __init__(self, *, failure_threshold: int, probe_interval_s: float) -> None:
        self._failure_threshold = failure_threshold
        self._probe_interval_s = probe_interval_s
        self._consecutive_failures = 0
        self._next_probe_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._consecutive_failures >= self._failure_threshold

    def record_failure(self, now: float) -> None:
        self._consecutive_failures += 1
        self._next_probe_at = now + self._probe_interval_s

    def trip(self, now: float) -> None:
        """A probe failed, and nobody else's failure_threshold need be waited for."""
        self._consecutive_failures = max(self._consecutive_failures, self._failure_threshold)
        self._next_probe_at = now + self._probe_interval_s

    def record_success(self) -> None:
        """An answer. One that was asked for before the breaker opened does not close it."""
        if not self.is_open:
            self._consecutive_failures = 0

    def try_probe(self, now: float) -> bool:
        """True for one caller each time the wait is over; the others are to be refused."""
        if now < self._next_probe_at:
            return False
        self._next_probe_at = now + self._probe_interval_s
        return True

    def close(self) -> None:
        """A probe passed."""
        self._consecutive_failures = 0
