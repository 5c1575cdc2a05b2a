"""The frame around every parser: its objects, then either {"done": true} or {"error": reason}. Knows no formats."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

_PR_SET_PDEATHSIG = 1


class Refused(Exception):
    """A parser's reason for reading no further, as in ReadFailed; `what` was wrong, without the file's name."""

    def __init__(self, reason: str, what: str = "") -> None:
        super().__init__(what or reason)
        self.reason = reason
        self.what = what


def framed(parse: Callable[[bytes], Iterator[dict[str, Any]]], data: bytes) -> Iterator[dict[str, Any]]:
    """What `parse` yields, and how it ended; never raises."""
    try:
        yield from parse(data)
    except Refused as exc:
        yield {"error": exc.reason}
    except (MemoryError, RecursionError):
        yield {"error": "too_large"}
    except Exception:  # noqa: BLE001 - whatever the parser raises, the file is at fault
        yield {"error": "damaged"}
    else:
        yield {"done": True}


def die_with_parent() -> None:
    """Have the system kill this process when the thread that started it ends (Linux), as that waits for it."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
