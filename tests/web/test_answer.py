"""Events folded into text and JSON."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.events import Answered, Done, Failed, Found, Searching, Started, Token, Turn
from tests.web.fake_service import passages
from web.answer import Answer, stored_markdown
from web.texts import PAGE, error_text, language_of


def answer_after(*events) -> Answer:
    answer = Answer(question="q")
    for event in events:
        answer = answer.after(event)
    return answer


def test_phases_are_told_while_the_answer_grows():
    answer = answer_after(Started("s", "t"), Searching("rewritten"))
    assert answer.to_dict()["phase"] == "searching"
    answer = answer.after(Found(passages("x")))
    assert (answer.to_dict()["phase"], answer.to_dict()["found"]) == ("reading", 4)
    answer = answer.after(Token("a")).after(Token("b [1]"))
    shown = answer.to_dict()
    assert (shown["phase"], shown["status"], answer.markdown("en")) == ("answering", "pending", "ab [1]")
    assert shown["session_id"] == "s" and shown["search_query"] == "rewritten"


def test_the_finished_turn_replaces_what_was_streamed():
    turn = Turn("t", "s", 1.0, "q", answer="checked [1]", status="complete", retrieved=passages("x"), llm="quote mode")
    answer = answer_after(Started("s", "t"), Token("unchecked [9]"), Done(turn, "history_off"))
    shown = answer.to_dict()
    assert answer.markdown("en") == "checked [1]"
    assert (shown["status"], shown["notice"], len(shown["retrieved"])) == ("complete", "history_off", 4)
    assert not {"phase", "found", "error"} & shown.keys()


def test_an_answer_is_whole_before_its_related_questions_come():
    turn = Turn("t", "s", 1.0, "q", answer="checked [1]", status="complete", retrieved=passages("x"), llm="quote mode")
    answer = answer_after(Started("s", "t"), Token("unchecked [9]"), Answered(turn, "history_off"))
    shown = answer.to_dict()
    assert answer.markdown("en") == "checked [1]" and (shown["status"], shown["phase"]) == ("complete", "suggesting")
    assert (shown["related"], shown["notice"], len(shown["retrieved"])) == ([], "history_off", 4)
    done = answer.after(Done(replace(turn, related=("What is x?", "What is y?")), "history_off")).to_dict()
    assert done["related"] == ["What is x?", "What is y?"] and "phase" not in done


def test_a_failure_keeps_what_was_streamed_and_says_what_to_do():
    failed = Failed("llm_interrupted", "The stream broke.", "Ask again.", "req-1", True)
    answer = answer_after(Started("s", "t"), Token("half"), failed)
    english, korean = answer.markdown("en"), answer.markdown("ko")
    assert english.startswith("half\n") and "The stream broke." in english and "req-1" in english
    assert korean.startswith("half\n") and "답변이 중간에 끊겼습니다." in korean and "req-1" in korean
    assert answer.to_dict()["error"] == {
        "code": "llm_interrupted",
        "message": "The stream broke.",
        "hint": "Ask again.",
        "request_id": "req-1",
    }


def test_images_of_a_model_reach_neither_page_nor_api():
    assert "![" not in answer_after(Token("![x](http://stranger.test)")).markdown("en")


def test_a_stored_turn_says_how_it_ended():
    stored = Turn("t", "s", 1.0, "q", answer="half", status="interrupted", error="llm_interrupted")
    assert "half" in stored_markdown(stored, "ko") and "끊겼습니다" in stored_markdown(stored, "ko")
    assert stored_markdown(Turn("t", "s", 1.0, "q", status="pending"), "en") == f"⚠️ {PAGE['en']['pending']}"
    assert stored_markdown(Turn("t", "s", 1.0, "q", answer="whole", status="complete"), "en") == "whole"


def test_both_languages_have_the_same_texts():
    assert PAGE["ko"].keys() == PAGE["en"].keys()
    for name, text in PAGE["en"].items():
        assert text.count("{") == PAGE["ko"][name].count("{"), name


def test_the_browser_chooses_the_language_before_the_question_does():
    assert language_of("ko-KR,ko;q=0.9,en;q=0.8", "hello") == "ko"
    assert language_of("fr-FR, en;q=0.8", "안녕하세요") == "en"
    assert language_of("", "보증 기간은?") == "ko"
    assert language_of("*", "warranty?") == "en"


def test_an_unknown_error_is_shown_in_its_own_words():
    assert error_text("ko", code="brand_new", message="It broke.", hint="Fix it.") == ("It broke.", "Fix it.")


@pytest.mark.parametrize("code", ["wrong_host", "database_error"])
def test_new_errors_have_korean_sentences(code: str):
    message, hint = error_text("ko", code=code, message="It broke.", hint="Fix it.")
    assert message != "It broke." and hint != "Fix it."


def test_an_empty_message_is_told_from_a_long_one():
    empty, _ = error_text("ko", code="invalid_message", message="x", hint="", reason="empty")
    too_long, _ = error_text("ko", code="invalid_message", message="x", hint="", reason="too_long")
    assert "비어" in empty and "깁니다" in too_long
