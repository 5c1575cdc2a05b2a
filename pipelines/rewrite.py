"""What to search for: the question alone, or a follow-up completed from the conversation.

With a language model connected, it writes the standalone question. Without one (and if it fails), a question that cannot
stand alone is searched together with the one before it: on multi-turn questions the last two user turns found the
passage more often than the last alone or all of them (R@5 .903, .858, .841).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llama_index.core.llms import LLM

from knowledge.errors import LLMError, LLMUnavailable
from knowledge.lexemes import Analyzer
from pipelines.chat_memory import to_messages
from pipelines.events import Turn
from pipelines.prompt import build_condense_messages

log = logging.getLogger(__name__)

CONTEXT_WEIGHT = 0.5  # of a word that stands only in the previous question
_SHORT_QUESTION_WORDS = 2
_MAX_CONTEXT_CHARS = 200
# A short question that is whole all the same: it asks what something is.
_ASKS_WHAT = re.compile(
    r"[가-힣A-Za-z)]이?란(\s|\?|$)|무엇|뭐|뭔|뜻|정의|설명|알려|^\s*(what|who)\s+(is|are|was|were|does)\b|\bmeaning of\b|^\s*(define|explain)\b",
    re.IGNORECASE,
)
_MAX_REWRITTEN_CHARS = 500
_REFERS_BACK = re.compile(
    r"^\s*(그럼|그러면|그렇다면|그래서|그런데|근데|그리고|또는|또|반대로|왜|더|"
    r"(and|but|so|then|also|why|what about|how about|what if|and what|or)\b)"
    r"|(?<![가-힣])(그건|그게|그것|이건|이것|그거|거기|여기|그때|그 경우|이 경우|위의|앞의|방금)"
    r"|\b(it|its|they|them|their|that one|this one|those|these|the same|former|latter|above)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """`question` is what is asked now; `context` what it may lean on, "" if it stands alone."""

    question: str
    context: str = ""

    @property
    def text(self) -> str:
        return f"{self.context} {self.question}".strip()

    def weigh(self, question: Mapping[str, float], context: Mapping[str, float]) -> dict[str, float]:
        """Lexemes of both with the weight that each has in the words leg; those of the context count less."""
        # The question's come first: of very many, the first are searched for.
        return dict(question) | {
            term: CONTEXT_WEIGHT * weight for term, weight in context.items() if term not in question
        }


async def rewrite(
    question: str, history: Sequence[Turn], *, llm: LLM | None, analyzer: Analyzer, timeout_s: float = 10.0
) -> SearchQuery:
    """The search query for `question` after `history`. `llm`: None completes follow-ups by rule.

    Raises:
        LLMUnavailable: the model does not answer at all.
    """
    last = next((turn for turn in reversed(history) if turn.question), None)
    if last is None:
        return SearchQuery(question)
    # A follow-up to a follow-up leans on what that one leaned on.
    fits = last.search_query and len(last.search_query) <= _MAX_CONTEXT_CHARS
    previous = last.search_query if fits else last.question[:_MAX_CONTEXT_CHARS]
    if llm is not None:
        try:
            async with asyncio.timeout(timeout_s):
                answer = await llm.achat(build_condense_messages(question, to_messages(list(history))))
            rewritten = " ".join((answer.message.content or "").split())
            if 0 < len(rewritten) <= _MAX_REWRITTEN_CHARS:
                return SearchQuery(rewritten)
        except LLMUnavailable:
            raise  # it will not write the answer either, and each further call would be retried anew
        except (LLMError, TimeoutError) as exc:
            log.warning("follow-up not rewritten by the model, completed by rule: %s", type(exc).__name__)
    if await asyncio.to_thread(refers_back, question, analyzer):
        return SearchQuery(question, previous)
    return SearchQuery(question)


def refers_back(question: str, analyzer: Analyzer) -> bool:
    """Whether `question` leans on what was said: it points back ("그럼", "it"), or has too few words of its own."""
    if _REFERS_BACK.search(question):
        return True
    words = [term for term in analyzer.analyze(question) if not term.startswith("#")]
    return not words or (len(words) <= _SHORT_QUESTION_WORDS and not _ASKS_WHAT.search(question))
