"""The chats that are measured: the app's own, and two made of what LlamaIndex brings; each tells what its turns took.

Ours is the whole service that page and API use. LlamaIndex's have its hybrid store, its chat engine, its memory and its
OpenAI client, and neither footnotes that are resolved nor sentences that are checked. Knows nothing about averages.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.indices import VectorStoreIndex
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.storage.chat_store import BaseChatStore, SimpleChatStore
from llama_index.llms.openai_like import OpenAILike

from eval.speed_search_stock import Stock
from eval.speed_turn_llm import MODEL, PASSAGES_FOLLOW
from knowledge.embedding import GakjuEmbedding
from knowledge.errors import GakjuError
from pipelines.events import Done, Event, Failed
from pipelines.service import ChatService

_OWNER = "evaluation"
_REDIS_STORE = "llama_index.storage.chat_store.redis"
_MEMORY_TOKENS = 3_000  # what its memory holds by default
_CONTEXT_WINDOW = 32_768
# What the time up to an event was spent on; up to one that is not named, on that event.
_STEPS = {
    "Started": "memory, begin",
    "Searching": "rewriting",
    "Found": "search",
    "Checked": "footnotes and check",
    "Answered": "memory, end",
    "Done": "memory, end",
}
_FIRST, _REST, _LOG, _RELATED = (
    "prompt, up to the first words",
    "stream and parse",
    "log",
    "related questions, after it",
)
STEPS = ("memory, begin", "rewriting", "search", _FIRST, _REST, "footnotes and check", "memory, end", _LOG, _RELATED)


@dataclass(frozen=True, slots=True)
class Asked:
    """One turn: until it is answered, checked and remembered, and its steps where the chat tells them. Milliseconds.

    Related questions come after that: a step, but no part of the whole.
    """

    whole_ms: float
    first_words_ms: float
    steps_ms: dict[str, float]


class Chat(Protocol):
    name: str

    async def begin(self) -> None:
        """A new conversation."""

    async def ask(self, question: str) -> Asked: ...

    async def close(self) -> None: ...


class OurChat:
    def __init__(self, name: str, service: ChatService) -> None:
        self.name = name
        self._service = service
        self._session = ""

    async def begin(self) -> None:
        self._session = await self._service.new_session(owner=_OWNER)

    async def ask(self, question: str) -> Asked:
        """Raises:
        GakjuError: the turn failed.
        """
        began = before = time.perf_counter()
        first = 0.0
        steps: dict[str, float] = {}
        last: object = None
        async for event in self._service.turn(question, session_id=self._session, owner=_OWNER):
            now = time.perf_counter()
            step = _step_up_to(event, is_first=not first, is_answered=type(last).__name__ == "Answered")
            if step == _FIRST:
                first = now
            steps[step] = steps.get(step, 0.0) + (now - before) * 1000
            before, last = now, event
            if isinstance(event, Failed):
                raise GakjuError(event.message, hint=event.hint)
        ended = time.perf_counter()
        if not isinstance(last, Done) or not (last.turn.citations or last.turn.refused):
            raise GakjuError(f"The turn for {question!r} ended with {type(last).__name__} and without a footnote.")
        steps[_LOG] = (ended - before) * 1000
        whole_ms = (ended - began) * 1000 - steps.get(_RELATED, 0.0)
        return Asked(whole_ms, (first - began) * 1000, steps)

    async def close(self) -> None:
        close = getattr(self._service.parts.llm, "aclose", None)
        if close is not None:
            await close()


def _step_up_to(event: Event, *, is_first: bool, is_answered: bool) -> str:
    kind = type(event).__name__
    if kind == "Token":
        return _FIRST if is_first else _REST
    return _RELATED if kind == "Done" and is_answered else _STEPS.get(kind, kind)


Engine = Literal["condense and context", "context"]


class StockChat:
    """`engine`: "condense and context" has the language model rewrite each question that is not the first, as ours does;
    "context" searches for the question as it stands."""

    def __init__(
        self,
        name: str,
        stock: Stock,
        *,
        engine: Engine,
        embedding: GakjuEmbedding,
        base_url: str,
        redis_url: str,
        top_k: int,
    ) -> None:
        self.name = name
        self._stock, self._engine = stock, engine
        index = VectorStoreIndex.from_vector_store(stock.store, embed_model=embedding)
        self._retriever = index.as_retriever(
            vector_store_query_mode="hybrid", similarity_top_k=top_k, sparse_top_k=top_k
        )
        self._llm = OpenAILike(
            model=MODEL, api_base=base_url, api_key="none", is_chat_model=True, context_window=_CONTEXT_WINDOW
        )
        self._chats = chat_store(redis_url)
        self._chat: BaseChatEngine | None = None

    async def begin(self) -> None:
        memory = ChatMemoryBuffer.from_defaults(
            token_limit=_MEMORY_TOKENS, chat_store=self._chats, chat_store_key=uuid.uuid4().hex
        )
        make: Any = CondensePlusContextChatEngine if self._engine == "condense and context" else ContextChatEngine
        self._chat = make.from_defaults(
            retriever=self._retriever, llm=self._llm, memory=memory, system_prompt=PASSAGES_FOLLOW
        )

    async def ask(self, question: str) -> Asked:
        """Raises:
        GakjuError: there was no answer.
        """
        assert self._chat is not None
        began = time.perf_counter()
        first, text = 0.0, ""
        response = await self._chat.astream_chat(question)
        async for token in response.async_response_gen():
            first = first or time.perf_counter()
            text += token
        if response.awrite_response_to_history_task is not None:
            await response.awrite_response_to_history_task
        ended = time.perf_counter()
        if "[1]" not in text:
            raise GakjuError(f"LlamaIndex's chat answered {question!r} with {text[:80]!r}.")
        return Asked((ended - began) * 1000, (first - began) * 1000, {})

    async def close(self) -> None:
        await self._stock.store.close()


def chat_store(redis_url: str) -> BaseChatStore:
    """LlamaIndex's store in Redis if its package is installed, else the one in the memory of the process."""
    if not has_redis_store():
        return SimpleChatStore()
    store: BaseChatStore = importlib.import_module(_REDIS_STORE).RedisChatStore(redis_url=redis_url)
    return store


def has_redis_store() -> bool:
    try:
        return importlib.util.find_spec(_REDIS_STORE) is not None
    except ModuleNotFoundError:  # the package above it
        return False
