"""Goes through sampled passages until there are enough questions, and keeps each result before it takes the next.

Several passages are in work at once, but their results are taken in the order of the sample, so the same answers of the
model give the same set. A question that was made already is refused. A fault of one call costs its passage nothing: it is tried again; a model that stays away ends the run.
Knows nothing about terminals.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from eval.own_chunks import Sampled, fold
from eval.own_files import Other, Row, SetFolder
from eval.own_llm import JsonModel
from eval.own_others import OtherAnswers
from eval.own_questions import Refused, Written, write_question
from knowledge.errors import LLMError, LLMRejected
from pipelines.prompt import passage_title
from pipelines.retriever import EvidenceRetriever

AT_ONCE = 4
_CALLS = 3  # of one passage, where the fault may pass; each is tried again by pipelines/llm, too
_PAUSE_S = 1.0

Result = tuple[Written, tuple[Other, ...]] | Refused


class Writer:
    """`retriever`: the app's own search. `on_change(questions, tried)`: called after each passage."""

    def __init__(
        self,
        folder: SetFolder,
        model: JsonModel,
        retriever: EvidenceRetriever,
        *,
        on_change: Callable[[int, int], None] = lambda *_: None,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._folder = folder
        self._model = model
        self._others = OtherAnswers(model, retriever, collection=folder.plan.collection)
        self._on_change = on_change
        self._pause_s = pause_s
        self._asked = {fold(row.question) for row in folder.rows}

    async def write(self, passages: Iterator[Sampled], *, wanted: int, tries: int) -> None:
        """Until the folder has `wanted` questions, or `tries` more passages were tried, or there are no more.

        Raises:
            LLMUnavailable, LLMRejected, LLMInterrupted: the model is away; what was made is kept.
            DatabaseUnavailable, EmbeddingUnavailable: likewise.
        """
        tried = self._folder.tried
        candidates = islice((item for item in passages if item.key not in tried), tries)
        at_work: deque[tuple[Sampled, asyncio.Task[Result]]] = deque()
        try:
            while len(self._folder.rows) < wanted:
                for sampled in islice(candidates, AT_ONCE - len(at_work)):
                    at_work.append((sampled, asyncio.create_task(self._try(sampled))))
                if not at_work:
                    return
                sampled, task = at_work.popleft()
                try:
                    result = await task
                except BaseException:
                    task.cancel()
                    raise
                self._keep(sampled, result)
                self._on_change(len(self._folder.rows), len(self._folder.tried))
        finally:
            for _, task in at_work:
                task.cancel()
            await asyncio.gather(*(task for _, task in at_work), return_exceptions=True)

    async def _try(self, sampled: Sampled) -> Result:
        seed = self._folder.plan.seed
        for calls in range(1, _CALLS + 1):
            try:
                written = await write_question(sampled, self._model, seed=seed)
                if isinstance(written, Refused):
                    return written
                return written, await self._others.to(sampled, written, seed=seed)
            except LLMRejected as exc:
                if exc.reason == "context_length":
                    return Refused("too_long_passage")
                raise
            except LLMError:
                if calls == _CALLS:
                    raise
                await asyncio.sleep(self._pause_s * calls)
        raise AssertionError("unreachable")

    def _keep(self, sampled: Sampled, result: Result) -> None:
        if not isinstance(result, Refused) and fold(result[0].question) in self._asked:
            result = Refused("asked_already", result[0].question)
        if isinstance(result, Refused):
            self._folder.refuse(sampled.key, result.reason, result.question)
            return
        self._asked.add(fold(result[0].question))
        self._folder.add(_row(self._folder.next_id(), sampled, *result))


def unwritten(key: str, sampled: Sampled) -> Row:
    """A passage to which a person writes the question."""
    return _row(key, sampled, Written("", ""), ())


def _row(key: str, sampled: Sampled, written: Written, also: tuple[Other, ...]) -> Row:
    evidence = sampled.evidence
    return Row(
        id=key,
        question=written.question,
        path=evidence.path,
        start=evidence.start,
        end=evidence.end,
        passage=evidence.text,
        where=passage_title(evidence),
        language=evidence.language,
        ask_in=sampled.ask_in,
        kind=sampled.kind,
        quote=written.quote,
        also=also,
    )
