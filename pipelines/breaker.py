"""Leaves a server alone that keeps failing, and asks it again now and then: a circuit breaker with one probe at a time.

Without it, each question asked of a server that hangs waits out the whole deadline, and one that comes back is met by
everybody at once. Knows nothing about servers: it is told how each call went.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES = 5
REST_S = (1.0, 5.0)  # after the first failed probe the rest is twice as long, and so on up to the second value
_PROBE_LIMIT_S = 60.0  # a probe that nobody ended counts as lost


class Breaker:
    """Closed until `failures` calls in a row failed; then open, and after a rest one call at a time may try."""

    def __init__(self, *, failures: int = FAILURES, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._clock = clock
        self._failures = 0
        self._rest_s = REST_S[0]
        self._open_until = 0.0
        self._probe_until = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._limit

    @property
    def is_resting(self) -> bool:
        """Nobody may call now; unlike `wait_s`, asking takes no probe."""
        return self.is_open and self._clock() < max(self._open_until, self._probe_until)

    def wait_s(self) -> float:
        """Seconds until a call may be made; 0: now. Of an open breaker, who gets 0 is the probe and must tell how it went."""
        if not self.is_open:
            return 0.0
        now = self._clock()
        free_at = max(self._open_until, self._probe_until)
        if now < free_at:
            return max(self._open_until - now, 0.1)
        self._probe_until = now + _PROBE_LIMIT_S
        return 0.0

    def succeeded(self) -> None:
        self._failures, self._rest_s = 0, REST_S[0]
        self._open_until = self._probe_until = 0.0

    def failed(self) -> None:
        was_open = self.is_open
        self._failures += 1
        if was_open and self._probe_until:
            self._rest_s = min(2 * self._rest_s, REST_S[1])
        if self.is_open:
            self._open_until = self._clock() + self._rest_s
        self._probe_until = 0.0

    def untold(self) -> None:
        """The call ended without saying anything of the server (it was cancelled): the next may probe."""
        self._probe_until = 0.0


class Breakers:
    """One for each of several servers, made when it is first asked for."""

    def __init__(self, *, failures: int = FAILURES) -> None:
        self._failures = failures
        self._breakers: dict[str, Breaker] = {}

    def of(self, server: str) -> Breaker:
        return self._breakers.setdefault(server, Breaker(failures=self._failures))
