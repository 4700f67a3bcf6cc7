"""Circuit breaker: stops calls to a model that keeps failing and schedules probes of it.

A probe is a trial call. The breaker has no clock; callers pass the time in seconds.
"""


class CircuitBreaker:
    """Opens after `failure_threshold` consecutive failures; only a successful probe closes it.

    While it is open, no calls except probes are made. Probes are at least `probe_interval_s`
    seconds apart.
    """

    def __init__(self, *, failure_threshold: int, probe_interval_s: float) -> None:
        self._failure_threshold = failure_threshold
        self._probe_interval_s = probe_interval_s
        self._consecutive_failures = 0
        self._next_probe_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._consecutive_failures >= self._failure_threshold

    def record_failure(self, now: float) -> None:
        """Counts a failed call at the time `now` and postpones the next probe by one interval."""
        self._consecutive_failures += 1
        self._next_probe_at = now + self._probe_interval_s

    def trip(self, now: float) -> None:
        """Opens the breaker at the time `now`, after a failed probe, regardless of the count."""
        self._consecutive_failures = max(self._consecutive_failures, self._failure_threshold)
        self._next_probe_at = now + self._probe_interval_s

    def record_success(self) -> None:
        """Resets the count of failures of a closed breaker after a successful call.

        An open breaker stays open: the call may have started before it opened.
        """
        if not self.is_open:
            self._consecutive_failures = 0

    def try_probe(self, now: float) -> bool:
        """Returns True if a probe is due at the time `now`; the caller must then probe.

        Other callers get False for the rest of the interval.
        """
        if now < self._next_probe_at:
            return False
        self._next_probe_at = now + self._probe_interval_s
        return True

    def close(self) -> None:
        """Closes the breaker after a successful probe."""
        self._consecutive_failures = 0
