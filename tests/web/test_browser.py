"""The page in a real Chromium: what a person sees and does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.web.conftest import Running, serving, wait_until
from tests.web.fake_service import RELATED, About, FakeService

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Reader:
    """A person at a browser. Remembers every request that left for another server, and every error of a script."""

    def __init__(self, chromium, running: Running, **context) -> None:
        self.running = running
        self.context = chromium.new_context(
            **({"locale": "ko-KR", "viewport": {"width": 1440, "height": 900}} | context)
        )
        self.context.set_default_timeout(WAIT_MS)
        self.page = self.context.new_page()
        self.strangers: list[str] = []
        self.errors: list[str] = []
        self.blocked: list[str] = []  # what the content security policy had to stop
        self.page.on("request", self._watch)
        self.page.on("console", lambda said: self.blocked.append(said.text) if "Security Policy" in said.text else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(running.url)
        self.page.locator("#welcome h2").wait_for()
        self.page.locator("#banner span").first.wait_for()

    def _watch(self, request) -> None:
        if not request.url.startswith((self.running.url, "data:", "blob:")):
            self.strangers.append(request.url)

    @property
    def box(self):
        return self.page.locator("#ask textarea")

    @property
    def answers(self):
        return self.page.locator("#chat [data-testid=bot]")

    def send(self, question: str) -> None:
        self.box.fill(question)
        self.box.press("Enter")

    def ask(self, question: str) -> None:
        """Ask and wait for the end of the answer."""
        before = self.answers.count()
        self.send(question)
        self.page.wait_for_function(
            "count => document.querySelectorAll('#chat [data-testid=bot]').length > count", arg=before
        )
        self.wait_idle()

    def wait_idle(self) -> None:
        self.page.wait_for_function(
            "() => { const box = document.querySelector('#ask textarea');"
            " return !box.disabled && document.querySelector('#ask .submit-button')"
            " && !document.querySelector('#progress.is-working'); }"
        )

    def footnote(self, answer: int, n: int):
        return self.page.locator(f"#chat .cite[data-turn='{answer}'][data-n='{n}']").first

    def overflow_px(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.fixture
def reader(chromium, running: Running) -> Iterator[Reader]:
    reader = Reader(chromium, running)
    yield reader
    reader.context.close()
    assert reader.strangers == [], "the page asked another server for something"
    assert reader.errors == []


def test_a_korean_answer_streams_and_ends_with_who_answered(reader: Reader):
    reader.send("slow 보증 기간은 얼마나 되나요?")
    reader.page.locator("#progress.is-working").wait_for()
    reader.page.wait_for_function(
        "() => document.querySelector('#chat [data-testid=bot]')?.textContent.includes('보증')"
    )
    partial = reader.answers.last.inner_text()
    reader.page.locator(".answer-line").wait_for()
    whole = reader.answers.last.inner_text()
    assert "24개월" in whole and len(partial) < len(whole)
    assert "0.3초" in reader.page.locator(".answer-line").inner_text()
    assert "인용 모드" in reader.page.locator(".answer-line").inner_text()
    assert "언어 모델이 없어" in reader.page.locator("#banner").inner_text()
    assert "LLM_BASE_URL=http://127.0.0.1:8001/v1" in reader.page.locator("#banner").inner_text()


def test_a_footnote_opens_its_passage_with_the_sentence_marked(reader: Reader):
    reader.ask("보증 기간은?")
    reader.footnote(0, 1).click()
    entry = reader.page.locator("#cite-1")
    assert reader.page.evaluate("document.activeElement.id") == "cite-1"
    assert "is-open" in entry.get_attribute("class")
    # The passage begins with an emoji: two UTF-16 units, one character in the span's count.
    assert entry.locator("mark").all_inner_texts() == ["보증 기간은 구매일로부터 24개월입니다."]
    text = entry.inner_text()
    assert "제품 보증 안내" in text and "policy/보증.pdf" in text and "3쪽" in text and "보증 › 기간" in text
    entry.locator(".back").click()
    assert reader.page.evaluate("document.activeElement.className") == "cite"


def test_an_older_answers_footnote_opens_that_answers_passage(reader: Reader):
    reader.ask("첫째 질문")
    reader.ask("둘째 질문")
    assert "둘째 질문" in reader.page.locator("#cite-1").inner_text()
    reader.footnote(0, 1).click()
    assert "첫째 질문" in reader.page.locator("#cite-1").inner_text()
    assert "첫째 질문" in reader.page.locator("#sources .of").inner_text()
    reader.footnote(1, 2).click()
    assert "둘째 질문" in reader.page.locator("#cite-1").inner_text()
    assert reader.page.evaluate("document.activeElement.id") == "cite-2"


def test_what_was_retrieved_and_not_cited_is_folded_apart(reader: Reader):
    reader.ask("보증 기간은?")
    others = reader.page.locator("#sources .others")
    assert others.get_attribute("open") is None
    assert reader.page.locator("#sources .cited > li").count() == 3
    others.locator("summary").first.click()
    assert "배송 안내" in others.inner_text()


def test_questions_to_ask_next_are_sent_by_a_click_or_a_key_and_come_back_with_a_reload(reader: Reader):
    reader.ask("related 보증 기간은?")
    buttons = reader.page.locator(".related .next-question")
    assert buttons.all_inner_texts() == list(RELATED)
    assert "이어서 물어보기" in reader.page.locator(".related").inner_text()
    buttons.nth(1).click()
    reader.page.locator("#chat .cite[data-turn='1']").first.wait_for()
    reader.wait_idle()
    assert reader.page.locator("#chat [data-testid=user]").last.inner_text() == RELATED[1]
    assert buttons.count() == 0, "those of an earlier answer are gone, and this one has none"
    reader.ask("related 반품은?")
    reader.page.reload()
    buttons.first.wait_for()
    assert buttons.all_inner_texts() == list(RELATED)
    buttons.last.focus()
    reader.page.keyboard.press("Enter")
    reader.page.locator("#chat .cite[data-turn='3']").first.wait_for()
    reader.wait_idle()
    assert reader.running.service.asked[-1]["message"] == RELATED[2]


def test_the_answer_is_there_while_questions_to_ask_next_are_looked_for(reader: Reader):
    reader.send("related lingering 보증 기간은?")
    reader.page.get_by_text("이어서 물어볼 만한 질문을 찾는 중").wait_for()
    reader.footnote(0, 1).click()
    assert "제품 보증 안내" in reader.page.locator("#cite-1").inner_text()
    assert "0.3초" in reader.page.locator(".answer-line").inner_text()
    reader.page.locator("#ask .stop-button").click()
    reader.wait_idle()
    assert "24개월" in reader.answers.last.inner_text()
    assert "멈췄습니다" not in reader.page.locator("#left").inner_text(), "nothing of the answer was stopped"
    reader.ask("보증 기간은?")
    assert reader.answers.count() == 2


def test_sentences_to_check_stand_beside_the_sources_with_what_speaks_against_them(reader: Reader):
    reader.ask("doubt 보증 기간은?")
    box = reader.page.locator("#sources .claims")
    text = box.inner_text()
    assert "확인이 필요한 문장 3개" in text and box.locator(".claim").count() == 3
    assert "출처와 다름" in text and "각주 없음" in text and "근거가 약함" in text
    assert "출처에 없는 숫자: 12" in text and "6개월만 보증합니다" in text and "24개월입니다" not in text
    assert box.locator("b").count() == 0 and "<b>굵게</b>" in text
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
    box.locator("summary").click()
    reader.page.get_by_role("button", name="확인 필요 3").click()
    assert box.evaluate("box => box.open && box.contains(document.activeElement)")
    box.locator(".cite").first.click()
    assert reader.page.evaluate("document.activeElement.id") == "cite-1"


def test_brackets_in_code_are_no_footnotes(reader: Reader):
    reader.ask("보증 기간은?")
    assert reader.answers.last.locator("code").inner_text() == "array[1]"
    assert reader.answers.last.locator("code .cite").count() == 0


def test_a_rewritten_question_is_shown(reader: Reader):
    reader.ask("보증 기간은?")
    reader.ask("follow 그럼 반품은?")
    assert "보증 기간은? follow 그럼 반품은?" in reader.page.locator(".answer-line").last.inner_text()


def test_a_reload_keeps_the_conversation_its_footnotes_and_its_thread(reader: Reader):
    reader.ask("첫째 질문")
    reader.ask("broken 둘째 질문")
    reader.page.reload()
    reader.page.locator(".answer-line").nth(1).wait_for()
    assert reader.page.locator("#chat [data-testid=user]").all_inner_texts() == ["첫째 질문", "broken 둘째 질문"]
    assert "끊겼습니다" in reader.answers.nth(1).inner_text()
    reader.footnote(0, 1).click()
    assert "첫째 질문" in reader.page.locator("#cite-1").inner_text()
    reader.ask("셋째 질문")
    sessions = {asked["session_id"] for asked in reader.running.service.asked[-2:]}
    assert len(sessions) == 1 and "" not in sessions


def test_a_conversation_that_is_gone_makes_room_for_a_new_one(reader: Reader):
    reader.ask("첫째 질문")
    reader.running.service.sessions.clear()
    reader.page.reload()
    reader.page.get_by_text("그 대화는 끝났거나 찾을 수 없습니다.").wait_for()
    reader.ask("둘째 질문")
    assert "24개월" in reader.answers.last.inner_text()


def test_a_session_lost_while_the_page_is_open_is_replaced_at_the_next_question(reader: Reader):
    reader.ask("첫째 질문")
    reader.running.service.sessions.clear()
    reader.ask("둘째 질문")
    assert "그 대화를 찾을 수 없습니다" in reader.answers.last.inner_text()
    reader.page.wait_for_function("() => document.querySelector('#ask textarea').value === '둘째 질문'")
    reader.box.press("Enter")
    reader.page.locator("#chat .cite[data-turn='2']").first.wait_for()


def test_new_conversation_starts_afresh_even_in_the_middle_of_an_answer(reader: Reader):
    reader.send("slow 첫째 질문")
    reader.page.wait_for_function(
        "() => document.querySelector('#chat [data-testid=bot]')?.textContent.includes('첫째')"
    )
    reader.page.locator("#new").click()
    reader.page.locator("#welcome h2").wait_for()
    wait_until(lambda: "slow 첫째 질문" in reader.running.service.closed)
    reader.wait_idle()
    reader.ask("둘째 질문")
    assert reader.answers.count() == 1
    assert reader.running.service.asked[-1]["session_id"] == ""


def test_an_error_is_told_the_question_given_back_and_the_page_lives(reader: Reader):
    reader.ask("boom 질문")
    bubble = reader.answers.last.inner_text()
    assert "문서 데이터베이스가 응답하지 않습니다." in bubble and "요청 번호" in bubble
    reader.page.wait_for_function("() => document.querySelector('#ask textarea').value === 'boom 질문'")
    reader.ask("이제는?")
    assert "24개월" in reader.answers.last.inner_text()


def test_a_crash_of_the_service_leaves_the_page_usable(reader: Reader):
    reader.ask("crash")
    assert "서버에서 문제가 생겼습니다." in reader.answers.last.inner_text()
    assert "secret detail" not in reader.page.content()
    reader.ask("이제는?")
    assert "24개월" in reader.answers.last.inner_text()


def test_a_lost_connection_gives_the_question_back(reader: Reader):
    reader.page.route("**/gradio_api/queue/join*", lambda route: route.abort())
    reader.send("질문 하나")  # Gradio then loads the whole page anew
    reader.page.get_by_text("답변이 오기 전에 연결이 끊겼습니다.").wait_for()
    reader.page.wait_for_function("() => document.querySelector('#ask textarea').value === '질문 하나'")
    reader.page.unroute("**/gradio_api/queue/join*")
    reader.wait_idle()
    reader.box.press("Enter")
    reader.page.get_by_text("24개월").first.wait_for()


def test_an_open_page_goes_on_after_a_restart_of_the_server(chromium):
    service = FakeService()
    with serving(service) as running:
        reader = Reader(chromium, running)
        reader.ask("첫째 질문")
        reader.ask("둘째 질문")
    port = int(running.url.rsplit(":", 1)[1])
    with serving(service, port=port):
        reader.ask("셋째 질문")
        reader.page.locator("#chat [data-testid=user]").nth(2).wait_for()
        assert len({asked["session_id"] for asked in service.asked[1:]}) == 1
        for turn, question in enumerate(["첫째 질문", "둘째 질문", "셋째 질문"]):
            reader.footnote(turn, 1).click()
            assert question in reader.page.locator("#cite-1").inner_text()
        reader.context.close()


def test_a_history_that_cannot_be_read_is_said_and_kept(reader: Reader):
    reader.ask("첫째 질문")
    reader.running.service.memory_down = True
    reader.page.reload()
    reader.page.get_by_text("지난 대화를 지금은 보여 줄 수 없습니다").wait_for()
    reader.running.service.memory_down = False
    reader.page.reload()
    reader.page.locator(".answer-line").wait_for()
    assert reader.page.locator("#chat [data-testid=user]").inner_text() == "첫째 질문"


def test_an_error_inside_gradio_does_not_lock_the_question_box(reader: Reader):
    """Its queue refuses, an event breaks: ChatInterface alone would leave the box disabled until a reload."""
    refusal = {"status": 503, "content_type": "application/json", "body": '{"detail": "Queue is full."}'}
    reader.page.route("**/gradio_api/queue/join*", lambda route: route.fulfill(**refusal))
    reader.send("질문 하나")
    reader.page.wait_for_function("() => document.querySelector('#ask textarea').value === '질문 하나'")
    reader.page.unroute("**/gradio_api/queue/join*")
    reader.wait_idle()
    reader.box.press("Enter")
    reader.page.get_by_text("24개월").first.wait_for()


def test_stop_ends_the_turn_and_keeps_what_was_written(reader: Reader):
    reader.send("slow 멈출 질문")
    reader.page.wait_for_function(
        "() => document.querySelector('#chat [data-testid=bot]')?.textContent.includes('멈출')"
    )
    reader.page.locator("#ask .stop-button").click()
    wait_until(lambda: "slow 멈출 질문" in reader.running.service.closed)
    reader.wait_idle()
    assert reader.box.input_value() == ""  # part of an answer came, so the question is not given back
    assert "멈출 질문" in reader.answers.last.inner_text()
    assert "멈췄습니다" in reader.page.locator(".answer-line").inner_text()
    reader.ask("다음 질문")
    assert "24개월" in reader.answers.last.inner_text()


def test_a_question_stopped_before_its_answer_is_given_back(reader: Reader):
    reader.send("silent 질문")
    reader.page.get_by_text("구절 4개를 읽는 중…").wait_for()
    reader.page.locator("#ask .stop-button").click()
    reader.page.wait_for_function("() => document.querySelector('#ask textarea').value === 'silent 질문'")
    assert "멈췄습니다" in reader.page.locator("#progress").inner_text()


def test_a_closed_tab_ends_a_silent_turn(chromium, running: Running):
    reader = Reader(chromium, running)
    reader.send("silent 질문")
    reader.page.get_by_text("구절 4개를 읽는 중…").wait_for()
    reader.context.close()
    wait_until(lambda: "silent 질문" in running.service.closed, timeout_s=10)  # its answer would take a minute


def test_hostile_text_stays_text(reader: Reader):
    reader.ask('hostile <img src=x onerror="window.hacked=1"> <b>질문</b>')
    reader.footnote(0, 3).click()
    reader.page.locator("#sources .others summary").first.click()
    reader.page.wait_for_timeout(300)  # an onerror would need a moment to fire
    assert reader.page.evaluate("window.hacked") is None
    assert '<img src=x onerror="window.hacked=1">' in reader.answers.last.inner_text()
    assert "<b>질문</b>" in reader.page.locator("#chat [data-testid=user]").inner_text()
    assert "<script>window.hacked=1</script>{{constructor}}" in reader.page.locator("#cite-3").inner_text()
    assert reader.page.locator("#chat .prose img, #chat .prose form, #sources img, #sources script").count() == 0


def test_no_trick_loads_an_image_or_leads_a_footnote_away(reader: Reader):
    reader.ask("tricks")
    answer = reader.answers.last
    assert "첫째" in answer.inner_text() and answer.locator("img").count() == 0
    for link in answer.locator("a").all():  # what is left of the images, and bare addresses
        assert not link.inner_text().strip("[] ").isdigit()
    assert answer.locator("a .cite, a:has-text('[')").count() == 0
    assert answer.locator(".cite[data-n='1']").count() >= 3  # first, after "!" and in the place of the link
    for n in (1, 2, 3):
        reader.footnote(0, n).click()
        assert reader.page.evaluate("document.activeElement.id") == f"cite-{n}"
    assert reader.page.url.startswith(reader.running.url)
    # The content security policy is another net: here no request may even be tried.
    reader.page.wait_for_timeout(300)
    assert reader.strangers == [] and reader.blocked == []


def test_examples_ask_in_the_readers_language_first(reader: Reader):
    first = reader.page.locator("#welcome .example").first
    assert first.inner_text() == "보증 기간은 얼마나 되나요?"
    first.click()
    reader.page.locator(".answer-line").wait_for()
    assert reader.page.locator("#chat [data-testid=user]").inner_text() == "보증 기간은 얼마나 되나요?"


def test_shift_enter_and_an_input_method_do_not_send(reader: Reader):
    reader.box.fill("첫 줄")
    reader.box.press("Shift+Enter")
    reader.page.evaluate(
        "() => { const box = document.querySelector('#ask textarea');"
        " for (const name of ['keydown', 'keypress']) box.dispatchEvent("
        "new KeyboardEvent(name, {key: 'Enter', isComposing: true, bubbles: true, cancelable: true})); }"
    )
    reader.page.wait_for_timeout(300)
    assert reader.answers.count() == 0 and reader.box.input_value().startswith("첫 줄")


def test_controls_have_names_and_focus_shows(reader: Reader):
    assert reader.page.get_by_role("button", name="질문 보내기").count() == 1
    assert reader.page.get_by_role("textbox", name="질문").count() == 1
    assert reader.page.locator("html").get_attribute("lang").startswith("ko")
    reader.ask("보증 기간은?")
    footnote = reader.footnote(0, 1)
    assert footnote.get_attribute("aria-label") == "출처 1"
    reader.page.keyboard.press("Tab")
    footnote.focus()
    reader.page.keyboard.press("Enter")
    assert reader.page.evaluate("document.activeElement.id") == "cite-1"


def test_a_notice_of_the_service_is_shown(reader: Reader):
    reader.ask("notice 질문")
    assert "저장되지 않았습니다" in reader.page.locator(".answer-line .notice").inner_text()


def test_the_banner_names_a_connected_model(chromium, running: Running):
    running.service.about_value = replace(About(), llm="qwen3-8b <b>", is_quoting=False)
    try:
        reader = Reader(chromium, running, locale="en-US")
        assert "Answers by qwen3-8b <b>" in reader.page.locator("#banner").inner_text()
        reader.ask("How long?")
        assert "Answered by qwen3-8b <b>" in reader.page.locator(".answer-line").inner_text()
        reader.context.close()
    finally:
        running.service.about_value = About()


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_needs_sideways_scrolling(chromium, running: Running, width: int, scheme: str, tmp_path: Path):
    viewport = {"width": width, "height": 800}
    reader = Reader(
        chromium, running, viewport=viewport, color_scheme=scheme, is_mobile=width < 500, has_touch=width < 500
    )
    assert reader.overflow_px() <= 0
    reader.ask("보증 기간은 https://example.org/" + "a" * 120)
    reader.footnote(0, 3).click()
    assert reader.overflow_px() <= 0
    is_dark = reader.page.evaluate("getComputedStyle(document.querySelector('#sources')).color") == "rgb(230, 236, 233)"
    assert is_dark == (scheme == "dark")
    assert reader.page.locator("#cite-3").is_visible()
    reader.page.screenshot(path=tmp_path / f"{width}-{scheme}.png")
    reader.context.close()
