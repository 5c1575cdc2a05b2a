"""What to search for: the question alone, or a follow-up completed from the conversation.

With a language model connected, it writes the standalone question (rewrite_model.py). Without one, and if what it writes
cannot be used, the question is searched together with the one before it, which counts for more or less
(rewrite_rules.py): one search, for a vector between that of the question alone and that of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from llama_index.core.llms import LLM

from knowledge.lexemes import Analyzer
from knowledge.variants import Reading
from pipelines.events import Turn
from pipelines.rewrite_model import TIMEOUT_S, write_out
from pipelines.rewrite_rules import FOLLOWS, Lean, leaning, refers_back

__all__ = ["Meant", "SearchQuery", "refers_back", "rewrite"]

_MAX_CONTEXT_CHARS = 200
_ENDS = (
    " ?!.。？"  # the question before stands as a heading, which embeds better than two questions (nDCG@10 +.01 to +.03)
)


@dataclass(frozen=True, slots=True)
class Meant(Reading):
    """A query as it was probably meant. `text`: question and context together; `alone`: the question without it."""

    alone: str = ""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """`question` is what is asked now; `context` what it may lean on, as much as `lean` says; "" if it stands alone."""

    question: str
    context: str = ""
    lean: Lean = FOLLOWS

    @property
    def text(self) -> str:
        """What is said to be searched for, and what the answer is looked for with."""
        return f"{self.context} {self.question}".strip() if self.lean.is_told else self.question

    @property
    def leans(self) -> bool:
        """Whether the question alone counts beside both together."""
        return bool(self.context) and self.lean.meaning < 1

    def meant(self, question: Reading, context: Reading) -> Meant:
        """Both read, with the weight of each word in the words leg."""
        return Meant(
            text=f"{context.text.rstrip(_ENDS)}: {question.text}" if context.text else question.text,
            lexemes=self.weigh(question.lexemes, context.lexemes),
            own=self.weigh(question.own, context.own if self.lean.is_told else {}),
            alone=question.text,
        )

    def weigh(self, question: Mapping[str, float], context: Mapping[str, float]) -> dict[str, float]:
        """Lexemes of both with the weight that each has in the words leg; those of the context count less."""
        # The question's come first: of very many, the first are searched for.
        return dict(question) | {
            term: self.lean.words * weight for term, weight in context.items() if term not in question
        }

    def blend(self, alone: np.ndarray, together: np.ndarray) -> np.ndarray:
        """Between the vectors of the question alone and of both together, float32. Not scaled to length 1 on purpose: a
        chunk's product with it is the weighted mean of its cosines to the two, which the gate can hold to its threshold.
        """
        return ((1 - self.lean.meaning) * alone + self.lean.meaning * together).astype(np.float32)


async def rewrite(
    question: str, history: Sequence[Turn], *, llm: LLM | None, analyzer: Analyzer, timeout_s: float = TIMEOUT_S
) -> SearchQuery:
    """The search query for `question` after `history`. `llm`: None completes follow-ups by rule.

    Raises:
        LLMUnavailable: the model does not answer at all.
    """
    last = next((turn for turn in reversed(history) if turn.question), None)
    if last is None:
        return SearchQuery(question)
    if llm is not None:
        written = await write_out(question, history, llm=llm, analyzer=analyzer, timeout_s=timeout_s)
        if written:
            return SearchQuery(written)
    # A follow-up to a follow-up leans on what that one leaned on.
    fits = last.search_query and len(last.search_query) <= _MAX_CONTEXT_CHARS
    previous = last.search_query if fits else last.question[:_MAX_CONTEXT_CHARS]
    return SearchQuery(question, previous, leaning(question, analyzer))
