"""A second look at what the search found, by a rerank server: the question and each passage read together.

It is optional, so it never fails a turn: what it does not do within its time is left, the fused order stands, and the
result says why. Also a LlamaIndex node postprocessor. Knows no wire format and no database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from knowledge.errors import RerankUnavailable
from knowledge.types import Evidence
from pipelines.rerank_client import RerankClient, TextsRefused

log = logging.getLogger(__name__)

_AT_ONCE = 8  # questions
_REST_S = 10.0  # after a failure, so that not every question waits for a server that hangs
_LONGEST_CHARS = 4_000  # of a passage with its headings; a chunk of 500 tokens is seldom over 2,000
_LONGEST_QUERY_CHARS = 1_000
_SHORTEST_CHARS = 64


@dataclass(frozen=True, slots=True)
class Reranked:
    """`evidence` with new ranks. `failure`: why the fused order stands, one sentence; "" where it was reranked.

    `shortened`: passages of which the server took the beginning only.
    """

    evidence: tuple[Evidence, ...]
    failure: str = ""
    shortened: int = 0


@dataclass(frozen=True, slots=True)
class _Scored:
    scores: list[float]
    shortened: int


class Reranker(BaseNodePostprocessor):
    """Reranks the first `top_n`; what comes after them keeps its order behind them. Safe to use from several threads.

    `timeout_s`: for all of it, from the question's point of view.
    """

    top_n: int = Field(default=30, ge=1, le=200)
    timeout_s: float = Field(default=5, gt=0)
    _client: RerankClient = PrivateAttr()
    _pool: ThreadPoolExecutor = PrivateAttr()
    _rest_s: float = PrivateAttr()
    _rests_until: float = PrivateAttr(default=0.0)  # on the monotonic clock
    _last_failure: str = PrivateAttr(default="")

    def __init__(self, client: RerankClient, *, top_n: int = 30, timeout_s: float = 5, rest_s: float = _REST_S) -> None:
        super().__init__(top_n=top_n, timeout_s=timeout_s)  # type: ignore[call-arg]
        self._client = client
        self._rest_s = rest_s
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rerank")

    @classmethod
    def class_name(cls) -> str:
        return "Reranker"

    def describe(self) -> str:
        """What will rerank, for the start of the app.

        Raises:
            RerankUnavailable: nothing answers at the URL, or what does is no rerank server.
        """
        server = self._client.server(timeout_s=self.timeout_s)
        return f"{server.model or 'unnamed model'} at {self._client.shown_url}"

    def rerank(self, query: str, evidence: Sequence[Evidence]) -> Reranked:
        """Never raises for the server's sake; a failure is in the result and in the log."""
        head, tail = evidence[: self.top_n], evidence[self.top_n :]
        scored = self._try(query, [_text(item) for item in head])
        if isinstance(scored, str):
            return Reranked(tuple(evidence), failure=scored)
        first = [
            replace(head[i], scores=replace(head[i].scores, rerank=scored.scores[i])) for i in _order(scored.scores)
        ]
        ordered = (replace(item, rank=rank) for rank, item in enumerate([*first, *tail], start=1))
        return Reranked(tuple(ordered), shortened=scored.shortened)

    def close(self) -> None:
        """End what runs; questions that come later are not reranked."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("a reranker needs the question: pass query_bundle or query_str")
        head, tail = nodes[: self.top_n], nodes[self.top_n :]
        scored = self._try(query_bundle.query_str, [item.node.get_content(MetadataMode.EMBED) for item in head])
        if isinstance(scored, str):
            return nodes
        return [NodeWithScore(node=head[i].node, score=scored.scores[i]) for i in _order(scored.scores)] + tail

    def _try(self, query: str, texts: list[str]) -> _Scored | str:
        """The scores, or the sentence that says why there are none."""
        if not texts:
            return _Scored([], 0)
        if time.monotonic() < self._rests_until:
            return self._last_failure
        deadline = time.monotonic() + self.timeout_s
        # In a thread of its own: connecting, sending and reading have their timeouts, all together they have this one.
        try:
            job = self._pool.submit(self._score, query, texts, deadline)
        except RuntimeError:  # the app is ending, and this question with it
            return "The reranker was closed."
        try:
            return job.result(self.timeout_s)
        except TimeoutError:
            job.cancel()
            failure = f"The rerank server at {self._client.shown_url} did not answer within {self.timeout_s:g} s."
        except RerankUnavailable as exc:
            failure = exc.sentence()
            if isinstance(exc, TextsRefused):
                log.warning("not reranked: %s", failure)
                return failure
        log.warning("not reranked, next try in %g s: %s", self._rest_s, failure)
        self._last_failure, self._rests_until = failure, time.monotonic() + self._rest_s
        return failure

    def _score(self, query: str, texts: list[str], deadline: float) -> _Scored:
        query, longest = query[:_LONGEST_QUERY_CHARS], _LONGEST_CHARS
        size = min(len(texts), self._client.server(timeout_s=_left(deadline)).batch_texts)
        scores: list[float] = []
        while len(scores) < len(texts):
            batch = [text[:longest] for text in texts[len(scores) : len(scores) + size]]
            try:
                scores += self._client.scores(query, batch, timeout_s=_left(deadline))
            except TextsRefused as exc:
                longest_here = max(map(len, batch))
                if exc.batch and size > 1:
                    size = (size + 1) // 2
                elif longest_here > _SHORTEST_CHARS:
                    longest = longest_here * 3 // 4
                else:
                    raise
        shortened = sum(len(text) > longest for text in texts)
        if shortened:
            log.info("%d of %d passages were shortened to %d characters to be reranked", shortened, len(texts), longest)
        return _Scored(scores, shortened)


def _text(evidence: Evidence) -> str:
    """As it is embedded: the passage below its title and headings."""
    heading = " › ".join(dict.fromkeys([evidence.title, *evidence.heading]))
    return f"{heading}\n{evidence.readable}"


def _order(scores: Sequence[float]) -> list[int]:
    """Best first; equal scores stay in the order in which they were found."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))


def _left(deadline: float) -> float:
    """Seconds; a little even when late, since whoever waits has given up by then."""
    return max(deadline - time.monotonic(), 0.01)
