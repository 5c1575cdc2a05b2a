"""A conversation as a file: Markdown for people, JSON for programs. Knows no stores and no pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pipelines.events import Turn
from pipelines.memory_directory import Session
from pipelines.prompt import passage_title

Format = Literal["markdown", "json"]
_WORDS = {
    "ko": {"asked": "질문", "searched": "검색어", "sources": "출처", "interrupted": "(중간에 끊긴 답변)"},
    "en": {"asked": "Question", "searched": "Searched for", "sources": "Sources", "interrupted": "(interrupted)"},
}


def export(session: Session, turns: Sequence[Turn], *, file_format: Format, language: str = "en") -> str:
    """The whole conversation. Markdown has the answers with their footnotes; JSON everything that is stored."""
    if file_format == "json":
        data = {"session": session.to_dict(), "turns": [turn.to_dict() for turn in turns]}
        return json.dumps(data, ensure_ascii=False, indent=2) + "\n"
    words = _WORDS["ko" if language == "ko" else "en"]
    parts = [f"# {session.title or session.id}", _time(session.created)]
    for turn in turns:
        parts.append(f"## {words['asked']}: {' '.join(turn.question.split())}")
        if turn.search_query and turn.search_query != turn.question:
            parts.append(f"_{words['searched']}: {' '.join(turn.search_query.split())}_")
        parts.append(turn.answer or f"({turn.status})")
        if turn.answer and turn.status != "complete":
            parts.append(words["interrupted"])
        if turn.citations:
            notes = [
                f"- [{citation.n}] {passage_title(citation.evidence)} ({citation.evidence.path})"
                for citation in turn.citations
            ]
            parts.append(f"{words['sources']}:\n\n" + "\n".join(notes))
    return "\n\n".join(parts) + "\n"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
