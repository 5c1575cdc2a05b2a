"""A connection to PostgreSQL that waits for an answer as long as it is told to, and then counts as lost.

psycopg waits for ever: of a server behind a network that swallows everything, its threads and its pool would never come
back. Knows nothing about pools or what is asked.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.errors import _WaitTimeout

_CANCEL_LIMIT_S = 1.0


class PatientConnection(psycopg.Connection[Any]):
    """`answer_limit_s`: seconds that one answer may take; None: as long as it takes."""

    answer_limit_s: float | None = None

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Raises:
        psycopg.OperationalError: no answer in time. The connection is closed, since nobody knows what it would say next.
        """
        kwargs.setdefault("timeout", self.answer_limit_s)
        try:
            return super().wait(gen, *args, **kwargs)
        except _WaitTimeout as exc:
            with suppress(psycopg.Error):  # a server that is only slow should stop working on it
                self.cancel_safe(timeout=_CANCEL_LIMIT_S)
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {kwargs['timeout']:g} s") from exc
