"""The LlamaIndex chat engine over our retriever and memory.

`events` is one turn told step by step (pipelines/turn_run.py), which is what the page and the API show. A turn that began is always finished: complete, interrupted (what was
streamed is kept) or failed. Knows nothing about pages, owners or where anything runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from llama_index.core.chat_engine.types import AgentChatResponse, BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.llms import ChatMessage, ChatResponse

from knowledge.errors import GakjuError, LLMInterrupted
from pipelines.chat_memory import RedisMemory, new_turn
from pipelines.events import Done, Event, Failed, Found, Token, Turn
from pipelines.memory import SessionMemory
from pipelines.retriever import to_node
from pipelines.turn_parts import TurnOptions, TurnParts
from pipelines.turn_record import TurnRecord
from pipelines.turn_run import TurnRun

log = logging.getLogger(__name__)


class FootnoteChatEngine(BaseChatEngine):
    """Answers within one session. `sessions`: None keeps no history (Redis is away), which `Done.notice` then says."""

    def __init__(
        self,
        parts: TurnParts,
        *,
        sessions: SessionMemory | None,
        session_id: str,
        options: TurnOptions | None = None,
    ) -> None:
        self._parts = parts
        self._options = options or TurnOptions()
        self._sessions = sessions
        self._session_id = session_id
        self.last_turn: Turn | None = None  # how far the latest turn came, for whoever stopped listening

    async def events(self, question: str, *, request_id: str = "") -> AsyncGenerator[Event, None]:
        """The turn for `question`. Dependency errors come as `Failed`, not as exceptions.

        Closing the generator stops the model and stores what was streamed as interrupted.
        """
        record = TurnRecord(new_turn(self._session_id, question), self._sessions)
        run = TurnRun(self._parts, self._options, record)
        try:
            async with aclosing(run.steps()) as steps:
                async for event in steps:
                    yield event
        except GakjuError as exc:
            turn = await asyncio.shield(run.fail(exc.code, interrupted=isinstance(exc, LLMInterrupted)))
            reason = getattr(exc, "reason", "")
            yield Failed(exc.code, str(exc), exc.hint, request_id, exc.retryable, turn, reason)
        except (asyncio.CancelledError, GeneratorExit):
            self.last_turn = await asyncio.shield(run.fail("stopped", interrupted=True))
            raise
        except Exception:  # the user gets a sentence and a request id, the log gets the trace
            log.exception("turn failed, request %s", request_id)
            turn = await asyncio.shield(run.fail("internal", interrupted=False))
            yield Failed("internal", "Something went wrong on our side.", "Try again.", request_id, True, turn)

    # --- the LlamaIndex chat engine ------------------------------------------------------------------------------

    async def achat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        """The whole answer. `chat_history` is not taken: this engine's history is its session's.

        Raises:
            GakjuError: the turn failed or was interrupted.
        """
        _refuse_foreign_history(chat_history)
        async with aclosing(self.events(message)) as events:
            async for event in events:
                if isinstance(event, Failed):
                    raise GakjuError(event.message, hint=event.hint)
                if isinstance(event, Done):
                    return _to_response(event.turn)
        raise GakjuError("The turn ended without an answer.")

    async def astream_chat(
        self, message: str, chat_history: list[ChatMessage] | None = None
    ) -> StreamingAgentChatResponse:
        """The answer as LlamaIndex streams it; the turn runs while the stream is read."""
        _refuse_foreign_history(chat_history)
        response = StreamingAgentChatResponse(is_writing_to_memory=False)  # the turn itself writes the memory

        async def stream() -> AsyncGenerator[ChatResponse, None]:
            text = ""
            async with aclosing(self.events(message)) as events:
                async for event in events:
                    if isinstance(event, Found):
                        response.source_nodes = [to_node(item) for item in event.evidence]
                    elif isinstance(event, Token):
                        text += event.text
                        yield ChatResponse(message=ChatMessage(role="assistant", content=text), delta=event.text)
                    elif isinstance(event, Failed):
                        raise GakjuError(event.message, hint=event.hint)

        response.achat_stream = stream()
        return response

    def chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        return asyncio.run(self.achat(message, chat_history))

    def stream_chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> StreamingAgentChatResponse:
        answer = self.chat(message, chat_history)

        def whole() -> Any:
            yield ChatResponse(message=ChatMessage(role="assistant", content=answer.response), delta=answer.response)

        return StreamingAgentChatResponse(
            chat_stream=whole(), source_nodes=answer.source_nodes, is_writing_to_memory=False
        )

    def reset(self) -> None:
        if self._sessions:
            self._memory().reset()

    @property
    def chat_history(self) -> list[ChatMessage]:
        return self._memory().get_all() if self._sessions else []

    def _memory(self) -> RedisMemory:
        assert self._sessions is not None
        return RedisMemory(self._sessions, self._session_id, last_turns=self._options.history_turns)


def _refuse_foreign_history(chat_history: list[ChatMessage] | None) -> None:
    if chat_history:
        raise ValueError("chat_history is not taken: put earlier turns into the session's memory (RedisMemory.set)")


def _to_response(turn: Turn) -> AgentChatResponse:
    return AgentChatResponse(
        response=turn.answer, source_nodes=[to_node(item) for item in turn.retrieved], metadata=turn.to_dict()
    )
