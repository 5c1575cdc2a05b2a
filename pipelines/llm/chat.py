"""A chat with an OpenAI-compatible server as a LlamaIndex LLM in which no failure passes for an answer.

LlamaIndex's own stream (llama_index.llms.openai, `_astream_chat`) never reads `finish_reason`, takes an error frame
followed by `[DONE]`, or a stream that just ends, for a whole answer, and its instrumentation wrapper does not close the
stream when it is closed. So the four `_…chat` methods, on which chat and completion stand, are our own; interface,
callbacks and events stay LlamaIndex's. Knows nothing about prompts, passages or citations.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import openai
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.llms.openai.utils import to_openai_message_dicts
from llama_index.llms.openai_like import OpenAILike

from pipelines.llm.bridge import iterate
from pipelines.llm.failover import Failover
from pipelines.llm.frames import AnswerText
from pipelines.llm.server import NO_KEY, UNKNOWN_CONTEXT_WINDOW, Server, ServerInfo, Timeouts

TOP_P = 1.0  # sent, because a model's generation_config.json silently changes the server's default


def connect(
    *, base_url: str, model: str, api_key: str, temperature: float, max_tokens: int, timeouts: Timeouts
) -> VllmChat:
    """The server at `base_url` as an LLM; several, separated by commas, stand in for each other in their order.

    Makes no call. `model`: "" is the first one that a server lists.
    """
    urls = [url.strip() for url in base_url.split(",") if url.strip()]
    alone = {} if len(urls) == 1 else {"max_calls": 1, "failures": 1}  # the next server is the second try
    servers = [Server(url, model=model, api_key=api_key, timeouts=timeouts, **alone) for url in urls]
    return VllmChat(
        server=servers[0] if len(servers) == 1 else Failover(servers),
        model=model,
        api_base=urls[0],
        api_key=api_key or NO_KEY,
        temperature=temperature,
        max_tokens=max_tokens,
        context_window=UNKNOWN_CONTEXT_WINDOW,
        is_chat_model=True,
        is_function_calling_model=False,
        max_retries=0,
    )


class VllmChat(OpenAILike):
    """Streams text only: no empty deltas, no reasoning. Build it with `connect`.

    The last `ChatResponse` of a stream has an empty delta, the whole message, and in `additional_kwargs`
    `finish_reason` ("stop" or "length") and `usage` (`prompt_tokens`, `completion_tokens`; {} where the server sends
    none). Closing the stream closes the request at the server.

    Raises, from every method: LLMUnavailable and LLMRejected before the first token, LLMInterrupted after it.
    """

    _server: Server | Failover = PrivateAttr()

    def __init__(self, *, server: Server | Failover, **fields: Any) -> None:
        super().__init__(**fields)
        self._server = server

    @classmethod
    def class_name(cls) -> str:
        return "VllmChat"

    @property
    def metadata(self) -> LLMMetadata:
        """What is configured; once the server has been asked (`describe` or a first chat), what it said."""
        info = self._server.info
        known = {} if info is None else {"model_name": info.model, "context_window": info.context_window}
        return super().metadata.model_copy(update=known)

    async def describe(self, *, refresh: bool = False) -> ServerInfo:
        """Model and context window of the server, remembered; `refresh` asks again (a health check)."""
        return await self._server.describe(refresh=refresh)

    async def aclose(self) -> None:
        """Closes the running event loop's idle connections."""
        await self._server.aclose()

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        answer = self._answer(messages, **kwargs)

        @llm_chat_callback()
        async def begin(_llm: VllmChat, _messages: Sequence[ChatMessage], **_kwargs: Any) -> ChatResponseAsyncGen:
            return answer

        observed = await begin(self, messages, **kwargs)

        async def closing_both() -> ChatResponseAsyncGen:
            # The wrapper does not close what it wraps: without this, the request would go on until garbage collection.
            async with aclosing(answer), aclosing(observed):
                async for response in observed:
                    yield response

        return closing_both()

    def _get_aclient(self) -> openai.AsyncOpenAI:
        return self._server.client()

    async def _astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return self._answer(messages, **kwargs)

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        async with aclosing(self._answer(messages, **kwargs)) as answer:
            responses = [response async for response in answer]
        return responses[-1].model_copy(update={"delta": None})

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return iterate(lambda: self._answer_in_own_loop(messages, **kwargs))

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        *_, last = self._stream_chat(messages, **kwargs)
        return last.model_copy(update={"delta": None})

    async def _answer_in_own_loop(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> AsyncGenerator[ChatResponse, None]:
        try:
            async with aclosing(self._answer(messages, **kwargs)) as answer:
                async for response in answer:
                    yield response
        finally:
            await self.aclose()

    async def _answer(self, messages: Sequence[ChatMessage], **kwargs: Any) -> AsyncGenerator[ChatResponse, None]:
        answer, text = AnswerText(), ""
        finish_reason, usage = "", _tokens(None)
        async with aclosing(self._server.deltas(self._body(messages, kwargs))) as deltas:
            async for delta in deltas:
                finish_reason = finish_reason or delta.finish_reason
                usage = _tokens(delta.usage) or usage
                piece = answer.feed(delta.text)
                if piece:
                    text += piece
                    yield _response(text, piece)
        piece = answer.finish()
        if piece:
            text += piece
            yield _response(text, piece)
        yield _response(text, "", finish_reason=finish_reason, usage=usage)

    def _body(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "messages": to_openai_message_dicts(messages, model=self.model),
            "temperature": self.temperature,
            "top_p": TOP_P,
            "max_tokens": self.max_tokens,
            **self.additional_kwargs,
            **kwargs,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _response(text: str, delta: str, **additional: Any) -> ChatResponse:
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, content=text),
        delta=delta,
        raw={"usage": additional["usage"]} if additional else None,  # where LlamaIndex's token counter looks
        additional_kwargs=additional,
    )


def _tokens(usage: Mapping[str, Any] | None) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens")
    return {name: int(usage[name]) for name in names if usage.get(name) is not None} if usage else {}
