"""What stands beside the numbers of a run, and the files that they are written to. Knows nothing about what is measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.beir import SetError
from settings import PROJECT_DIR

_PICTURES = (".png", ".svg", ".pdf")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def machine_name() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory_gib:.0f} GiB, Python {platform.python_version()}"


def commit_name() -> str:
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty=, changed since"],
            cwd=PROJECT_DIR, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit"


def load_average() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def must_be_writable(*files: Path | None) -> None:
    """Before an hour of work rather than after it; makes the folders. None: was not asked for.

    Raises:
        SetError: one of them cannot be written.
    """
    for file in filter(None, files):
        was_there = file.exists()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.open("ab").close()
            if not was_there:
                file.unlink()
        except OSError as exc:
            raise SetError(f"{file} cannot be written: {exc.strerror}.") from exc


def must_be_picture(file: Path) -> None:
    """Raises:
    SetError: its name ends in nothing that can be drawn.
    """
    if file.suffix.lower() not in _PICTURES:
        raise SetError(f"{file} is no name of a picture: let it end in {', '.join(_PICTURES)}.")


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Raises:
    SetError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as exc:
        raise SetError(f"{file} cannot be written: {exc.strerror}.") from exc
