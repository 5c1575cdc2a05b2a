"""The LlamaIndex face of one session in pipelines/memory.py, for our chat engine and for stock ones.

A user message opens a turn, the assistant's message that follows completes it; a turn is never half.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.memory import BaseMemory
from pydantic import PrivateAttr

from pipelines.events import Turn
from pipelines.memory import SessionMemory


class RedisMemory(BaseMemory):
    """History of `session_id`. `last_turns`: how many turns `get` gives to a prompt."""

    session_id: str
    last_turns: int = 6
    _sessions: SessionMemory = PrivateAttr()

    def __init__(self, sessions: SessionMemory, session_id: str, *, last_turns: int = 6) -> None:
        super().__init__(session_id=session_id, last_turns=last_turns)  # type: ignore[call-arg]
        self._sessions = sessions

    @classmethod
    def class_name(cls) -> str:
        return "RedisMemory"

    @classmethod
    def from_defaults(cls, **kwargs: Any) -> RedisMemory:
        return cls(kwargs["sessions"], kwargs["session_id"], last_turns=kwargs.get("last_turns", 6))

    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: A002 - LlamaIndex's name
        return to_messages(self._sessions.turns(self.session_id, last=self.last_turns))

    def get_all(self) -> list[ChatMessage]:
        return to_messages(self._sessions.turns(self.session_id))

    def put(self, message: ChatMessage) -> None:
        if message.role == MessageRole.USER:
            self._sessions.begin(new_turn(self.session_id, message.content or ""))
        elif message.role == MessageRole.ASSISTANT:
            pending = [turn for turn in self._sessions.turns(self.session_id, last=1) if turn.status == "pending"]
            turn = pending[0] if pending else new_turn(self.session_id, "")
            if not pending:
                self._sessions.begin(turn)
            self._sessions.finish(replace(turn, answer=message.content or "", status="complete"))

    def set(self, messages: list[ChatMessage]) -> None:
        turns: list[Turn] = []
        for message in messages:
            if message.role == MessageRole.USER:
                turns.append(new_turn(self.session_id, message.content or ""))
            elif message.role == MessageRole.ASSISTANT:
                turn = turns.pop() if turns and turns[-1].status == "pending" else new_turn(self.session_id, "")
                turns.append(replace(turn, answer=message.content or "", status="complete"))
        self._sessions.replace_turns(self.session_id, turns)

    def reset(self) -> None:
        self._sessions.replace_turns(self.session_id, [])


def new_turn(session_id: str, question: str) -> Turn:
    return Turn(turn_id=uuid.uuid4().hex, session_id=session_id, ts=time.time(), question=question)


def to_messages(turns: list[Turn]) -> list[ChatMessage]:
    """Turns as messages: only those that have an answer, since a model must not see a question left hanging."""
    messages: list[ChatMessage] = []
    for turn in turns:
        if turn.answer and turn.status in ("complete", "interrupted"):
            if turn.question:
                messages.append(ChatMessage(role=MessageRole.USER, content=turn.question))
            messages.append(ChatMessage(role=MessageRole.ASSISTANT, content=turn.answer))
    return messages
