"""What of a conversation a model gets to read: the latest turns whole, older ones in a line each; none cut in the middle.

The line is the question and the first sentence of its answer: no model is asked for it, so nothing waits for it and
nothing in it is invented. Knows nothing about stores or prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_index.core.llms import ChatMessage

from knowledge.sentences import sentence_spans
from pipelines.chat_memory import to_messages
from pipelines.citations import without_markers
from pipelines.events import Turn
from pipelines.tokens import estimate_tokens

_SHARE_OF_LINES = 0.25  # of the room, for the turns that are told in a line
_QUESTION_CHARS, _ANSWER_CHARS = 160, 200


@dataclass(frozen=True, slots=True)
class Earlier:
    """`messages`: the latest turns; `lines`: those before them, oldest first; `left_out`: turns in neither.

    `is_cut`: for want of room, fewer turns are whole than were wanted, or some are left out.
    """

    messages: tuple[ChatMessage, ...]
    lines: tuple[str, ...]
    left_out: int
    is_cut: bool


def fit(turns: Sequence[Turn], *, whole: int, room_tokens: int) -> Earlier:
    """As many of the latest turns as fit, at most `whole` of them whole. `turns`: oldest first."""
    told = [turn for turn in turns if turn.question and turn.answer and turn.status in ("complete", "interrupted")]
    for kept in range(min(whole, len(told)), -1, -1):
        messages = to_messages(told[len(told) - kept :])
        spent = sum(estimate_tokens(message.content or "") for message in messages)
        is_all = kept == len(told)
        if kept == 0 or spent <= room_tokens * (1 if is_all else 1 - _SHARE_OF_LINES):
            break
    left = room_tokens - spent
    lines: list[str] = []
    for turn in reversed(told[: len(told) - kept]):
        line = _line(turn)
        left -= estimate_tokens(line)
        if left < 0:
            break
        lines.append(line)
    left_out = len(told) - kept - len(lines)
    is_cut = kept < min(whole, len(told)) or left_out > 0
    return Earlier(tuple(messages), tuple(reversed(lines)), left_out, is_cut)


def _line(turn: Turn) -> str:
    answer = " ".join(without_markers(turn.answer).split())
    spans = sentence_spans(answer)
    first = answer[spans[0][0] : spans[0][1]] if spans else answer
    return f"{_short(' '.join(turn.question.split()), _QUESTION_CHARS)} → {_short(first, _ANSWER_CHARS)}"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
