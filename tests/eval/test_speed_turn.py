"""The measurement of a turn's own work runs with real servers and says what it saw. Times are not tested."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from eval import speed_turn
from eval.speed_turn import with_follow_ups
from eval.speed_turn_chats import Asked
from eval.speed_turn_llm import PASSAGES_FOLLOW, answer_to, instant_llm
from eval.speed_turn_report import Measured, as_markdown, ratios
from pipelines.llm import Timeouts, VllmChat, connect
from pipelines.prompt import build_condense_messages, build_messages

ROOT = Path(__file__).parent.parent.parent
CHATS = ["ours", "stock, condense and context", "stock, context", "ours, quote mode"]
FACTS = {
    "at": "2026-11-21", "command": "c", "commit": "abc", "machine": "m", "embedding": "e", "chunks": 1, "turns": 2,
    "conversation": 4, "load_averages": ["1.0"], "notes": "n",
}  # fmt: skip


def test_all_chats_are_measured_with_real_servers(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "eval.speed_turn", "--quick", "--json", str(tmp_path / "t.json")],
        cwd=ROOT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"| | {' | '.join(CHATS)} |" in done.stdout and "ours over stock, context" in done.stdout
    written = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert written["is_quick"] and [chat["name"] for chat in written["chats"]] == CHATS
    for chat in written["chats"]:
        assert len(chat["turns"]) == len(chat["llm_ms"]) == 8
        assert all(turn["whole_ms"] >= turn["first_words_ms"] > 0 for turn in chat["turns"])
        assert all((taken > 0) == (chat["name"] != "ours, quote mode") for taken in chat["llm_ms"])
    ours = written["chats"][0]["turns"]
    for turn in ours:
        steps = turn["steps_ms"]
        assert {"memory, begin", "rewriting", "search", "footnotes and check", "memory, end"} <= set(steps)
        assert sum(steps.values()) - steps.get("related questions, after it", 0) == pytest.approx(
            turn["whole_ms"], rel=0.01
        )


@pytest.mark.parametrize(
    "arguments",
    [["--chunks", "150"], ["--chunks", "0"], ["--questions", "3"], ["--text", "nowhere"], ["--json", "/dev/null/x"]],
)
def test_wrong_arguments_end_with_2_and_a_sentence(arguments, capsys):
    assert speed_turn.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("eval: ") and error.count("\n") == 1


def test_each_fourth_question_leans_on_the_one_before():
    asked = with_follow_ups([f"질문 {n}" for n in range(4)] + [f"question {n}" for n in range(4)])
    assert asked[:3] == ["질문 0", "질문 1", "질문 2"] and asked[4:7] == ["question 0", "question 1", "question 2"]
    assert "질문" not in asked[3] and asked[3] != asked[7] and asked[7].isascii()


def test_the_ratio_is_of_the_medians_and_of_the_slowest():
    (middle, slow), (low, high) = ratios([50.0] * 19 + [300.0], [100.0] * 20)
    assert middle == 0.5 and low == high == 0.5
    assert slow == pytest.approx(0.5 + 0.05 * 0.0 + (300 - 50) * 0.05 / 100)  # the 19.05th of 20, linearly


def test_a_ratio_that_is_above_1_at_the_95th_percentile_misses_the_goal():
    def measured(name: str, *taken: float) -> Measured:
        return Measured(
            name, tuple(Asked(ms, ms / 2, {"search": ms / 4}) for ms in taken), (0.0,) * len(taken), (8.0,) * len(taken)
        )

    ours = measured("ours", *[50.0] * 18, 900.0, 900.0)
    other = measured("stock, context", *[100.0] * 20)
    assert "(goal < 1: **missed**)" in as_markdown([ours, other], FACTS)
    shown = as_markdown([measured("ours", *[50.0] * 20), other], FACTS)
    assert "| **whole turn** | **50 / 50** | **100 / 100** |" in shown
    assert "0.50 [0.50, 0.50] / 0.50 (goal < 1: met)" in shown
    assert "| processor time, app and database, mean | 8 | 8 |" in shown


# The language model that takes no time


def texts(messages: list[ChatMessage]) -> list[dict]:
    return [{"role": message.role.value, "content": message.content} for message in messages]


def test_questions_to_rewrite_come_back_and_others_get_the_answer():
    history = [ChatMessage(role="user", content="관세란?"), ChatMessage(role="assistant", content="세금입니다.")]
    assert answer_to(texts(build_condense_messages("그건 얼마인가요?", history))) == "그건 얼마인가요?"
    stock = "Chat History:\nuser: a\nFollow Up Input: And\nwhy? \n  Standalone question:"
    assert answer_to([{"role": "user", "content": stock}]) == "And why?"
    asked = [{"role": "system", "content": PASSAGES_FOLLOW}, {"role": "user", "content": "How many?"}]
    assert "[1]" in answer_to(asked) and answer_to(asked).isascii()
    assert "[1]" not in answer_to(texts(build_messages("몇 명?", "몇 명?", ())))  # without passages there is no answer


def test_its_server_answers_our_client_and_that_of_llamaindex_and_tells_its_time():
    with instant_llm() as llm:
        stock = OpenAILike(model="no-time", api_base=llm.base_url, api_key="none", is_chat_model=True)
        ours = connect(base_url=llm.base_url, model="", api_key="", temperature=0, max_tokens=64, timeouts=Timeouts())
        messages = [ChatMessage(role="system", content=PASSAGES_FOLLOW), ChatMessage(content="How many?")]
        assert asyncio.run(_whole(ours, messages)) == "".join(item.delta or "" for item in stock.stream_chat(messages))
        assert llm.spent_ms() > 0
        assert llm.spent_ms() == 0
        assert stock.complete("Follow Up Input: Why?\nStandalone question:").text == "Why?"
        assert llm.spent_ms() > 0


async def _whole(llm: VllmChat, messages: list[ChatMessage]) -> str:
    text = "".join([item.delta or "" async for item in await llm.astream_chat(messages)])
    await llm.aclose()
    return text
