"""A tool's result as evidence, so that footnotes, page, API, history and log treat it like a passage; and what users
read about tools, in Korean and English. Knows no server and no model."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from knowledge.lexemes import language_of
from knowledge.types import Evidence, Place, Scores
from pipelines.tools.texts import one_line
from pipelines.tools.types import ToolFailed, ToolResult

COLLECTION = "tool"
_QUOTED_CHARS = 1_200

_FAILED: dict[str, dict[str, str]] = {
    "ko": {
        "unreachable": "도구 {tool}에 연결할 수 없어 묻지 못했습니다.",
        "timeout": "도구 {tool}이(가) 제한 시간 안에 답하지 않았습니다.",
        "resting": "도구 {tool}은(는) 방금 여러 번 실패해 잠시 쉬는 중이라 묻지 않았습니다.",
        "too_large": "도구 {tool}의 답이 너무 커서 받지 않았습니다.",
        "malformed": "도구 {tool}의 답을 읽을 수 없었습니다.",
        "rejected": "도구 {tool}이(가) 요청을 거절했습니다.",
        "reported": "도구 {tool}이(가) 실패했다고 답했습니다.",
        "unknown_tool": "쓸 수 없는 도구가 골라져 부르지 않았습니다.",
        "bad_arguments": "도구 {tool}에 맞지 않는 값이 골라져 부르지 않았습니다.",
    },
    "en": {
        "unreachable": "The tool {tool} could not be reached.",
        "timeout": "The tool {tool} did not answer in time.",
        "resting": "The tool {tool} has just failed several times and is left alone for a moment.",
        "too_large": "The answer of the tool {tool} is too large and was not taken.",
        "malformed": "The answer of the tool {tool} could not be read.",
        "rejected": "The tool {tool} refused the request.",
        "reported": "The tool {tool} says that it failed.",
        "unknown_tool": "A tool was chosen that is not offered, so none was called.",
        "bad_arguments": "The values chosen do not fit the tool {tool}, so it was not called.",
    },
}
_AS_OF = {"ko": "{at} 기준", "en": "as of {at}"}
_STALE = {"ko": "기한이 지난 결과", "en": "out of date"}
_CUT = {"ko": "{n:,}자에서 잘림", "en": "cut from {n:,} characters"}
_STALE_SENTENCE = {
    "ko": "지금 다시 묻지 못해 {at} 기준의 이전 결과를 보여 드립니다.",
    "en": "It could not be asked again now; this is its earlier result as of {at}.",
}


def to_evidence(results: Sequence[ToolResult], *, language: str, first_rank: int = 1) -> tuple[Evidence, ...]:
    """One passage for each result; its heading holds the arguments and the time."""
    passages = []
    for rank, result in enumerate(results, start=first_rank):
        identity = f"tool-{secrets.token_hex(16)}"
        passages.append(
            Evidence(
                chunk_id=identity,
                document_id=identity,
                collection=COLLECTION,
                path=f"tool:{result.tool.replace('.', '/', 1)}",
                title=result.tool,
                heading=_heading(result, language),
                place=Place(),
                start=0,
                end=len(result.text),
                text=result.text,
                language=language_of(result.text),
                scores=Scores(),
                rank=rank,
            )
        )
    return tuple(passages)


def is_tool(evidence: Evidence) -> bool:
    return evidence.path.startswith("tool:") and evidence.chunk_id.startswith("tool-")


def quoted_answer(results: Sequence[ToolResult], *, language: str, first_number: int = 1) -> str:
    """Answers without a language model: each result in its own words, with its footnote."""
    parts = []
    for n, result in enumerate(results, start=first_number):
        text = _without_footnotes(result.text)
        shown = text if len(text) <= _QUOTED_CHARS else text[: _QUOTED_CHARS - 1].rstrip() + "…"
        lines = [line.strip() for line in shown.splitlines() if line.strip()]
        # After a bare word a footnote needs a space, or "x[1]" would read as an index.
        parts.append("\n\n".join(f"{line}{' ' if re.search(r'[A-Za-z0-9_]$', line) else ''}[{n}]" for line in lines))
        if result.stale:
            parts.append(_STALE_SENTENCE[language].format(at=_moment(result.fetched_at)))
    return "\n\n".join(parts)


def failure_sentence(failed: ToolFailed, language: str) -> str:
    """What the user reads. Not in the tool's own words: the answer is part of the history, which a model reads."""
    return _FAILED[language][failed.reason].format(tool=failed.tool)


def shown_arguments(arguments: Mapping[str, object]) -> str:
    return one_line(", ".join(f"{name}={value}" for name, value in arguments.items()), 200)


def _heading(result: ToolResult, language: str) -> tuple[str, ...]:
    notes = [_AS_OF[language].format(at=_moment(result.fetched_at))]
    notes += [_STALE[language]] if result.stale else []
    notes += [_CUT[language].format(n=result.cut_from)] if result.cut_from else []
    return tuple(part for part in (shown_arguments(result.arguments), ", ".join(notes)) if part)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _without_footnotes(text: str) -> str:
    """A result that writes "[2]" means nothing of ours."""
    return re.sub(r"\[(\^?\d{1,2})\]", r"(\1)", text)
