"""A follow-up written out as a question of its own by a language model: asked once, briefly, and not believed blindly.

What the model returns is taken only if it is one line in the form of a question, in the user's language, and about
something that the user wrote: answers of earlier turns hold words of documents, which may ask a model to search for
something else. Knows nothing about rules or search.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import replace

from llama_index.core.llms import LLM

from knowledge.errors import LLMError, LLMUnavailable
from knowledge.lexemes import Analyzer, language_of
from pipelines.chat_memory import to_messages
from pipelines.events import Turn
from pipelines.prompt import build_condense_messages, is_refusal
from pipelines.rewrite_rules import own_words

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0  # then the rule is as good: a reader waits for this before anything is searched
MAX_TOKENS = 160
_MAX_CHARS = 300
_HISTORY_TURNS = 3
_MAX_ANSWER_CHARS = 400  # of each earlier answer: enough to see what a question may point at
_LABEL = re.compile(r"^\s*(질문|바꿔 쓴 질문|독립된 질문|(rewritten |standalone )?question)\s*[:：]\s*", re.IGNORECASE)
_QUOTES = "\"'“”‘’`「」"
_NOT_A_QUESTION = re.compile(r"[가-힣]다[.!]?$|\[\d|<[a-z/|]|https?:|www\.", re.IGNORECASE)


async def write_out(
    question: str, history: Sequence[Turn], *, llm: LLM, analyzer: Analyzer, timeout_s: float = TIMEOUT_S
) -> str:
    """`question` as one that stands alone, or "" if the model gave none that can be used.

    Raises:
        LLMUnavailable: the model does not answer at all.
    """
    recent = [_shortened(turn) for turn in history[-_HISTORY_TURNS:]]
    messages = build_condense_messages(question, to_messages(recent))
    try:
        async with asyncio.timeout(timeout_s):
            answer = await llm.achat(messages, max_tokens=MAX_TOKENS, temperature=0.0)
    except LLMUnavailable:
        raise  # it will not write the answer either, and each further call would be retried anew
    except (LLMError, TimeoutError) as exc:
        log.warning("follow-up not written out by the model: %s", type(exc).__name__)
        return ""
    is_cut = answer.additional_kwargs.get("finish_reason") == "length"
    written = "" if is_cut else tidied(answer.message.content or "")
    asked = [question, *(turn.question for turn in recent)]
    if await asyncio.to_thread(is_usable, written, question, asked, analyzer):
        return written
    log.info("what the model wrote out for a follow-up is not used")
    return ""


def tidied(text: str) -> str:
    """The line that was written, without label and quotation marks; "" if it is not one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        return ""
    return " ".join(_LABEL.sub("", lines[0]).strip().strip(_QUOTES).split())


def is_usable(written: str, question: str, asked: Sequence[str], analyzer: Analyzer) -> bool:
    """Whether `written` is a question about what the user asked. `asked`: the user's own words, `question` among them."""
    users = "\n".join(asked)
    if not 0 < len(written) <= _MAX_CHARS or is_refusal(written):
        return False
    if _NOT_A_QUESTION.search(written) and written not in users:
        return False
    if question.rstrip().endswith("?") and language_of(question) == "en" and not written.endswith("?"):
        return False
    if language_of(written) != language_of(question) and language_of(question) != "und":
        return False
    # Content words: by their endings alone, any two Korean questions share some pairs of syllables.
    theirs = set(own_words(users, analyzer))
    return not theirs or not theirs.isdisjoint(own_words(written, analyzer))


def _shortened(turn: Turn) -> Turn:
    if len(turn.answer) <= _MAX_ANSWER_CHARS:
        return turn
    return replace(turn, answer=turn.answer[:_MAX_ANSWER_CHARS].rstrip() + " …")
