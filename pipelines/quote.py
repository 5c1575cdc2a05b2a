"""Quote mode: answers without a language model, in the documents' own words.

`QuoteLLM` is a LlamaIndex LLM like any other, so engine, streaming, citations and page are the same code with and
without a model. Given messages that end in a `GroundedMessage` it streams the sentences of the evidence that answer
best, each with its `[n]`; given anything else it says that the documents do not tell, since it knows nothing else.
It never pretends to be a model: its name is "quote mode".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from knowledge.embedding.base import GakjuEmbedding
from knowledge.lexemes import Analyzer
from knowledge.sentences import sentence_spans
from knowledge.types import Evidence
from pipelines.prompt import NO_ANSWER, GroundedMessage, answer_language
from pipelines.reading_order import Quoted
from pipelines.selection import Idf, Selector

MODEL_NAME = "quote mode"

_PIECE = re.compile(r"\s*\S+|\s+")
_CONTEXT_WINDOW_TOKENS = 1_000_000  # it reads the evidence as values; no prompt is too long for it


def select(
    question: str,
    evidence: Sequence[Evidence],
    *,
    analyzer: Analyzer,
    embedding: GakjuEmbedding | None = None,
    idf: Idf | None = None,
    search_query: str = "",
) -> list[Quoted]:
    """The sentences of `evidence` that answer `question`, in reading order; [] if none does. Computes: tens of ms."""
    selector = Selector(analyzer, embedding, idf)
    language = answer_language(question, evidence)
    return selector.select(question, evidence, language=language, search_query=search_query)


def render(quoted: Sequence[Quoted]) -> str:
    """Quoted sentences as Markdown: a paragraph for each passage; list items and table rows, if several, as a list."""
    bulleted = sum(item.kind != "sentence" for item in quoted) > 1
    text = ""
    previous: Quoted | None = None
    for item in quoted:
        gap = _gap(previous, item, bulleted=bulleted)
        bullet = "- " if bulleted and item.kind != "sentence" and gap != " " else ""
        text += gap + bullet + _footnoted(item)
        previous = item
    return text


def _footnoted(item: Quoted) -> str:
    """The text with its footnote after each of its sentences: a FAQ's answer or a cell of a row may have several."""
    spans = sentence_spans(item.text)
    # After a bare word a footnote needs a space, or "x[1]" would read as an index.
    return " ".join(re.sub(r"([A-Za-z0-9_\]])$", r"\1 ", item.text[a:b]) + f"[{item.n}]" for a, b in spans)


def _gap(previous: Quoted | None, item: Quoted, *, bulleted: bool) -> str:
    if previous is None:
        return ""
    follows = previous.n == item.n and previous.order + 1 == item.order
    if item.kind == "more" and follows and previous.kind in ("item", "more"):
        return " "
    if bulleted and "sentence" not in (previous.kind, item.kind):
        return "\n"
    one_paragraph = previous.n == item.n and "row" not in (previous.kind, item.kind)
    if bulleted and {previous.kind, item.kind} != {"sentence"}:
        one_paragraph = False
    return " " if one_paragraph else "\n\n"


class QuoteLLM(CustomLLM):
    """Answers from the evidence of the last message. May be used from several threads and event loops at once.

    The last `ChatResponse` of a stream has an empty delta, the whole message and `finish_reason` "stop".
    """

    _selector: Selector = PrivateAttr()

    def __init__(
        self, *, analyzer: Analyzer, embedding: GakjuEmbedding | None = None, idf: Idf | None = None, **fields: Any
    ) -> None:
        """`idf`: rarity of words over the whole index; without it (or its database) over the evidence only.
        `embedding`: without it sentences are chosen by their words alone."""
        super().__init__(**fields)
        self._selector = Selector(analyzer, embedding, idf)

    @classmethod
    def class_name(cls) -> str:
        return "QuoteLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=_CONTEXT_WINDOW_TOKENS,
            num_output=-1,
            is_chat_model=True,
            is_function_calling_model=False,
            model_name=MODEL_NAME,
        )

    def answer(self, messages: Sequence[ChatMessage]) -> str:
        """The whole answer as Markdown. Computes: call it in a thread where an event loop runs."""
        last = messages[-1] if messages else None
        if not isinstance(last, GroundedMessage):
            asked = next((m.content or "" for m in reversed(messages) if m.role == MessageRole.USER), "")
            return NO_ANSWER[answer_language(asked)]
        language = answer_language(last.question, last.evidence)
        quoted = self._selector.select(last.question, last.evidence, language=language, search_query=last.search_query)
        return render(quoted) or NO_ANSWER[language]

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _whole(self.answer(messages))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _whole(await asyncio.to_thread(self.answer, messages))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        def stream() -> Generator[ChatResponse, None, None]:
            yield from _pieces(self.answer(messages))

        return stream()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def stream() -> AsyncGenerator[ChatResponse, None]:
            for response in _pieces(await asyncio.to_thread(self.answer, messages)):
                yield response
                await asyncio.sleep(0)  # let other requests run between two pieces

        return stream()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """A bare prompt has no evidence: this always refuses."""
        return CompletionResponse(text=NO_ANSWER[answer_language(prompt)])

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def stream() -> Generator[CompletionResponse, None, None]:
            for response in _pieces(NO_ANSWER[answer_language(prompt)]):
                yield CompletionResponse(text=response.message.content or "", delta=response.delta)

        return stream()


def _pieces(answer: str) -> Iterator[ChatResponse]:
    text = ""
    for piece in _PIECE.findall(answer):
        text += piece
        yield ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=piece)
    yield _whole(answer, delta="")


def _whole(answer: str, *, delta: str | None = None) -> ChatResponse:
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, content=answer),
        delta=delta,
        additional_kwargs={"finish_reason": "stop", "usage": {}},
    )
