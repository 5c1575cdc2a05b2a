"""`gakju ask`: a question to the running app from a terminal, streamed, with its footnotes underneath.

Speaks the two HTTP calls of the public API itself: the Gradio client waits for ever, in threads that outlive Ctrl-C,
when the app dies while it answers. Knows nothing of how answers are made.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from web.texts import PAGE, language_of

FAILED, UNREACHABLE, INTERRUPTED = 1, 3, 130
SILENCE_S = 3.0  # the app sends a sign of life twice a second while it answers; after this it is asked whether it lives
HEALTH_TIMEOUT_S = 5.0


class _AskError(Exception):
    """One sentence for the reader, and the exit code."""

    def __init__(self, sentence: str, *, exit_code: int = FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def ask(url: str, question: str, *, session_file: Path, new: bool) -> int:
    """Print the answer to `question`; the conversation's id is kept in `session_file`. Returns the exit code."""
    try:
        with httpx.Client(base_url=url, timeout=30) as client:
            return _ask(client, question, session_file=session_file, new=new)
    except _AskError as error:
        print(f"gakju: {error}", file=sys.stderr)
        return error.exit_code
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
        print(f"gakju: {url} is no address of an app ({exc}).", file=sys.stderr)
        return UNREACHABLE
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED


def _ask(client: httpx.Client, question: str, *, session_file: Path, new: bool) -> int:
    session_id = "" if new else _read(session_file)
    turn = _stream(client, question, session_id)
    if session_id and turn.get("error", {}).get("code") == "session_not_found":
        print("(the earlier conversation is gone; starting a new one)", file=sys.stderr)
        turn = _stream(client, question, "")
    if turn.get("error"):
        raise _AskError(_sentence(turn["error"]))
    _print_footnotes(turn)
    _print_related(turn, question)
    if turn.get("session_id"):
        _write(session_file, turn["session_id"])
    return 0


def _stream(client: httpx.Client, question: str, session_id: str) -> dict[str, Any]:
    """Print the answer as it grows; the JSON object that came with its end."""
    shown = ""
    turn: dict[str, Any] = {}
    for answer, turn in _outputs(client, question, session_id):
        if not turn.get("error") and answer.startswith(shown):
            print(answer[len(shown) :], end="", flush=True)
            shown = answer
    print()
    return turn


def _outputs(client: httpx.Client, question: str, session_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The answer so far and its JSON object, again and again."""
    # Read in a thread, so that this one can look whether the app lives while nothing comes. A daemon: after Ctrl-C or
    # the death of the app nobody waits for it.
    lines: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(client, question, session_id, lines), daemon=True).start()
    event = ""
    while (line := _next(client, lines)) is not None:
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event in ("generating", "complete"):
            outputs = json.loads(value)  # the text, what Gradio keeps for itself, the JSON object
            yield outputs[0] or "", outputs[-1] or {}
            if event == "complete":
                return
        elif name == "data" and event == "error":
            raise _AskError("the app could not answer; its log says why.")
    raise _AskError("the answer ended before it was complete.")


def _read_lines(
    client: httpx.Client, question: str, session_id: str, lines: queue.SimpleQueue[str | BaseException | None]
) -> None:
    try:
        posted = client.post("/gradio_api/call/v2/chat", json={"message": question, "session_id": session_id})
        event_id = _checked(posted).json()["event_id"]
        with client.stream("GET", f"/gradio_api/call/chat/{event_id}", timeout=httpx.Timeout(30, read=None)) as stream:
            if stream.is_error:
                stream.read()
            for line in _checked(stream).iter_lines():
                lines.put(line)
        lines.put(None)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, LookupError, TypeError, _AskError) as exc:
        lines.put(exc)


def _next(client: httpx.Client, lines: queue.SimpleQueue[str | BaseException | None]) -> str | None:
    """The next line of the stream; None at its end.

    Raises:
        _AskError: the app is gone, or does not speak this API.
    """
    while True:
        try:
            line = lines.get(timeout=SILENCE_S)
        except queue.Empty:
            if not _is_alive(client):
                raise _gone(client, "it stopped answering") from None
            continue
        if isinstance(line, (httpx.InvalidURL, httpx.UnsupportedProtocol, _AskError)):
            raise line
        if isinstance(line, httpx.HTTPError):
            if not _is_alive(client):
                raise _gone(client, type(line).__name__) from line
            raise _AskError(f"the connection broke before the answer was complete ({type(line).__name__}).")
        if isinstance(line, BaseException):
            raise _AskError(f"{client.base_url} does not answer as this app does ({type(line).__name__}).")
        return line


def _is_alive(client: httpx.Client) -> bool:
    try:
        client.get("/healthz", timeout=HEALTH_TIMEOUT_S)
    except httpx.HTTPError:
        return False
    return True


def _gone(client: httpx.Client, why: str) -> _AskError:
    url = str(client.base_url).rstrip("/")
    return _AskError(f"no app answers at {url} ({why}). Start it with `make run`.", exit_code=UNREACHABLE)


def _checked(response: httpx.Response) -> httpx.Response:
    if not response.is_error:
        return response
    try:
        sentence = _sentence(response.json()["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        sentence = f"{response.url} answered with status {response.status_code}; is it the address of this app?"
    raise _AskError(sentence)


def _sentence(error: dict[str, Any]) -> str:
    return f"{error['message']} {error.get('hint', '')}".strip() + f" (request {error['request_id']})"


def _print_footnotes(turn: dict[str, Any]) -> None:
    for citation in turn.get("citations", []):
        place = citation["place"]
        where = [citation["document"], *citation["heading"][-1:]]
        where += [f"p. {place['page']}"] if "page" in place else []
        print(f"  [{citation['n']}] {' · '.join(where)}")
    print(f"  — {turn.get('llm', '')}")


def _print_related(turn: dict[str, Any], question: str) -> None:
    related = turn.get("related") or []
    if related:
        print(f"\n  {PAGE[language_of('', question)]['ask_next']}:")
    for asked in related:
        print(f"  → {asked}")


def _read(session_file: Path) -> str:
    try:
        return session_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _write(session_file: Path, session_id: str) -> None:
    """Readable by its owner alone from the first moment: who knows the id knows the conversation."""
    try:
        session_file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(session_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)  # a file that an older version left open to others
            file.write(session_id)
    except OSError as exc:
        print(f"gakju: this conversation cannot be continued: {session_file}: {exc.strerror}.", file=sys.stderr)
