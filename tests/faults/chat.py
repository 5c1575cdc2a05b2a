"""A client of the running app's API on the standard library alone: a question in, what the page would show as it comes.

python -m tests.faults.chat URL QUESTION [SESSION]   prints a JSON line for each state of the answer
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

Shown = tuple[str, dict[str, Any]]  # the answer so far, and the JSON object beside it


def stream(url: str, question: str, session_id: str = "", *, timeout_s: float = 120) -> Generator[Shown, None, None]:
    """Closing the iterator closes the connection. Raises: OSError or HTTPException where the app goes away."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)) as connection:
        body = json.dumps({"message": question, "session_id": session_id})
        connection.request("POST", "/gradio_api/call/v2/chat", body, {"Content-Type": "application/json"})
        event = json.loads(connection.getresponse().read())["event_id"]
    with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)) as connection:
        connection.request("GET", f"/gradio_api/call/chat/{event}")
        response = connection.getresponse()
        kind = ""
        while line := response.readline().decode():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ").strip()
            elif line.startswith("data: ") and kind in ("generating", "complete"):
                answer, *_, turn = json.loads(line.removeprefix("data: "))
                yield answer, turn
                if kind == "complete":
                    return
            elif line.startswith("data: ") and kind == "error":
                raise ConnectionError(line)
    raise ConnectionError("the stream ended before the answer was complete")


def ask(url: str, question: str, session_id: str = "", *, timeout_s: float = 120) -> Shown:
    """The last state: the whole answer."""
    *_, last = stream(url, question, session_id, timeout_s=timeout_s)
    return last


if __name__ == "__main__":
    for state in stream(*sys.argv[1:4]):
        print(json.dumps(state), flush=True)
