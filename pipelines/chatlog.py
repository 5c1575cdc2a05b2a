"""The chat log: one JSON line a turn, for people who want to read or count what was asked."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from pipelines.events import Turn

log = logging.getLogger(__name__)


class ChatLog:
    """Appends to `path`. A line is written with one call, so lines of several processes never mix."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, turn: Turn) -> None:
        """Log how a turn ended. A full disk must not cost the user the answer: it is reported and passed over."""
        line = json.dumps(
            {
                "ts": turn.ts,
                "session_id": turn.session_id,
                "turn_id": turn.turn_id,
                "user": turn.question,
                "assistant": turn.answer,
                "status": turn.status,
                "refused": turn.refused,
                "search_query": turn.search_query,
                "citations": [
                    {
                        "n": item.n,
                        "chunk_id": item.evidence.chunk_id,
                        "document": item.evidence.path,
                        "place": item.evidence.place.to_dict(),
                        "heading": list(item.evidence.heading),
                    }
                    for item in turn.citations
                ],
                "claims": [
                    {
                        "verdict": claim.verdict,
                        "cited": list(claim.cited),
                        "kinds": [item.kind for item in claim.reasons],
                    }
                    for claim in turn.claims
                ],
                "related": list(turn.related),
                "llm": turn.llm,
                "timings": dict(turn.timings),
                "usage": dict(turn.usage),
                "error": turn.error,
            },
            ensure_ascii=False,
        )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Conversations are private: only this user reads the file.
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, f"{line}\n".encode())
            finally:
                os.close(file)
        except (OSError, ValueError) as exc:
            log.error("chat log %s not written: %s", self._path, exc)
