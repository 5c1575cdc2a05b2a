"""When to call again: at most 3 calls, jittered, and only as often as a budget allows.

The budget keeps a server that is down from being hit three times as hard: at 50 requests a second, 60 s of failure cost
about 70 extra calls in 3,000 (https://sre.google/sre-book/handling-overload/ asks for at most 10 %).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

MAX_CALLS = 3
BUDGET_RETRIES = 10.0
BUDGET_RETRIES_PER_S = 1.0
BACKOFF_S = (0.2, 0.8)  # upper bounds of the waits before the second and the third call


class RetryBudget:
    """A token bucket shared by all calls to one server: 10 retries at once, then one a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._retries = BUDGET_RETRIES
        self._at = clock()

    def take(self) -> bool:
        """True, and one retry less, if there is one."""
        now = self._clock()
        self._retries = min(BUDGET_RETRIES, self._retries + (now - self._at) * BUDGET_RETRIES_PER_S)
        self._at = now
        if self._retries < 1:
            return False
        self._retries -= 1
        return True


def backoff_s(failed_calls: int) -> float:
    """Seconds to wait after this many failed calls; jittered so that callers do not come back together."""
    limit = BACKOFF_S[min(failed_calls, len(BACKOFF_S)) - 1]
    return random.uniform(limit / 4, limit)  # noqa: S311  not for secrets
