"""Asks a language model for a JSON object of a given shape, and takes what it sends for what it is: text from outside.

The server is asked to hold the model to the schema (OpenAI's `response_format`, which vLLM, SGLang, llama.cpp and others
take); one that refuses this is asked without. Either way the object is looked for in the text, since fences, thoughts and
friendly words around it are common. Knows nothing about questions or passages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.llms import LLM, ChatMessage

from knowledge.errors import LLMRejected

_MAX_STARTS = 50  # braces at which an object is looked for
_TRUE = {"true", "yes", "y", "1", "예", "네", "참"}


class JsonModel:
    """`llm` as something that answers with objects."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._is_constrained = True

    async def ask(
        self, messages: Sequence[ChatMessage], properties: Mapping[str, Mapping[str, Any]], *, seed: int
    ) -> dict[str, Any] | None:
        """An object with at least the keys of `properties` (JSON schema), their values unchecked; None: it sent none.

        Raises:
            LLMUnavailable, LLMRejected, LLMInterrupted: it did not answer.
        """
        schema = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        held = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        if self._is_constrained:
            try:
                return await self._ask(messages, properties, temperature=0, seed=seed, response_format=held)
            except LLMRejected as exc:
                if exc.reason != "bad_request":
                    raise
        found = await self._ask(messages, properties, temperature=0)  # nothing that a plain server may not know
        self._is_constrained = False  # it was not the request as a whole that was refused
        return found

    async def _ask(self, messages: Sequence[ChatMessage], wanted: Mapping[str, Any], **options: Any) -> Any:
        response = await self._llm.achat(list(messages), **options)
        return find_object(response.message.content or "", wanted)


def find_object(text: str, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first JSON object in `text` that has all keys of `wanted`, whatever stands around it."""
    decoder = json.JSONDecoder(strict=False)  # line feeds inside strings are common
    at = -1
    for _ in range(_MAX_STARTS):
        at = text.find("{", at + 1)
        if at < 0:
            return None
        try:
            found, _ = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and wanted.keys() <= found.keys():
            return found
    return None


def is_true(value: object) -> bool:
    """A yes, however a model without a schema writes it."""
    return value is True or str(value).strip().casefold() in _TRUE


def one_line(value: object) -> str:
    """A text in one line; "" for what is no text."""
    return " ".join(value.split()) if isinstance(value, str) else ""
