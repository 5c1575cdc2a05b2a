"""One turn of the conversation, as it flows: remember, rewrite, retrieve, prompt, stream, cite, remember.

`FootnoteChatEngine` is a LlamaIndex chat engine over our retriever and memory; `events` is the same turn told step by
step, which is what the page and the API show. A turn that began is always finished: complete, interrupted (what was
streamed is kept) or failed. Knows nothing about pages, owners or where anything runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from llama_index.core.chat_engine.types import AgentChatResponse, BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.llms import LLM, ChatMessage, ChatResponse

from knowledge.errors import (
    DatabaseUnavailable,
    GakjuError,
    LLMInterrupted,
    LLMRejected,
    MemoryUnavailable,
    SessionBusy,
)
from knowledge.lexemes import Analyzer
from knowledge.search import Found as FoundPassages
from knowledge.types import Evidence
from pipelines.chat_memory import RedisMemory, new_turn
from pipelines.citations import CitationStream, make_citations
from pipelines.events import Done, Event, Failed, Found, Searching, Started, Token, Turn
from pipelines.gate import Gate
from pipelines.history import fit
from pipelines.memory import LEASE_S, SessionMemory
from pipelines.prompt import NO_ANSWER, answer_language, build_messages, is_refusal
from pipelines.quote import QuoteLLM
from pipelines.retriever import EvidenceRetriever, to_node
from pipelines.rewrite import SearchQuery, rewrite
from pipelines.sampling import Sampling
from pipelines.tokens import estimate_tokens

log = logging.getLogger(__name__)

SEARCH_LIMIT_S = 10
WAIT_S = 3.0  # for the turn before: someone who stops an answer and asks anew must not be refused
_ASK_AGAIN_S = 0.2
_REMEMBERED_TURNS = 30  # the last six whole where they fit, the others in a line each


class FootnoteChatEngine(BaseChatEngine):
    """Answers within one session. `sessions`: None keeps no history (Redis is away), which `Done.notice` then says.

    `wait_s`: how long a question waits for the answer to the one before, after which it is refused as `session_busy`.
    """

    def __init__(
        self,
        retriever: EvidenceRetriever,
        llm: LLM,
        analyzer: Analyzer,
        gate: Gate,
        *,
        sessions: SessionMemory | None,
        session_id: str,
        history_turns: int = 6,
        sampling: Sampling | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        self._wait_s = wait_s
        self._sampling = (sampling or Sampling()).to_arguments(max_tokens=llm.metadata.num_output)
        self._retriever = retriever
        self._llm = llm
        self._analyzer = analyzer
        self._gate = gate
        self._sessions = sessions
        self._session_id = session_id
        self._history_turns = history_turns
        self.last_turn: Turn | None = None  # how far the latest turn came, for whoever stopped listening

    async def events(self, question: str, *, request_id: str = "") -> AsyncGenerator[Event, None]:
        """The turn for `question`. Dependency errors come as `Failed`, not as exceptions.

        Closing the generator stops the model and stores what was streamed as interrupted.
        """
        run = _Run(self, new_turn(self._session_id, question))
        try:
            async with aclosing(run.steps()) as steps:
                async for event in steps:
                    yield event
        except GakjuError as exc:
            turn = await asyncio.shield(run.fail(exc.code, interrupted=isinstance(exc, LLMInterrupted)))
            yield Failed(exc.code, str(exc), exc.hint, request_id, exc.retryable, turn)
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
        return RedisMemory(self._sessions, self._session_id, last_turns=self._history_turns)


class _Run:
    """The state of one turn while it runs."""

    def __init__(self, engine: FootnoteChatEngine, turn: Turn) -> None:
        self._engine = engine
        self._sessions = engine._sessions
        self._started = time.perf_counter()
        self._stored = False
        self._lease: asyncio.Task[None] | None = None
        self._beginning: asyncio.Future[None] | None = None
        self._ending: asyncio.Future[None] | None = None
        self._citations: CitationStream | None = None
        self.turn = turn
        self.notice = ""

    async def steps(self) -> AsyncGenerator[Event, None]:
        engine = self._engine
        history = await self._begin()
        yield Started(self.turn.session_id, self.turn.turn_id)
        rewriter = None if isinstance(engine._llm, QuoteLLM) else engine._llm
        latest = history[-engine._history_turns :]
        query = await rewrite(self.turn.question, latest, llm=rewriter, analyzer=engine._analyzer)
        self._update(search_query=query.text)
        yield Searching(query.text)
        found = await self._search(query)
        self._update(retrieved=found.evidence)
        self._mark("search")
        yield Found(found.evidence)
        if not engine._gate.passes(found):
            sentence = NO_ANSWER[answer_language(self.turn.question, found.evidence)]
            self._update(answer=sentence, refused=True)
            yield Token(sentence)
        else:
            async with aclosing(self._answer(query, history)) as tokens:
                async for token in tokens:
                    yield token
        await self._complete()
        yield Done(self.turn, self.notice)

    async def _begin(self) -> list[Turn]:
        if self._sessions is None:
            self.notice = "history_off"
            return []
        try:
            await self._take_turn(self._sessions)
        except MemoryUnavailable:
            self._stored = False
            self.notice = "history_off"
            return []
        self._lease = asyncio.create_task(self._keep_alive(self._sessions))
        try:
            return await asyncio.to_thread(
                self._sessions.turns, self.turn.session_id, last=_REMEMBERED_TURNS, before=self.turn.turn_id
            )
        except MemoryUnavailable:
            self.notice = "history_off"
            return []

    async def _take_turn(self, sessions: SessionMemory) -> None:
        """One turn of a session runs at a time: wait a while for the one before.

        Raises:
            SessionBusy: it still runs.
        """
        until = time.monotonic() + self._engine._wait_s
        while True:
            self._stored = True  # from here on it may be there, so its end must be written
            self._beginning = asyncio.ensure_future(asyncio.to_thread(sessions.begin, self.turn))
            try:
                return await asyncio.shield(self._beginning)
            except SessionBusy:
                self._stored, self._beginning = False, None
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _search(self, query: SearchQuery) -> FoundPassages:
        try:
            async with asyncio.timeout(SEARCH_LIMIT_S):
                return await self._engine._retriever.asearch(query)
        except TimeoutError as exc:
            raise DatabaseUnavailable(
                f"The search did not end within {SEARCH_LIMIT_S} s.", hint="Check that PostgreSQL is not overloaded."
            ) from exc

    def _prompt(self, query: SearchQuery, history: Sequence[Turn], evidence: Sequence[Evidence]) -> list[ChatMessage]:
        """Messages for the model, with as much of the history as its context window holds."""
        metadata = self._engine._llm.metadata
        alone = build_messages(self.turn.question, query.text, evidence)
        spent = sum(estimate_tokens(message.content or "") for message in alone) + max(metadata.num_output, 0)
        earlier = fit(history, whole=self._engine._history_turns, room_tokens=metadata.context_window - spent)
        if earlier.is_cut:
            self.notice = self.notice or "history_cut"
        return build_messages(self.turn.question, query.text, evidence, earlier.messages, earlier=earlier.lines)

    async def _answer(self, query: SearchQuery, history: Sequence[Turn]) -> AsyncGenerator[Token, None]:
        """Our count of tokens is an estimate: where the model says that it was too much, half of it is tried once."""
        evidence = self.turn.retrieved
        try:
            async with aclosing(self._stream(self._prompt(query, history, evidence), evidence)) as tokens:
                async for token in tokens:
                    yield token
            return
        except LLMRejected as exc:
            if exc.reason != "context_length" or len(evidence) + len(history) < 2:
                raise
        self.notice = "context_cut"
        evidence, history = evidence[: (len(evidence) + 1) // 2], history[(len(history) + 1) // 2 :]
        async with aclosing(self._stream(self._prompt(query, history, evidence), evidence)) as tokens:
            async for token in tokens:
                yield token

    async def _stream(self, messages: list[ChatMessage], evidence: Sequence[Evidence]) -> AsyncGenerator[Token, None]:
        citations = self._citations = CitationStream(evidence)
        response: ChatResponse | None = None
        stream = await self._engine._llm.astream_chat(messages, **self._engine._sampling)
        async with aclosing(stream):  # type: ignore[type-var]
            async for response in stream:
                text = citations.feed(response.delta or "")
                if text:
                    self._mark("first_token", once=True)
                    self._update(answer=self.turn.answer + text)
                    yield Token(text)
        rest = citations.close()
        if rest:
            self._update(answer=self.turn.answer + rest)
            yield Token(rest)
        if not self.turn.answer.strip():
            raise LLMInterrupted("The language model ended without an answer.", hint="Ask again.")
        facts = response.additional_kwargs if response else {}
        if facts.get("finish_reason") == "length":
            self.notice = self.notice or "cut_short"
        self._update(refused=is_refusal(self.turn.answer), usage=facts.get("usage", {}))

    async def _cite(self) -> None:
        """Footnotes of what was streamed, whole or not: a `[1]` that a reader sees always opens."""
        if self._citations is None:
            return
        cited = self._citations.cited
        self._update(
            citations=await asyncio.to_thread(
                make_citations, self.turn.answer, self.turn.retrieved, cited, analyzer=self._engine._analyzer
            ),
            dropped_citations=self._citations.dropped,
        )

    async def _complete(self) -> None:
        await self._cite()
        self._mark("total")
        self._update(status="complete", llm=self._engine._llm.metadata.model_name)
        await self._finish()

    async def fail(self, code: str, *, interrupted: bool) -> Turn:
        """Store how far the turn came; an answer that had begun is interrupted, whatever broke it.

        A turn that had ended already stays as it ended.
        """
        if self.turn.status != "pending":
            if self._ending is not None:  # cancelled while its end was being stored
                await asyncio.wait({self._ending})
            return self.turn
        try:
            await self._cite()
        except Exception:  # footnotes are worth less than the turn they belong to
            log.exception("footnotes of turn %s", self.turn.turn_id)
        self._mark("total")
        kept = interrupted or bool(self.turn.answer)
        self._update(status="interrupted" if kept else "failed", error=code, llm=self._engine._llm.metadata.model_name)
        await self._finish()
        return self.turn

    async def _finish(self) -> None:
        if self._lease:
            self._lease.cancel()
            self._lease = None
        if self._stored and self._sessions:
            self._stored = False
            self._ending = asyncio.ensure_future(self._store_end())
            await asyncio.shield(self._ending)

    async def _store_end(self) -> None:
        """One task, shielded as a whole: a cancelled turn must still be stored as ended."""
        if self._beginning is not None:
            await asyncio.wait({self._beginning})  # its end must not come before its beginning
            if isinstance(self._beginning.exception(), SessionBusy):
                return  # it never began
        await self._remember(lambda sessions: asyncio.to_thread(sessions.finish, self.turn))

    async def _keep_alive(self, sessions: SessionMemory) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            await self._remember(lambda memory: asyncio.to_thread(memory.keep_alive, self.turn))

    async def _remember(self, write: Callable[[SessionMemory], Awaitable[None]]) -> None:
        assert self._sessions is not None
        try:
            await write(self._sessions)
        except GakjuError as exc:  # the answer is there; that it could not be kept is said, not hidden
            log.warning("turn %s not stored: %s", self.turn.turn_id, exc)
            self.notice = "history_off"

    def _update(self, **changes: Any) -> None:
        self.turn = replace(self.turn, **changes)

    def _mark(self, phase: str, *, once: bool = False) -> None:
        key = f"{phase}_ms"
        if not (once and key in self.turn.timings):
            elapsed_ms = round((time.perf_counter() - self._started) * 1000, 1)
            self._update(timings={**self.turn.timings, key: elapsed_ms})


def _refuse_foreign_history(chat_history: list[ChatMessage] | None) -> None:
    if chat_history:
        raise ValueError("chat_history is not taken: put earlier turns into the session's memory (RedisMemory.set)")


def _to_response(turn: Turn) -> AgentChatResponse:
    return AgentChatResponse(
        response=turn.answer, source_nodes=[to_node(item) for item in turn.retrieved], metadata=turn.to_dict()
    )
