"""The app over HTTP, the way curl, gradio_client and a browser's first request use it."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie

import httpx
import pytest
from gradio_client import Client

from pipelines.events import Turn
from tests.web.conftest import Running, wait_until
from tests.web.fake_service import FakeService
from web.identity import COOKIE_NAME, Owners


def ask(running: Running, body: dict, **headers: str) -> tuple[str, dict]:
    """The two curl calls of the documentation: POST for an event id, GET for the stream; the last data line counts."""
    posted = httpx.post(f"{running.url}/gradio_api/call/v2/chat", json=body, headers=headers, timeout=60)
    assert posted.status_code == 200, posted.text
    stream = httpx.get(f"{running.url}/gradio_api/call/chat/{posted.json()['event_id']}", timeout=60).text
    last = stream.strip().split("\n\n")[-1]
    assert last.startswith("event: complete"), last
    text, state, details = json.loads(last.split("data: ", 1)[1])
    assert state is None  # Gradio's hidden State between the two outputs
    return text, details


def open_page(running: Running, *, cookie: str = "") -> httpx.Response:
    headers = {"accept": "text/html"} | ({"cookie": cookie} if cookie else {})
    return httpx.get(f"{running.url}/", headers=headers, timeout=60)


def test_curl_gets_text_with_footnotes_and_one_json_object(running: Running):
    text, details = ask(running, {"message": "보증 기간은?"})
    assert "[1]" in text and "[2][3]" in text and "](#" not in text
    assert [citation["n"] for citation in details["citations"]] == [1, 2, 3]
    first = details["citations"][0]
    start, end = first["highlights"][0]
    assert first["text"][start:end] == "보증 기간은 구매일로부터 24개월입니다."
    assert len(details["retrieved"]) == 4
    assert (details["status"], details["llm"], details["notice"]) == ("complete", "quote mode", "")
    assert details["session_id"] and details["turn_id"] and details["timings"]["total_ms"]


def test_the_session_id_continues_a_conversation(running: Running):
    _, first = ask(running, {"message": "first", "session_id": ""})
    _, second = ask(running, {"message": "follow", "session_id": first["session_id"]})
    assert second["session_id"] == first["session_id"]
    assert second["search_query"] == "first follow"


def test_gradio_client_streams_and_gets_the_same(running: Running):
    client = Client(running.url, verbose=False)
    job = client.submit(message="How long?", session_id="", api_name="/chat")
    text, details = job.result(timeout=60)
    assert "[1]" in text and details["status"] == "complete"
    assert len(job.outputs()) > 1


def test_gradio_client_may_leave_the_session_id_out(running: Running):
    text, _ = Client(running.url, verbose=False).predict(message="How long?", api_name="/chat")
    assert "[1]" in text


@pytest.mark.parametrize("message", ["", "   \n", "x" * 8_001])
def test_bad_messages_get_a_clear_answer(running: Running, message: str):
    text, details = ask(running, {"message": message}, **{"x-request-id": "my-id-7"})
    assert "⚠️" in text and "my-id-7" in text
    assert details["error"]["code"] == "invalid_message" and details["error"]["request_id"] == "my-id-7"
    assert details["status"] == "failed" and details["citations"] == []


@pytest.mark.parametrize("message", [5, ["a"], {"text": "a"}, None])
def test_a_message_that_is_not_text_is_refused_in_words(running: Running, message: object):
    _, details = ask(running, {"message": message})
    assert details["error"]["code"] == "invalid_message"


def test_an_unknown_session_is_said_to_be_unknown(running: Running):
    text, details = ask(running, {"message": "x", "session_id": "nobody-knows"})
    assert details["error"]["code"] == "session_not_found"
    assert "no such conversation" in text


def test_a_session_of_a_browser_is_closed_to_programs(running: Running):
    cookie = open_page(running).headers["set-cookie"].split(";")[0]
    _, mine = ask(running, {"message": "mine"}, cookie=cookie)
    _, theirs = ask(running, {"message": "theirs", "session_id": mine["session_id"]})
    _, again = ask(running, {"message": "again", "session_id": mine["session_id"]}, cookie=cookie)
    assert theirs["error"]["code"] == "session_not_found"
    assert again["status"] == "complete"


def test_korean_questions_get_korean_errors_and_browsers_their_own(running: Running):
    korean, _ = ask(running, {"message": "boom 질문"})
    english, _ = ask(running, {"message": "boom 질문"}, **{"accept-language": "en-GB,en;q=0.9"})
    assert "데이터베이스가 응답하지 않습니다" in korean
    assert "PostgreSQL does not answer." in english


def test_a_bug_in_the_service_shows_an_id_and_no_trace(running: Running):
    text, details = ask(running, {"message": "crash"})
    assert details["error"]["code"] == "internal" and details["error"]["request_id"] in text
    assert "secret detail" not in text + json.dumps(details) and "Traceback" not in text


def test_what_was_streamed_before_a_fault_is_kept(running: Running):
    text, details = ask(running, {"message": "broken"})
    assert text.startswith("**broken**") and "The stream broke." in text
    assert details["status"] == "interrupted" and len(details["retrieved"]) == 4


def test_images_of_the_answer_do_not_reach_the_api(running: Running):
    text, _ = ask(running, {"message": "hostile"})
    assert "![" not in text and "[pixel](http://stranger.test" in text


def test_dropping_the_stream_ends_the_turn(running: Running):
    posted = httpx.post(f"{running.url}/gradio_api/call/v2/chat", json={"message": "silent drop"}, timeout=60)
    address = f"{running.url}/gradio_api/call/chat/{posted.json()['event_id']}"
    with httpx.stream("GET", address, timeout=60) as stream:
        next(stream.iter_lines())
    # Its answer takes 60 s; only the heartbeat can end it before.
    wait_until(lambda: "silent drop" in running.service.closed, timeout_s=20)


def test_health_is_alive_and_says_how_the_parts_are(running: Running):
    response = httpx.get(f"{running.url}/healthz", timeout=60)
    assert response.status_code == 200 and response.json()["status"] == "ok"
    assert "set-cookie" not in response.headers


def test_the_page_sets_a_cookie_that_scripts_cannot_read(running: Running):
    response = open_page(running)
    cookie = SimpleCookie(response.headers["set-cookie"])[COOKIE_NAME]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and int(cookie["max-age"]) == 365 * 24 * 3600
    assert "frame-ancestors 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_a_returning_browser_keeps_its_name_and_a_forged_cookie_does_not(running: Running):
    owners = Owners("a secret for tests only")
    first = open_page(running).headers["set-cookie"].split(";")[0]
    second = open_page(running, cookie=first).headers["set-cookie"].split(";")[0]
    forged = open_page(running, cookie=f"{COOKIE_NAME}=someone.else.entirely").headers["set-cookie"]
    assert owners.owner_of_header(first) == owners.owner_of_header(second) != ""
    assert owners.owner_of_header(forged.split(";")[0]) not in ("", owners.owner_of_header(first))


def test_request_ids_are_passed_on_or_replaced(running: Running):
    kept = httpx.get(f"{running.url}/healthz", headers={"x-request-id": "abc-123"}, timeout=60)
    replaced = httpx.get(f"{running.url}/healthz", headers={"x-request-id": "bad id; <x>"}, timeout=60)
    assert kept.headers["x-request-id"] == "abc-123"
    assert replaced.headers["x-request-id"] != "bad id; <x>"
    ask(running, {"message": "with id"}, **{"x-request-id": "abc-124"})
    assert running.service.asked[-1]["request_id"] == "abc-124"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies_beyond_the_limit_are_refused(running: Running, is_chunked: bool):
    body = json.dumps({"message": "x" * 4_100_000}).encode()
    content = iter([body[:1_000_000], body[1_000_000:]]) if is_chunked else body
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{running.url}/gradio_api/call/v2/chat", content=content, headers=headers, timeout=60)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"),
        ("GET", "/gradio_api/proxy=http://stranger.test/x"),
        ("GET", "/monitoring/summary"),
        ("POST", "/gradio_api/vibe-edit/"),
        ("GET", "/gradio_api/runs"),
    ],
)
def test_routes_that_nothing_uses_are_closed(running: Running, method: str, path: str):
    assert httpx.request(method, f"{running.url}{path}", timeout=60).status_code == 404


def test_files_of_the_server_are_not_served(running: Running):
    assert httpx.get(f"{running.url}/gradio_api/file=/etc/passwd", timeout=60).status_code in (403, 404)


def test_unknown_parameters_get_json_with_an_id(running: Running):
    response = httpx.post(f"{running.url}/gradio_api/call/v2/chat", json={"nonsense": 1}, timeout=60)
    assert response.status_code == 500
    assert response.json()["error"]["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text


def test_the_api_lists_what_is_for_programs_alone(running: Running):
    info = httpx.get(f"{running.url}/gradio_api/info", timeout=60).json()
    assert set(info["named_endpoints"]) == {"/chat", "/faq", "/terms"}
    for name in ("/faq", "/terms"):
        listed = [parameter["parameter_name"] for parameter in info["named_endpoints"][name]["parameters"]]
        assert listed == ["k", "language", "session_id"]
    parameters = info["named_endpoints"]["/chat"]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters] == ["message", "session_id"]
    assert [parameter["label"] for parameter in parameters] == ["message", "session_id"]


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        (["127.0.0.1", "::1"], "127.0.0.1:7860", 200),
        (["127.0.0.1", "::1"], "[::1]:7860", 200),
        (["127.0.0.1", "::1"], "[::1]", 200),
        (["[::1]"], "[::1]:7860", 200),
        (["LocalHost", " docs.example.org "], "localHOST:80", 200),
        (["LocalHost", "docs.example.org"], "DOCS.example.org", 200),
        (["*.example.org"], "a.b.example.org", 200),
        (["*"], "anything.test", 200),
        (["127.0.0.1", "::1"], "rebound.test", 400),
        (["127.0.0.1", "::1"], "[::2]:7860", 400),
        (["127.0.0.1", "::1"], "[::1", 400),
        (["127.0.0.1", ""], "", 400),
        (["example.org"], "example.org.evil.test", 400),
        (["*.example.org"], "example.org", 400),
        (["*.example.org"], "evilexample.org", 400),
        ([], "localhost", 400),
    ],
)
def test_only_named_hosts_are_answered(running: Running, allowed: list[str], host: str, status: int):
    from starlette.testclient import TestClient

    from web.server import build_app

    app = build_app(running.service, secret="another secret for tests", allowed_hosts=allowed)  # type: ignore[arg-type]
    response = TestClient(app).get("/healthz", headers={"host": host, "x-request-id": "host-1"})
    assert response.status_code == status
    if status == 400:
        error = response.json()["error"]
        assert (error["code"], error["request_id"]) == ("wrong_host", "host-1")
        assert "ALLOWED_HOSTS" in error["message"] and response.headers["x-request-id"] == "host-1"


def test_other_apps_cookies_do_not_hide_ours(running: Running):
    owners = Owners("a secret for tests only")
    ours = open_page(running).headers["set-cookie"].split(";")[0]
    for cookies in (f'prefs={{"a":1}}; {ours}', f"a b=1; {ours}", f'{ours}; prefs={{"a":1}}', f"=; x; {ours}; y=\xff"):
        assert owners.owner_of_header(cookies) == owners.owner_of_header(ours) != ""
    again = open_page(running, cookie=f'prefs={{"a":1}}; {ours}').headers["set-cookie"].split(";")[0]
    assert owners.owner_of_header(again) == owners.owner_of_header(ours)


async def test_a_page_that_opens_reads_only_the_turns_it_shows():
    from web.conversation import MAX_SHOWN_TURNS, Caller, loaded_state

    service = FakeService(delay_s=0)
    session_id = await service.new_session(owner="")
    service.sessions[session_id][1].extend(
        Turn(f"t{number}", session_id, 0.0, f"question {number}", status="complete")
        for number in range(MAX_SHOWN_TURNS + 7)
    )
    caller = Caller(Owners("a secret for tests only"), headers={}, cookies={})
    state = await loaded_state(service, session_id, caller)  # type: ignore[arg-type]
    assert [turn["question"] for turn in state["turns"]] == [f"question {n}" for n in range(7, MAX_SHOWN_TURNS + 7)]
    assert service.history_last == [MAX_SHOWN_TURNS]


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="at least 16"):
        Owners("short")
