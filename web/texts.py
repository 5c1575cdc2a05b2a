"""Every sentence of the page, in English and Korean, and which of the two a reader gets.

Knows nothing of Gradio or requests. `PAGE` goes to the browser as it is; `ERRORS` holds the Korean sentences for the
codes of `knowledge.errors`, whose own messages are English and say more.
"""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["ko", "en"]

_HANGUL = re.compile(r"[가-힣ᄀ-ᇿㄱ-ㆎ]")
_PREFERRED = re.compile(r"^\s*(ko|en)\b", re.IGNORECASE)

PAGE: dict[Language, dict[str, str]] = {
    "en": {
        "title": "Gakju",
        "tagline": "Answers from your documents, with a footnote on every claim",
        "new": "New conversation",
        "placeholder": "Ask your documents…",
        "question": "Question",
        "conversation": "Conversation",
        "send": "Send the question",
        "stop": "Stop the answer",
        "welcome_title": "What would you like to look up?",
        "welcome_text": "Every answer comes from your documents. Click a footnote to see the passage behind it.",
        "examples": "Example questions",
        "sources": "Sources",
        "sources_empty": "The passages behind an answer appear here.",
        "sources_of": "For the question",
        "sources_waiting": "The sources arrive with the end of the answer.",
        "sources_none": "This answer cites no passage.",
        "cited": "Cited",
        "not_cited": "Retrieved, not cited",
        "source": "Source {n}",
        "open_sources": "Sources",
        "back": "Back to the answer",
        "page": "p. {page}",
        "slide": "slide {slide}",
        "sheet": "sheet “{sheet}”",
        "rows": "rows {first}–{last}",
        "row": "row {first}",
        "scores": "meaning {meaning} · words {words}",
        "answered_by": "Answered by {llm}",
        "quote_mode": "quote mode (closest passages, no language model)",
        "took": "{seconds} s",
        "refused": "not in the documents",
        "searched_for": "Searched for “{query}”",
        "phase_start": "Sending the question…",
        "phase_searching": "Searching: {query}",
        "phase_reading": "Reading {found} passages…",
        "phase_answering": "Writing the answer…",
        "stopped": "Stopped. What was written so far is kept.",
        "done": "The answer is complete.",
        "failed": "The question could not be answered.",
        "banner_quoting": "No language model is connected: answers quote the closest passages. Connect one with",
        "banner_llm": "Answers by {llm}",
        "banner_documents": "{documents} documents · {chunks} passages",
        "banner_unknown": "The state of the service is not known right now.",
        "notice_cut_short": "The answer reached its length limit (LLM_MAX_TOKENS) and was cut.",
        "notice_history_off": "The conversation memory is unavailable: this answer was not saved.",
        "notice_context_cut": "The model took less than was found: half of the passages and earlier turns were left out.",
        "notice_history_cut": "Earlier turns were shortened or left out: they did not fit the model's context.",
        "lost_session": "That conversation is over or unknown. Your next question begins a new one.",
        "history_lost": "The conversation memory does not answer: what was said before cannot be shown right now.",
        "connection_lost": "The connection was lost before the answer came. Your question is back in the box.",
        "interrupted": "This answer was interrupted.",
        "pending": "This answer was never finished.",
        "request_id": "Request id",
        "api": "Use via API",
    },
    "ko": {
        "title": "각주",
        "tagline": "내 문서로만 답하고, 모든 주장에 각주를 답니다",
        "new": "새 대화",
        "placeholder": "문서에 물어보세요…",
        "question": "질문",
        "conversation": "대화",
        "send": "질문 보내기",
        "stop": "답변 멈추기",
        "welcome_title": "무엇을 찾아볼까요?",
        "welcome_text": "모든 답변은 등록된 문서에서 나옵니다. 각주를 누르면 근거가 된 구절을 볼 수 있습니다.",
        "examples": "예시 질문",
        "sources": "출처",
        "sources_empty": "답변의 근거가 된 구절이 여기에 나타납니다.",
        "sources_of": "이 질문의 출처",
        "sources_waiting": "답변이 끝나면 출처가 나타납니다.",
        "sources_none": "이 답변에는 인용한 구절이 없습니다.",
        "cited": "인용됨",
        "not_cited": "검색되었지만 인용하지 않음",
        "source": "출처 {n}",
        "open_sources": "출처",
        "back": "답변으로 돌아가기",
        "page": "{page}쪽",
        "slide": "슬라이드 {slide}",
        "sheet": "시트 “{sheet}”",
        "rows": "{first}–{last}행",
        "row": "{first}행",
        "scores": "의미 {meaning} · 단어 {words}",
        "answered_by": "답변: {llm}",
        "quote_mode": "인용 모드 (언어 모델 없이 가장 가까운 구절)",
        "took": "{seconds}초",
        "refused": "문서에 없음",
        "searched_for": "검색어: “{query}”",
        "phase_start": "질문을 보내는 중…",
        "phase_searching": "검색 중: {query}",
        "phase_reading": "구절 {found}개를 읽는 중…",
        "phase_answering": "답변을 쓰는 중…",
        "stopped": "멈췄습니다. 지금까지 쓴 내용은 남아 있습니다.",
        "done": "답변이 끝났습니다.",
        "failed": "질문에 답하지 못했습니다.",
        "banner_quoting": "연결된 언어 모델이 없어 가장 가까운 구절을 그대로 인용합니다. 연결하려면",
        "banner_llm": "답변 모델: {llm}",
        "banner_documents": "문서 {documents}개 · 구절 {chunks}개",
        "banner_unknown": "지금은 서비스 상태를 알 수 없습니다.",
        "notice_cut_short": "답변이 길이 제한(LLM_MAX_TOKENS)에 닿아 잘렸습니다.",
        "notice_history_off": "대화 기록 저장소를 쓸 수 없어 이 답변은 저장되지 않았습니다.",
        "notice_context_cut": "모델이 받을 수 있는 길이를 넘어, 찾은 대목과 이전 대화의 절반을 빼고 답했습니다.",
        "notice_history_cut": "이전 대화 일부는 모델이 한 번에 읽을 수 있는 길이를 넘어 줄이거나 제외했습니다.",
        "lost_session": "그 대화는 끝났거나 찾을 수 없습니다. 다음 질문부터 새 대화가 시작됩니다.",
        "history_lost": "대화 기록 저장소가 응답하지 않아 지난 대화를 지금은 보여 줄 수 없습니다.",
        "connection_lost": "답변이 오기 전에 연결이 끊겼습니다. 질문을 입력창에 되돌려 놓았습니다.",
        "interrupted": "이 답변은 중간에 끊겼습니다.",
        "pending": "이 답변은 끝나지 않았습니다.",
        "request_id": "요청 번호",
        "api": "API로 사용하기",
    },
}

# code, or "code.reason" -> (what failed, what to do).
_KOREAN_ERRORS: dict[str, tuple[str, str]] = {
    "invalid_message": ("질문을 처리할 수 없습니다.", "텍스트로 된 질문을 보내 주세요."),
    "invalid_message.empty": ("질문이 비어 있습니다.", "궁금한 내용을 입력해 주세요."),
    "invalid_message.too_long": ("질문이 너무 깁니다.", "짧게 줄여서 다시 보내 주세요."),
    "session_not_found": ("그 대화를 찾을 수 없습니다.", "session_id를 비워 새 대화를 시작해 주세요."),
    "session_busy": (
        "이 대화의 앞 질문에 아직 답하고 있습니다.",
        "답이 끝나기를 기다리거나 멈춘 뒤 다시 물어봐 주세요.",
    ),
    "database_unavailable": ("문서 데이터베이스가 응답하지 않습니다.", "잠시 뒤 다시 시도해 주세요."),
    "database_error": (
        "데이터베이스가 요청을 거부했습니다.",
        "잠시 뒤 다시 시도해 보고, 계속되면 관리자에게 알려 주세요.",
    ),
    "memory_unavailable": ("대화 기록 저장소가 응답하지 않습니다.", "잠시 뒤 다시 시도해 주세요."),
    "embedding_unavailable": ("임베딩 서버가 응답하지 않습니다.", "잠시 뒤 다시 시도해 주세요."),
    "index_mismatch": ("색인이 지금의 임베딩 설정과 맞지 않습니다.", "관리자가 문서를 다시 색인해야 합니다."),
    "llm_error": ("언어 모델이 답하지 못했습니다.", "잠시 뒤 다시 시도해 주세요."),
    "llm_unavailable": ("언어 모델 서버에 연결할 수 없습니다.", "잠시 뒤 다시 시도해 주세요."),
    "llm_rejected": (
        "언어 모델 서버가 요청을 거절했습니다.",
        "질문을 줄이거나 관리자에게 설정을 확인해 달라고 하세요.",
    ),
    "llm_interrupted": ("답변이 중간에 끊겼습니다.", "지금까지 쓴 내용은 남아 있습니다. 다시 물어봐 주세요."),
    "wrong_host": ("이 서버가 모르는 호스트 이름입니다.", "관리자가 ALLOWED_HOSTS에 그 이름을 넣어야 합니다."),
    "internal": ("서버에서 문제가 생겼습니다.", "다시 시도해 보고, 계속되면 요청 번호를 관리자에게 알려 주세요."),
}


def language_of(accept_language: str, question: str = "") -> Language:
    """What the browser asks for first; for programs, which ask for nothing, the script of the question."""
    for choice in accept_language.split(","):
        if match := _PREFERRED.match(choice):
            return "ko" if match.group(1).lower() == "ko" else "en"
    return "ko" if _HANGUL.search(question) else "en"


def error_text(language: Language, *, code: str, message: str, hint: str, question: str = "") -> tuple[str, str]:
    """What failed and what to do, in `language` where we have it, else in the words of the error itself."""
    if language == "en" or _HANGUL.search(message):
        return message, hint
    reason = "empty" if not question.strip() else "too_long"
    known = _KOREAN_ERRORS.get(f"{code}.{reason}") or _KOREAN_ERRORS.get(code)
    return known or (message, hint)
