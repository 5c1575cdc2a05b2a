"""Hashes files again and says which are no longer what was stored. Unlike ingest/disk.py it trusts no size or time.

Knows nothing about command lines or SQL.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from ingest.files import content_hash, file_of, is_gone
from knowledge.verification import StoredFile

Verdict = Literal["same", "in_archive", "changed", "gone", "unreadable"]
_HASHERS = 2
_TOGETHER = 64


def rehashed(files: Iterable[StoredFile]) -> Iterator[tuple[StoredFile, Verdict]]:
    """Each of `files`, in order, with what became of it. Of a file in an archive only that the archive is there."""
    waiting = iter(files)
    with ThreadPoolExecutor(_HASHERS, thread_name_prefix="hash") as pool:
        while some := list(itertools.islice(waiting, _TOGETHER)):
            yield from zip(some, pool.map(_verdict, some), strict=True)


def _verdict(file: StoredFile) -> Verdict:
    path = Path(file.origin)
    if file_of(file.origin) != path:
        return "in_archive"
    try:
        if is_gone(path):
            return "gone"
        return "same" if content_hash(path) == file.content_hash else "changed"
    except FileNotFoundError:
        return "gone"
    except OSError:
        return "unreadable"
