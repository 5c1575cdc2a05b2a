"""The tools' part of one turn: asks them, puts results among the evidence, and tells what came of it.

Knows nothing about how the documents' answer is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llama_index.core.llms import LLM

from knowledge.lexemes import Analyzer
from pipelines.events import ToolCalled, Turn
from pipelines.prompt import answer_language
from pipelines.tools.evidence import quoted_answer, to_evidence
from pipelines.tools.toolbox import Consultation, Toolbox
from pipelines.tools.turn import consult, failures_told
from pipelines.turn_record import TurnRecord


class ToolStep:
    """`toolbox`: None, or one without tools, never has anything to say. `llm`: None chooses by rules."""

    def __init__(self, toolbox: Toolbox | None, record: TurnRecord, *, llm: LLM | None, analyzer: Analyzer) -> None:
        self._toolbox, self._record, self._llm, self._analyzer = toolbox, record, llm, analyzer
        self._language = answer_language(record.turn.question, record.turn.retrieved)
        self._told = Consultation()

    @property
    def can_ask(self) -> bool:
        """There are tools, and none was asked in this turn."""
        return bool(self._toolbox) and not self._told.calls

    @property
    def has_results(self) -> bool:
        return bool(self._told.results)

    @property
    def quoted(self) -> str:
        """The results in their own words, numbered as the first passages."""
        return quoted_answer(self._told.results, language=self._language)

    @property
    def failures(self) -> str:
        """A paragraph to put behind the answer; "" where nothing failed."""
        return failures_told(self._told, self._language)

    async def ask(self, history: Sequence[Turn], *, first: bool = False) -> list[ToolCalled]:
        """Results go before the documents' passages: a prompt that is too long then loses passages and not the result."""
        if not self._toolbox:
            return []
        turn = self._record.turn
        told = self._told = await consult(
            self._toolbox, turn.question, history, llm=self._llm, analyzer=self._analyzer, first=first
        )
        results = to_evidence(told.results, language=self._language)
        after = (replace(item, rank=item.rank + len(results)) for item in turn.retrieved)
        self._record.update(retrieved=(*results, *after))
        if told.calls:
            self._record.mark("tools")
        arguments = {call.tool: call.arguments for call in told.calls}
        return [
            *(
                ToolCalled(result.tool, result.arguments, item, result.cached, result.stale)
                for result, item in zip(told.results, results, strict=True)
            ),
            *(ToolCalled(exc.tool, arguments.get(exc.tool, {}), failure=exc.reason) for exc in told.failures),
        ]
