"""How long a start takes and how much memory the app holds.

    python -m eval start [--cold]

Warm: this checkout's app on data that is there, three starts, from the command to `Ready:`; then the resident memory of
the app process after one question and 20 s of rest. With --cold also a fresh clone of the committed state: `make run`
from nothing installed to the first answered question (downloads included).
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gradio_client import Client

from settings import PROJECT_DIR

QUESTION = "환율이 떨어지면 옥수수 가격이 어떻게 바뀔까?"
WARM_STARTS = 3
REST_S = 20
START_LIMIT_S = 900


@contextmanager
def started(command: Sequence[str], folder: Path, data_dir: Path) -> Iterator[tuple[str, float, int]]:
    """Run `command` in `folder` until the block ends; gives the page's URL, seconds to Ready, and the process id."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PORT": "0", "DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            ready = re.match(r"Ready: (\S+)", line)
            if ready:
                yield ready[1], time.monotonic() - began, process.pid
                return
        raise RuntimeError(f"{' '.join(command)} ended with {process.wait(START_LIMIT_S)} before it was ready")
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def ask(url: str) -> None:
    answer, _ = Client(url, verbose=False).predict(QUESTION, "", api_name="/chat")
    if "[1]" not in answer:
        raise RuntimeError(f"no cited answer: {answer!r}")


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval start", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cold", action="store_true", help="also measure a fresh clone (downloads a gigabyte)")
    arguments = parser.parse_args(argv)
    command = [sys.executable, "-m", "app", "run"]
    with tempfile.TemporaryDirectory() as scratch:
        data_dir = Path(scratch) / "data"
        with started(command, PROJECT_DIR, data_dir) as (url, first_s, pid):
            print(f"first start, installed, empty data   {first_s:6.1f} s")
            ask(url)
            time.sleep(REST_S)
            print(f"resident memory at rest, after it    {resident_mb(pid):6.0f} MB")
        seconds = []
        for number in range(WARM_STARTS):
            with started(command, PROJECT_DIR, data_dir) as (url, ready_s, pid):
                seconds.append(ready_s)
                if number == WARM_STARTS - 1:
                    ask(url)
                    time.sleep(REST_S)
                    print(f"resident memory at rest              {resident_mb(pid):6.0f} MB")
        print(f"warm start to Ready, median of {WARM_STARTS}     {statistics.median(seconds):6.1f} s")
        if arguments.cold:
            clone = Path(scratch) / "clone"
            subprocess.run(["git", "clone", "--quiet", str(PROJECT_DIR), str(clone)], check=True)
            began = time.monotonic()
            with started(["make", "run"], clone, clone / ".data") as (url, ready_s, _):
                ask(url)
                print(f"cold `make run` to Ready             {ready_s:6.1f} s")
                print(f"cold `make run` to an answer         {time.monotonic() - began:6.1f} s")
    print(f"load average (1, 5, 15 min)          {' '.join(f'{value:.1f}' for value in os.getloadavg())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
