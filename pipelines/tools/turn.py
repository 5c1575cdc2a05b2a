"""What one turn of a conversation asks of the tools, and what its answer makes of it: all that the engine needs to know.

Takes from the conversation what the user wrote, and nothing else: answers and passages of earlier turns hold documents'
words, and a search query that a model rewrote holds them too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llama_index.core.llms import LLM

from knowledge.lexemes import Analyzer
from pipelines.events import Turn
from pipelines.rewrite import refers_back
from pipelines.tools.evidence import failure_sentence
from pipelines.tools.toolbox import Consultation, Toolbox

_EARLIER_QUESTIONS = 3


async def consult(
    toolbox: Toolbox,
    question: str,
    history: Sequence[Turn],
    *,
    llm: LLM | None,
    analyzer: Analyzer,
    first: bool = False,
) -> Consultation:
    """Asks the tools about `question`; raises nothing that a tool or a model does. `llm`: None chooses by rules.

    `first`: before the documents are asked, and only what a rule says; it costs nothing where none does.
    """
    earlier = [turn.question for turn in history[-_EARLIER_QUESTIONS:] if turn.question]
    if (llm is None or first) and earlier and not await asyncio.to_thread(refers_back, question, analyzer):
        earlier = []
    return await toolbox.consult(question, earlier=earlier, llm=llm, first=first)


def failures_told(consultation: Consultation, language: str) -> str:
    """A paragraph to put behind the answer; "" where nothing failed."""
    sentences = [failure_sentence(failed, language) for failed in consultation.failures]
    return "\n\n" + " ".join(dict.fromkeys(sentences)) if sentences else ""
