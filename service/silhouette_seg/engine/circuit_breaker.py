"""When to stop asking what only fails, and when to try it again: a policy, told the time."""


class Breaker:
    """Opens after `failures` in a row. Only a probe that passes closes it; each waits `wait_s`."""

    def __init__(self, *, failures: int, wait_s: float) -> None:
        self._failures = failures
        self._wait_s = wait_s
        self._in_a_row = 0
        self._probe_at = 0.0

    @property
    def open(self) -> bool:
        return self._in_a_row >= self._failures

    def failed(self, now: float) -> None:
        self._in_a_row += 1
        self._probe_at = now + self._wait_s

    def trip(self, now: float) -> None:
        """A probe failed, and nobody else's failures need be waited for."""
        self._in_a_row = max(self._in_a_row, self._failures)
        self._probe_at = now + self._wait_s

    def passed(self) -> None:
        """An answer. One that was asked for before the breaker opened does not close it."""
        if not self.open:
            self._in_a_row = 0

    def may_probe(self, now: float) -> bool:
        """True for one caller each time the wait is over; the others are to be refused."""
        if now < self._probe_at:
            return False
        self._probe_at = now + self._wait_s
        return True

    def close(self) -> None:
        """A probe passed."""
        self._in_a_row = 0
