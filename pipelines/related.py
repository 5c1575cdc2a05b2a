"""Two or three questions to ask next, each of which the documents answer: that is looked up before it is shown.

They come from a language model where one is connected, and from FAQ, glossary and headings (related_candidates.py). They
are an extra: they have a deadline, come after the answer, and whatever goes wrong here costs nothing but themselves.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence

from llama_index.core.llms import LLM

from knowledge.filters import Filters
from knowledge.instant_keys import keys_asked
from knowledge.lexemes import Analyzer
from knowledge.related_rows import RelatedRows
from knowledge.types import Evidence
from pipelines.breaker import Breaker
from pipelines.events import Turn
from pipelines.gate import Gate
from pipelines.instant import InstantAnswers
from pipelines.prompt import answer_language
from pipelines.related_candidates import Candidate, Candidates
from pipelines.related_model import LIMIT_S as MODEL_LIMIT_S
from pipelines.related_model import ask_for_questions
from pipelines.retriever import EvidenceRetriever
from pipelines.rewrite import SearchQuery, refers_back

log = logging.getLogger(__name__)

MAX_SHOWN, LEAST_SHOWN = 3, 2
LIMIT_S = 3.0
MAX_SEARCHES = 5  # to check candidates
_LOOKED_AT = 3  # passages found for a question, among which the one that it was made from must be
_MAX_QUESTION_CHARS, _MAX_CONTEXT_CHARS = 400, 200
_MODEL_FAILURES = 2
_QUOTED = re.compile(r"‘[^’]*’|“[^”]*”")
# Two questions with so large a share of their words in common ask the same; not counted are words that only ask.
_SAME = 0.6


class RelatedQuestions:
    """Over one generation of the index. `instant`: finds those that FAQ and glossary answer at once."""

    def __init__(
        self,
        rows: RelatedRows,
        retriever: EvidenceRetriever,
        gate: Gate,
        analyzer: Analyzer,
        *,
        instant: InstantAnswers | None = None,
        limit_s: float = LIMIT_S,
        model_limit_s: float = MODEL_LIMIT_S,
    ) -> None:
        if limit_s <= 0 or model_limit_s <= 0:
            raise ValueError(f"limit_s ({limit_s}) and model_limit_s ({model_limit_s}) must be positive")
        self._candidates = Candidates(rows, analyzer)
        self._retriever = retriever
        self._gate = gate
        self._analyzer = analyzer
        self._instant = instant
        self._limit_s = limit_s
        self._model_limit_s = model_limit_s
        self._model = Breaker(failures=_MODEL_FAILURES)

    async def suggest(
        self, turn: Turn, *, asked: Sequence[str] = (), scope: Filters | None = None, llm: LLM | None = None
    ) -> tuple[str, ...]:
        """Two or three questions in the language of `turn.question`; none where fewer can be answered.

        `asked`: questions of the turns before. `scope`: what may be searched. `llm`: None asks no model. Raises nothing.
        """
        found: list[Candidate] = []
        limit_s = self._limit_s + (self._model_limit_s if llm is not None else 0)
        try:
            async with asyncio.timeout(limit_s):
                await self._collect(found, turn, [turn.question, *asked], scope, llm)
        except TimeoutError:
            log.warning("related questions of turn %s: not all within %g s", turn.turn_id, limit_s)
        except Exception as exc:
            log.warning("related questions of turn %s: %s", turn.turn_id, exc, exc_info=True)
        return tuple(item.question for item in found) if len(found) >= LEAST_SHOWN else ()

    async def _collect(
        self, found: list[Candidate], turn: Turn, asked: Sequence[str], scope: Filters | None, llm: LLM | None
    ) -> None:
        """Adds to `found` one by one, so that a deadline keeps what was found before it."""
        language = answer_language(turn.question, turn.retrieved)
        by_model = await self._by_model(llm, turn, language) if llm is not None else []
        by_rule = await self._by_rule(turn, language, scope)
        candidates = await asyncio.to_thread(self._distinct, [*by_model, *by_rule], asked)
        searches = 0
        while candidates and len(found) < MAX_SHOWN and searches < MAX_SEARCHES:
            some = candidates[: min(MAX_SHOWN - len(found), MAX_SEARCHES - searches)]
            candidates = candidates[len(some) :]
            passed = await asyncio.gather(*(asyncio.to_thread(self._is_answered, item, turn, scope) for item in some))
            found += [item for item, is_answered in zip(some, passed, strict=True) if is_answered]
            searches += sum(item.kind in ("section", "model") for item in some)

    async def _by_model(self, llm: LLM, turn: Turn, language: str) -> list[Candidate]:
        if self._model.wait_s():
            return []
        told = False
        try:
            questions = await ask_for_questions(llm, turn, _read(turn), language=language, limit_s=self._model_limit_s)
            told = True
        finally:
            if not told:
                self._model.untold()
        if questions:
            self._model.succeeded()
        else:
            self._model.failed()
        return [Candidate(question, "model") for question in questions]

    async def _by_rule(self, turn: Turn, language: str, scope: Filters | None) -> list[Candidate]:
        """Where the answer was in all that was found (of a FAQ, at once), what is near it must be looked for first."""
        query = SearchQuery((turn.search_query or turn.question)[:_MAX_QUESTION_CHARS])
        cited = {citation.evidence.chunk_id for citation in turn.citations}
        faq = await asyncio.to_thread(self._candidates.faq_scope, language)
        wheres: list[Filters | None] = [] if faq is None else [faq.within(scope)]
        if all(item.chunk_id in cited for item in turn.retrieved):
            wheres.append(scope)
        found = await asyncio.gather(*(self._retriever.asearch(query, filters=where) for where in wheres))
        near = [item for one in found for item in one.evidence]
        return await asyncio.to_thread(self._candidates.of, turn, near, language=language, scope=scope)

    def _distinct(self, candidates: Sequence[Candidate], asked: Sequence[str]) -> list[Candidate]:
        """Without those that lean on the conversation, and those that ask what was asked or what another one asks."""
        taken = [(set(keys_asked(question)), self._candidates.words(question)) for question in asked]
        kept = []
        for candidate in candidates:
            keys, words = set(keys_asked(candidate.question)), self._candidates.words(candidate.question)
            if candidate.kind == "model" and refers_back(candidate.question, self._analyzer):
                continue
            topic = self._candidates.words(_QUOTED.sub("", candidate.question))  # without the name of the document
            if candidate.kind == "section" and topic <= taken[0][1]:
                continue  # its heading says no more than the question
            if any(keys & other_keys or _overlap(words, other) >= _SAME for other_keys, other in taken):
                continue
            taken.append((keys, words))
            kept.append(candidate)
        return kept

    def _is_answered(self, candidate: Candidate, turn: Turn, scope: Filters | None) -> bool:
        """As it will be once it is asked after `turn`: at once, or by what the search for it finds."""
        question = candidate.question
        leans = refers_back(question, self._analyzer)  # so few words that it is searched together with the turn's
        if not leans and self._instant is not None and self._instant.find(question, scope) is not None:
            return True
        context = (turn.search_query or turn.question)[:_MAX_CONTEXT_CHARS] if leans else ""
        found = self._retriever.search(SearchQuery(question, context), filters=scope)
        return self._gate.passes(found) and candidate.is_met_by(found.evidence[:_LOOKED_AT])


def _read(turn: Turn) -> list[Evidence]:
    """What a model reads to ask about: what was cited, then what else was found."""
    cited = [citation.evidence for citation in turn.citations]
    ids = {item.chunk_id for item in cited}
    return [*cited, *(item for item in turn.retrieved if item.chunk_id not in ids)]


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard's, 0..1; two without words are the same."""
    both = one | other
    return len(one & other) / len(both) if both else 1.0
