"""The steps of one turn: rewrite, answer at once or search, prompt, stream, cite, check.

Knows nothing about sessions (turn_record.py) or who is asking (engine.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

from llama_index.core.llms import ChatMessage, ChatResponse

from knowledge.errors import DatabaseUnavailable, LLMInterrupted, LLMRejected, LLMUnavailable
from knowledge.search import Found as FoundPassages
from knowledge.types import Citation, Evidence
from pipelines.citations import CitationStream, make_citations
from pipelines.events import Answered, Checked, Done, Event, Found, Searching, Started, Token, Turn
from pipelines.history import fit
from pipelines.instant import Instant
from pipelines.prompt import NO_ANSWER, answer_language, build_messages, is_refusal
from pipelines.quote import QuoteLLM
from pipelines.related import RelatedQuestions
from pipelines.rewrite import SearchQuery, refers_back, rewrite
from pipelines.tokens import estimate_tokens
from pipelines.tools.held_refusal import HeldRefusal
from pipelines.tools.step import ToolStep
from pipelines.turn_parts import TurnOptions, TurnParts
from pipelines.turn_record import TurnRecord

log = logging.getLogger(__name__)

SEARCH_LIMIT_S = 10
INSTANT = "instant answer"  # who answered, where a FAQ or glossary did


@asynccontextmanager
async def _search_limit() -> AsyncGenerator[None, None]:
    """A database that hangs must not hold a turn, its session and a thread for ever."""
    try:
        async with asyncio.timeout(SEARCH_LIMIT_S):
            yield
    except TimeoutError as exc:
        raise DatabaseUnavailable(
            f"The search did not end within {SEARCH_LIMIT_S} s.", hint="Check that PostgreSQL is not overloaded."
        ) from exc


class TurnRun:
    """`steps` is the whole turn; `fail` ends one that broke off."""

    def __init__(self, parts: TurnParts, options: TurnOptions, record: TurnRecord) -> None:
        self._parts = parts
        self._options = options
        self._record = record
        self._citations: CitationStream | None = None
        self._is_instant = False
        self._is_whole = False
        self._our_words = ""  # about tools that failed: no claims of the answer
        self._withheld = ""  # a refusal that is not shown before the tools were asked

    @property
    def _answered_by(self) -> str:
        return INSTANT if self._is_instant else self._parts.llm.metadata.model_name

    @property
    def _turn(self) -> Turn:
        return self._record.turn

    async def steps(self) -> AsyncGenerator[Event, None]:
        """Raises: any GakjuError; `fail` must be called then."""
        record = self._record
        history = await record.begin(wait_s=self._options.wait_s)
        yield Started(self._turn.session_id, self._turn.turn_id)
        instant = await self._instant(history)
        answering = self._at_once(instant) if instant else self._searched(history)
        async with aclosing(answering) as events:
            async for event in events:
                yield event
        await self._cite()
        self._is_whole = True
        if await self._check():
            yield Checked(self._turn.claims)
        record.update(llm=self._answered_by)
        await record.complete()
        if self._parts.related is not None:  # whoever stops from here on has a complete turn all the same
            yield Answered(self._turn, record.notice)
            await self._relate(self._parts.related, history)
        yield Done(self._turn, record.notice)

    async def fail(self, code: str, *, interrupted: bool) -> Turn:
        """Store how far the turn came. One that had ended already stays as it ended."""
        if await self._record.end_of_failed():
            return self._turn
        try:
            await self._cite()
        except Exception:  # footnotes are worth less than the turn they belong to
            log.exception("footnotes of turn %s", self._turn.turn_id)
        self._record.update(llm=self._answered_by)
        if self._is_whole:  # stopped while it was checked: the reader has all of it
            await self._record.complete()
        else:
            await self._record.fail(code, interrupted=interrupted)
        return self._turn

    async def _instant(self, history: Sequence[Turn]) -> Instant | None:
        """The answer that a FAQ or a glossary has to this very question; a follow-up is never one."""
        parts, question = self._parts, self._turn.question
        if parts.instant is None or (history and await asyncio.to_thread(refers_back, question, parts.analyzer)):
            return None
        async with _search_limit():
            return await asyncio.to_thread(parts.instant.find, question, self._options.persona.scope)

    async def _at_once(self, instant: Instant) -> AsyncGenerator[Event, None]:
        question = self._turn.question
        self._record.update(search_query=question, retrieved=instant.evidence)
        self._is_instant = True
        yield Searching(question)
        self._record.mark("search")
        yield Found(instant.evidence)
        self._citations = CitationStream(instant.evidence)
        text = self._citations.feed(instant.answer) + self._citations.close()
        self._record.mark("first_token", once=True)
        self._record.update(answer=text)
        yield Token(text)
        if self._parts.views is not None:
            for viewed in instant.viewed:
                self._parts.views.add(viewed)

    async def _searched(self, history: Sequence[Turn]) -> AsyncGenerator[Event, None]:
        parts, record = self._parts, self._record
        rewriter = None if isinstance(parts.llm, QuoteLLM) else parts.llm
        latest = history[-self._options.history_turns :]
        away: LLMUnavailable | None = None
        try:
            query = await rewrite(self._turn.question, latest, llm=rewriter, analyzer=parts.analyzer)
        except LLMUnavailable as exc:  # what is found is worth having, even if nobody can write an answer from it
            away = exc
            query = await rewrite(self._turn.question, latest, llm=None, analyzer=parts.analyzer)
        record.update(search_query=query.text)
        yield Searching(query.text)
        found = await self._search(query)
        record.update(retrieved=found.evidence)
        record.note(found.notice)
        record.mark("search")
        yield Found(found.evidence)
        if away is not None:
            raise away
        tools = ToolStep(parts.toolbox, record, llm=rewriter, analyzer=parts.analyzer)
        async with aclosing(self._answered(query, history, found, tools)) as events:
            async for event in events:
                yield event

    async def _answered(
        self, query: SearchQuery, history: Sequence[Turn], found: FoundPassages, tools: ToolStep
    ) -> AsyncGenerator[Event, None]:
        """What the documents say; a tool's result where the question plainly asks for one, or they do not tell."""
        for event in await tools.ask(history, first=True):
            yield event
        if not tools.has_results:
            if self._parts.gate.passes(found):
                async with aclosing(self._answer(query, history)) as tokens:
                    async for token in tokens:
                        yield token
            else:
                self._withheld = NO_ANSWER[answer_language(self._turn.question, found.evidence)]
            if self._withheld and tools.can_ask:
                for event in await tools.ask(history):
                    yield event
        if tools.has_results and isinstance(self._parts.llm, QuoteLLM):
            self._citations = CitationStream(self._turn.retrieved)
            self._withheld = self._citations.feed(tools.quoted) + self._citations.close()
        elif tools.has_results:
            self._withheld = ""
            async with aclosing(self._answer(query, history)) as answer:
                async for token in answer:
                    yield token
        self._our_words = tools.failures
        text, self._withheld = self._withheld + self._our_words, ""
        if text:
            yield self._written(text)
            self._record.update(refused=is_refusal(self._turn.answer))

    async def _search(self, query: SearchQuery) -> FoundPassages:
        async with _search_limit():
            return await self._parts.retriever.asearch(query, filters=self._options.persona.scope)

    def _prompt(self, query: SearchQuery, history: Sequence[Turn], evidence: Sequence[Evidence]) -> list[ChatMessage]:
        """Messages for the model, with as much of the history as its context window holds."""
        metadata, question, style = self._parts.llm.metadata, self._turn.question, self._options.persona.style
        alone = build_messages(question, query.text, evidence, style=style)
        spent = sum(estimate_tokens(message.content or "") for message in alone) + max(metadata.num_output, 0)
        earlier = fit(history, whole=self._options.history_turns, room_tokens=metadata.context_window - spent)
        if earlier.is_cut:
            self._record.note("history_cut")
        return build_messages(question, query.text, evidence, earlier.messages, earlier=earlier.lines, style=style)

    async def _answer(self, query: SearchQuery, history: Sequence[Turn]) -> AsyncGenerator[Token, None]:
        """Our count of tokens is an estimate: where the model says that it was too much, half of it is tried once."""
        evidence = self._turn.retrieved
        try:
            async with aclosing(self._stream(self._prompt(query, history, evidence), evidence)) as tokens:
                async for token in tokens:
                    yield token
            return
        except LLMRejected as exc:
            if exc.reason != "context_length" or len(evidence) + len(history) < 2:
                raise
        self._record.note("context_cut")
        evidence, history = evidence[: (len(evidence) + 1) // 2], history[(len(history) + 1) // 2 :]
        async with aclosing(self._stream(self._prompt(query, history, evidence), evidence)) as tokens:
            async for token in tokens:
                yield token

    async def _stream(self, messages: list[ChatMessage], evidence: Sequence[Evidence]) -> AsyncGenerator[Token, None]:
        citations, held = CitationStream(evidence), HeldRefusal()
        self._citations = citations
        response: ChatResponse | None = None
        llm = self._parts.llm
        sampling = self._options.sampling.to_arguments(max_tokens=llm.metadata.num_output)
        stream = await llm.astream_chat(messages, **sampling)
        async with aclosing(stream):  # type: ignore[type-var]
            async for response in stream:
                text = held.feed(citations.feed(response.delta or ""))
                if text:
                    yield self._written(text)
        rest = held.feed(citations.close())
        if held.is_refusal:
            self._withheld = held.close()
        else:
            rest += held.close()
        if rest:
            yield self._written(rest)
        if not (self._turn.answer + self._withheld).strip():
            raise LLMInterrupted("The language model ended without an answer.", hint="Ask again.")
        facts = response.additional_kwargs if response else {}
        if facts.get("finish_reason") == "length":
            self._record.note("cut_short")
        self._record.update(refused=is_refusal(self._turn.answer), usage=facts.get("usage", {}))

    def _written(self, text: str) -> Token:
        self._record.mark("first_token", once=True)
        self._record.update(answer=self._turn.answer + text, citations=self._footnotes())
        return Token(text)

    def _footnotes(self) -> tuple[Citation, ...]:
        """Of what is written so far, without highlights: a process that is killed leaves no footnote that opens nothing."""
        if self._citations is None:
            return ()
        passages = self._turn.retrieved
        return tuple(
            Citation(n, passages[at - 1]) for n, at in enumerate(dict.fromkeys(self._citations.cited), start=1)
        )

    async def _cite(self) -> None:
        """Footnotes of what was streamed, whole or not: a `[1]` that a reader sees always opens."""
        if self._citations is None:
            return
        citations, turn = self._citations, self._turn
        self._record.update(
            citations=await asyncio.to_thread(
                make_citations, turn.answer, turn.retrieved, citations.cited, analyzer=self._parts.analyzer
            ),
            dropped_citations=citations.dropped,
        )

    async def _relate(self, related: RelatedQuestions, history: Sequence[Turn]) -> None:
        turn, llm, began = self._turn, self._parts.llm, time.perf_counter()
        is_by_rule = self._is_instant or turn.refused or isinstance(llm, QuoteLLM)
        asked = [before.question for before in history]
        questions = await related.suggest(
            turn, asked=asked, scope=self._options.persona.scope, llm=None if is_by_rule else llm
        )
        if questions:
            spent_ms = round((time.perf_counter() - began) * 1000, 1)
            await self._record.amend(related=questions, timings={**turn.timings, "related_ms": spent_ms})

    async def _check(self) -> bool:
        """Each sentence against what it cites. A checker that fails takes nothing from the answer."""
        checker, judge, turn = self._parts.checker, self._parts.judge, self._turn
        if checker is None or turn.refused:
            return False
        began = time.perf_counter()
        try:
            answer = turn.answer.removesuffix(self._our_words) if self._our_words else turn.answer
            claims = await asyncio.to_thread(checker.check, answer, turn.retrieved, turn.citations)
            if judge is not None and not self._is_instant:
                judged = await judge.judge(claims, turn.citations)
                self._record.note(judged.notice)
                claims = judged.claims
        except Exception:
            log.exception("claims of turn %s", turn.turn_id)
            self._record.note("check_failed")
            return False
        spent_ms = round((time.perf_counter() - began) * 1000, 1)
        self._record.update(claims=tuple(claims), timings={**turn.timings, "check_ms": spent_ms})
        return True
