"""A set is made of a real index with a model that may be bad, break off or go away: what was made stays, and goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eval.own_chunks import Sampled, sample
from eval.own_files import PASSAGES, SHEET, Plan, SetFolder
from eval.own_llm import JsonModel
from eval.own_writing import Writer
from knowledge.errors import LLMError, LLMRejected
from knowledge.live_index import OpenIndex
from pipelines.retriever import EvidenceRetriever
from tests.eval.own_support import EN, KO, fill, good_model, kind_of, put
from tests.fakes.vllm import OVERLOADED, TOO_LONG, FakeVllm, Reply, Status
from tests.pipelines.conftest import llm_at

ROOT = Path(__file__).parent.parent.parent
PLAN = Plan("default", 7, "both", "model")


@pytest.fixture
def fake():
    with FakeVllm() as fake:
        fake.always(Reply(good_model()))
        yield fake


@pytest.fixture
def index(store, db, embedding, analyzer) -> OpenIndex:
    fill(store, embedding, analyzer)
    return OpenIndex.of(db, store.generation, embedding)


def passages(index: OpenIndex, *, language: str = "both", seed: int = 7, crossing: bool = False) -> list[Sampled]:
    return list(sample(index, "default", language=language, seed=seed, crossing=crossing))


async def write(folder: SetFolder, index: OpenIndex, fake: FakeVllm, analyzer, *, wanted: int = 50, tries: int = 99):
    retriever = EvidenceRetriever(index.searcher, index.embedding, analyzer, top_k=6)
    writer = Writer(folder, JsonModel(llm_at(fake.base_url)), retriever, pause_s=0.01)
    plan = folder.plan
    found = sample(index, plan.collection, language=plan.language, seed=plan.seed, crossing=True)
    await writer.write(found, wanted=wanted, tries=tries)


def paths(language: str) -> set[str]:
    return {*EN} if language == "en" else {*KO, "여비표.md"}


# Sampling


def test_a_sample_is_spread_and_the_same_for_a_seed(index):
    found = passages(index)
    documents = len({*KO, *EN, "여비표.md"})
    assert len(found) == sum(map(len, [*KO.values(), *EN.values()])) + 1
    assert len({item.evidence.path for item in found[:documents]}) == documents  # each document once before any twice
    assert [item.ask_in for item in found[:4]] == ["en", "ko", "en", "ko"]
    assert [item.evidence.path for item in found if item.kind == "table"] == ["여비표.md"]
    assert passages(index) == found
    assert [item.key for item in passages(index, seed=8)] != [item.key for item in found]
    assert {item.key for item in passages(index, seed=8)} == {item.key for item in found}


def test_languages_are_those_asked_for(index):
    assert {item.evidence.language for item in passages(index, language="ko")} == {"ko"}
    assert {item.ask_in for item in passages(index, language="en", crossing=True)} == {"en"}
    mixed = [item for seed in range(20) for item in passages(index, seed=seed, crossing=True)]
    crossing = sum(item.ask_in != item.evidence.language for item in mixed) / len(mixed)
    assert 0.1 < crossing < 0.3


def test_a_sample_does_not_change_with_documents_that_come_and_skips_copies(index, store, embedding, analyzer):
    before = [item.key for item in passages(index)]
    put(store, "copy.md", [EN["library.md"][0]], embedding, analyzer)
    put(store, "empty.md", ["1 2 3"], embedding, analyzer)
    put(store, "other.md", ["A fire drill takes place in the yard on the first Monday of each month at ten."], embedding,
        analyzer, collection="other")  # fmt: skip
    after = [item.key for item in passages(index)]
    library = {("library.md", 0, len(EN["library.md"][0])), ("copy.md", 0, len(EN["library.md"][0]))}
    assert {*after} - library == {*before} - library and len(after) == len(before)
    for language in ("ko", "en"):
        kept = [[key for key in keys if key not in library and key[0] in paths(language)] for keys in (after, before)]
        assert kept[0] == kept[1]


# Writing


async def test_questions_come_with_the_words_that_answer_them(index, fake, analyzer, tmp_path):
    folder = SetFolder.create(tmp_path / "set", PLAN)
    await write(folder, index, fake, analyzer, wanted=6)
    assert [row.id for row in folder.rows] == [f"q{n:04d}" for n in range(1, 7)]
    for row in folder.rows:
        document = index.store.document("default", row.path)
        assert document and document[0].text[row.start : row.end] == row.passage
        assert row.quote in row.passage and row.question
    assert SetFolder.open(folder.folder).rows == folder.rows


async def test_the_same_seed_and_answers_make_the_same_set(index, fake, analyzer, tmp_path):
    made = []
    for name in ("one", "two"):
        folder = SetFolder.create(tmp_path / name, PLAN)
        await write(folder, index, fake, analyzer, wanted=5)
        made.append((folder.folder / PASSAGES).read_bytes())
    assert made[0] == made[1]


async def test_refusals_are_counted_and_named(index, fake, analyzer, tmp_path):
    sent = ["no JSON", '{"question": ""}', '{"question": "이 문서는 무엇인가요?"}', '{"question": "What is this?"}']
    fake.always(Reply(good_model(write=lambda passage, korean: sent[len(passage) % len(sent)])))
    folder = SetFolder.create(tmp_path / "set", PLAN)
    await write(folder, index, fake, analyzer)
    assert not folder.rows and len(folder.refused) == len(passages(index))
    assert set(folder.refused) <= {"no_json", "nothing_to_ask", "points_to_document", "language", "length"}
    asked = len(fake.requests)
    await write(SetFolder.create(folder.folder, PLAN), index, fake, analyzer)  # nothing is tried twice
    assert len(fake.requests) == asked


async def test_the_same_question_counts_once(index, fake, analyzer, tmp_path):
    same = {True: "회사 규정은 어떻게 되나요?", False: "How do the rules of the company work?"}
    fake.always(Reply(good_model(write=lambda _, korean: json.dumps({"question": same[korean]}))))
    folder = SetFolder.create(tmp_path / "set", PLAN)
    await write(folder, index, fake, analyzer)
    assert len(folder.rows) == 2 and set(folder.refused) == {"asked_already"}


async def test_tries_have_an_end(index, fake, analyzer, tmp_path):
    fake.always(Reply("no"))
    folder = SetFolder.create(tmp_path / "set", PLAN)
    await write(folder, index, fake, analyzer, tries=3)
    assert len(folder.refused) == len(fake.requests) == 3


async def test_what_else_answers_is_noted(index, store, fake, analyzer, embedding, tmp_path):
    """A copy by its text, a translation by the model's word and its quote; a quote that stands nowhere by nothing."""
    text = EN["library.md"][0]
    put(store, "copy.md", [text.replace("Books", "BOOKS")], embedding, analyzer)
    korean = "회사 도서관의 책은 세 주 동안 빌려주며, 사서에게 글을 써서 두 번까지 기간을 늘릴 수 있다. library books lent weeks"
    put(store, "도서관.md", [korean], embedding, analyzer)

    def judge(user: str) -> list[Any]:
        numbers = [int(line[1]) for line in user.splitlines() if line.startswith("[") and "도서관" in line]
        return [{"passage": n, "quote": "세 주 동안 빌려주며"} for n in numbers] + [
            {"passage": 1, "quote": "these words stand nowhere"}, {"passage": 99, "quote": "x"}, "nonsense",
        ]  # fmt: skip

    fake.always(Reply(good_model(judge=judge)))
    folder = SetFolder.create(tmp_path / "set", Plan("default", 7, "en", "model"))
    await write(folder, index, fake, analyzer)
    (row,) = [row for row in folder.rows if row.path in ("library.md", "copy.md") and row.language == "en"]
    assert {other.path for other in row.also} >= {"도서관.md"} | {"library.md", "copy.md"} - {row.path}
    assert all(other.quote in other.passage or other.quote.casefold() in other.passage.casefold() for other in row.also)


# Faults


async def test_a_fault_that_passes_costs_nothing(index, fake, analyzer, tmp_path):
    fake.script(Reply("half", end="reset"), Reply("", end="eof"), Reply("x", end="error"), Status(503, OVERLOADED))
    folder = SetFolder.create(tmp_path / "set", PLAN)
    await write(folder, index, fake, analyzer, wanted=4)
    assert len(folder.rows) == 4


async def test_a_passage_too_long_for_the_model_is_refused(index, fake, analyzer, tmp_path):
    fake.always(Status(400, TOO_LONG))
    folder = SetFolder.create(tmp_path / "set", PLAN)
    await write(folder, index, fake, analyzer, tries=2)
    assert folder.refused == ["too_long_passage"] * 2


async def test_a_model_that_goes_away_ends_the_run_and_keeps_what_was_made(index, fake, analyzer, tmp_path):
    folder = SetFolder.create(tmp_path / "set", PLAN)
    seen = 0

    def dying(body):
        nonlocal seen
        seen += kind_of(body) == "write"
        if seen > 6:
            fake.always(Status(401, {"error": "Unauthorized"}))
        return good_model()(body)

    fake.always(Reply(dying))
    with pytest.raises(LLMRejected, match="refused the key"):
        await write(folder, index, fake, analyzer)
    kept = SetFolder.open(folder.folder).rows
    assert kept and kept == folder.rows
    fake.stop()
    with pytest.raises(LLMError):
        await write(SetFolder.create(folder.folder, PLAN), index, fake, analyzer)
    fake.start()
    fake.always(Reply(good_model()))
    again = SetFolder.create(folder.folder, PLAN)
    await write(again, index, fake, analyzer)
    assert again.rows[: len(kept)] == kept
    assert len(again.rows) + len(again.refused) == len(passages(index))
    assert not [task for task in asyncio.all_tasks() if "Writer" in repr(task)]


# The command, killed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_command_goes_on_to_the_same_set(index, fake, database_url, tmp_path, number):
    def command(folder: Path) -> subprocess.Popen[str]:
        environment = {"DATABASE_URL": database_url, "LLM_BASE_URL": fake.base_url, "DATA_DIR": str(tmp_path / "data")}
        return subprocess.Popen(
            [sys.executable, "-m", "app", "eval", "new-set", str(folder), "--seed", "7", "--questions", "8"],
            cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    fake.always(Reply(good_model(), delay_s=0.005))
    stopped = command(tmp_path / "stopped")
    while not fake.wait_for_request(14, timeout_s=1):
        assert stopped.poll() is None, stopped.communicate()[0]
    stopped.send_signal(number)
    output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == (-9 if number == signal.SIGKILL else 130), output
    assert "Traceback" not in output
    had = len(SetFolder.open(tmp_path / "stopped").rows)
    assert 0 < had < 8
    if number != signal.SIGKILL:
        assert "goes on from here" in output
        assert len((tmp_path / "stopped" / SHEET).read_text(encoding="utf-8-sig").split("\nq0")) == had + 1
    fake.always(Reply(good_model()))
    folders = [tmp_path / "stopped", tmp_path / "whole"][: 2 if number == signal.SIGKILL else 1]
    for folder in folders:
        done = command(folder)
        output, _ = done.communicate(timeout=120)
        assert done.returncode == 0, output
    made = SetFolder.open(tmp_path / "stopped").rows
    assert [row.id for row in made] == [f"q{n:04d}" for n in range(1, 9)] and len({row.key for row in made}) == 8
    for name in (PASSAGES, SHEET):
        assert len({(folder / name).read_bytes() for folder in folders}) == 1
