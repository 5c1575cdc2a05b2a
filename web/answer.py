"""The events of one turn folded into what the page and the API show: a Markdown text and one JSON object.

Knows nothing of Gradio, streams or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipelines.events import Answered, Checked, Done, Event, Failed, Found, Searching, Started, Token, ToolCalled, Turn
from web.inert import without_images
from web.texts import PAGE, Language, error_text


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of an answer at one moment. `phase`: starting, searching, reading, asking, answering, checking, suggesting or finished."""

    question: str
    session_id: str = ""
    turn_id: str = ""
    phase: str = "starting"
    search_query: str = ""
    found: int = 0
    text: str = ""
    turn: Turn | None = None
    notice: str = ""
    failure: Failed | None = None

    def after(self, event: Event) -> Answer:
        """The answer once `event` happened."""
        match event:
            case Started(session_id, turn_id):
                return replace(self, session_id=session_id, turn_id=turn_id)
            case Searching(query):
                return replace(self, phase="searching", search_query=query)
            case Found(evidence):
                return replace(self, phase="reading", found=len(evidence))
            case Token(text):
                return replace(self, phase="answering", text=self.text + text)
            case ToolCalled():
                return replace(self, phase="asking")
            case Checked():
                return replace(self, phase="checking")
            case Answered(turn, notice):
                return replace(self, phase="suggesting", turn=turn, text=turn.answer, notice=notice)
            case Done(turn, notice):
                return replace(self, phase="finished", turn=turn, text=turn.answer, notice=notice)
            case Failed(turn=turn):
                text = turn.answer if turn is not None and turn.answer else self.text
                return replace(self, phase="finished", turn=turn, text=text, failure=event)

    def markdown(self, language: Language) -> str:
        """The answer with `[n]`, and after it what went wrong, if anything did."""
        text = without_images(self.text).strip()
        if self.failure is None:
            return text
        trouble = _trouble(self.failure, language)
        return f"{text}\n\n---\n\n{trouble}" if text else trouble

    def to_dict(self) -> dict[str, Any]:
        """The JSON object beside the text. `phase` only until the end, `found` until the answer is whole, `error` after a failure."""
        shown = turn_dict(self.turn or Turn(self.turn_id, self.session_id, 0, self.question))
        shown["notice"] = self.notice
        if self.turn is None:
            shown |= {"search_query": self.search_query, "status": "failed" if self.failure else "pending"}
        if self.failure is not None:
            shown["error"] = {
                "code": self.failure.code,
                "message": self.failure.message,
                "hint": self.failure.hint,
                "request_id": self.failure.request_id,
            }
        elif self.turn is None:
            shown |= {"phase": self.phase, "found": self.found}
        elif self.phase != "finished":
            shown["phase"] = self.phase
        return shown


def turn_dict(turn: Turn) -> dict[str, Any]:
    """A turn as the API shows it: the evidence and how it came about, without question and answer."""
    whole = turn.to_dict()
    names = (
        "session_id",
        "turn_id",
        "citations",
        "retrieved",
        "claims",
        "related",
        "llm",
        "timings",
        "status",
        "search_query",
        "refused",
    )
    return {name: whole[name] for name in names} | {"notice": ""}


def stored_markdown(turn: Turn, language: Language) -> str:
    """The answer of a turn out of the history, with a word on how it ended where it did not end well."""
    text = without_images(turn.answer).strip()
    if turn.status == "complete":
        return text
    texts = PAGE[language]
    remark = texts["pending"] if turn.status == "pending" else texts["interrupted"]
    if turn.error:
        remark, _ = error_text(
            language, code=turn.error, message=texts["failed" if not text else "interrupted"], hint=""
        )
    return f"{text}\n\n---\n\n⚠️ {remark}" if text else f"⚠️ {remark}"


def _trouble(failure: Failed, language: Language) -> str:
    message, hint = error_text(
        language, code=failure.code, message=failure.message, hint=failure.hint, reason=failure.reason
    )
    lines = [f"⚠️ **{message}** {hint}".strip()]
    if failure.request_id:
        lines.append(f"{PAGE[language]['request_id']}: `{failure.request_id}`")
    return "\n\n".join(lines)
