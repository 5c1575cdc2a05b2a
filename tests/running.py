"""Starts the real app as a user does, in a process of its own, and waits for `Ready:`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
READY = re.compile(r"^Ready: (\S+)", re.MULTILINE)


@dataclass
class RunningApp:
    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def stop(self, number: int = signal.SIGINT, timeout_s: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


@contextmanager
def run_app(data_dir: Path, *, timeout_s: float = 180, **environment: str) -> Iterator[RunningApp]:
    """The app on a free port with its state under `data_dir`; stopped at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "run"],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(data_dir), "PORT": "0", "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    app = RunningApp(process)
    reader = threading.Thread(target=lambda: app.lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    deadline = time.monotonic() + timeout_s
    try:
        while not (ready := READY.search(app.output)):
            if process.poll() is not None or time.monotonic() > deadline:
                reader.join(5)
                raise AssertionError(f"the app did not get ready (exit code {process.poll()}):\n{app.output}")
            time.sleep(0.05)
        app.url = ready[1]
        yield app
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # a kill would leave its servers running
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def server_pids(data_dir: Path) -> dict[str, int]:
    """Process ids of the embedded servers that work on `data_dir`, by name: postgres, valkey."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            cwd = os.readlink(folder / "cwd")
        except (OSError, ValueError, IndexError):
            continue
        program = Path(command[0].decode(errors="replace").split(" ")[0].rstrip(":")).name
        inside = str(data_dir) in cwd or str(data_dir).encode() in b" ".join(command)
        if inside and "valkey" in program:
            found["valkey"] = int(folder.name)
        elif inside and program == "postgres" and not _is_postgres(parent):
            found["postgres"] = int(folder.name)
    return found


def _is_postgres(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False
