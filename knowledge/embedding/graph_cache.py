"""Keeps a built graph in a file: 32 bytes SHA-256 of the rest, then the rest. A broken file is built again.

Knows nothing about what the bytes mean.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_DIGEST_BYTES = 32


def load_or_build(path: Path, build: Callable[[], bytes]) -> bytes:
    """The bytes kept at `path`; if there are none or they are damaged, `build()`, then kept at `path`.

    Written to a neighbour and renamed, so that a crash or a second process never leaves half a file.
    A folder that cannot be written to costs only the rebuild at each start (0.5 s) and is logged.
    """
    content = _read_checked(path)
    if content is not None:
        return content
    content = build()
    try:
        _write_atomically(path, hashlib.sha256(content).digest() + content)
    except OSError as exc:
        logger.warning("Cannot keep the embedding graph at %s (%s); it is built again at each start.", path, exc)
    return content


def _read_checked(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            digest, content = file.read(_DIGEST_BYTES), file.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        logger.warning("Cannot read %s (%s); building it again.", path, exc)
        return None
    if hashlib.sha256(content).digest() != digest:
        logger.warning("%s is damaged; building it again.", path)
        return None
    return content


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
