"""`gakju ask`: a question to the running app from a terminal, streamed, with its footnotes underneath."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx

UNREACHABLE = 3


def ask(url: str, question: str, *, session_file: Path, new: bool) -> int:
    """Print the answer to `question`; the conversation's id is kept in `session_file`. Returns the exit code."""
    from gradio_client import Client  # over half a second: not for the other commands

    try:
        client = Client(url, verbose=False, analytics_enabled=False)
    except (httpx.HTTPError, ValueError, OSError) as exc:
        print(f"gakju: no app answers at {url} ({type(exc).__name__}). Start it with `make run`.", file=sys.stderr)
        return UNREACHABLE
    session_id = "" if new else _read(session_file)
    turn = _stream(client, question, session_id)
    if session_id and turn.get("error", {}).get("code") == "session_not_found":
        print("(the earlier conversation is gone; starting a new one)", file=sys.stderr)
        turn = _stream(client, question, "")
    error = turn.get("error")
    if error:
        print(f"\ngakju: {error['message']} {error.get('hint', '')} (request {error['request_id']})", file=sys.stderr)
        return 1
    _print_footnotes(turn)
    if turn.get("session_id"):
        session_file.parent.mkdir(parents=True, exist_ok=True)
        session_file.write_text(turn["session_id"], encoding="utf-8")
        session_file.chmod(0o600)
    return 0


def _stream(client: Any, question: str, session_id: str) -> dict[str, Any]:
    shown, turn = "", {}
    for answer, turn in client.submit(question, session_id, api_name="/chat"):
        if not (turn or {}).get("error") and answer.startswith(shown):
            print(answer[len(shown) :], end="", flush=True)
            shown = answer
    print()
    return turn or {}


def _print_footnotes(turn: dict[str, Any]) -> None:
    for citation in turn.get("citations", []):
        place = citation["place"]
        where = [citation["document"], *citation["heading"][-1:]]
        where += [f"p. {place['page']}"] if "page" in place else []
        print(f"  [{citation['n']}] {' · '.join(where)}")
    print(f"  — {turn.get('llm', '')}")


def _read(session_file: Path) -> str:
    try:
        return session_file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
