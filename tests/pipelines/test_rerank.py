"""Reranking over real HTTP to a server that answers as vLLM or TEI does, slowly, badly or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore, TextNode

from knowledge.errors import RerankUnavailable
from knowledge.types import Evidence, Place, Scores
from pipelines.rerank import Reranked, Reranker
from pipelines.rerank_client import RerankClient
from tests.fakes.reranker import FakeReranker

KEY = "sk-very-secret"


def evidence(*texts: str) -> list[Evidence]:
    return [
        Evidence(
            chunk_id=f"c{i}", document_id="d", collection="default", path="a.md", title="휴가 규정", heading=("연차",),
            place=Place(), start=0, end=len(text), text=text, language="ko",
            scores=Scores(meaning=0.8, words=3.0, fused=1 - i / 100), rank=i + 1,
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


def texts_of(result: Reranked) -> list[str]:
    return [item.text for item in result.evidence]


@pytest.fixture(params=["vllm", "tei"])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeReranker]:
    with FakeReranker(request.param) as fake:
        yield fake


def reranker(fake: FakeReranker, *, url: str = "", model: str = "", timeout_s: float = 30, **options: Any) -> Reranker:
    return Reranker(RerankClient(url or fake.url, model=model, api_key=KEY), timeout_s=timeout_s, **options)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/rerank"])
def test_both_dialects_are_found_and_order_by_their_scores(fake, suffix):
    found = evidence("세 단어 문장", "가", "두 단어")
    mine = reranker(fake, url=fake.url + suffix)
    result = mine.rerank("질문", found)
    assert texts_of(result) == ["가", "두 단어", "세 단어 문장"]
    assert [item.rank for item in result.evidence] == [1, 2, 3]
    assert [item.chunk_id for item in result.evidence] == ["c1", "c2", "c0"]
    (sent,) = fake.batches()
    assert sent == [f"휴가 규정 › 연차\n{item.text}" for item in found]
    assert [item.scores.rerank for item in result.evidence] == sorted((1 / (1 + len(t)) for t in sent), reverse=True)
    assert [item.scores.fused for item in result.evidence] == [0.99, 0.98, 1.0]
    assert (result.failure, result.shortened) == ("", 0)
    assert all(key == f"Bearer {KEY}" for path, _, key in fake.requests)
    assert fake.url in mine.describe()


def test_the_table_header_is_read_too(fake):
    (item,) = evidence("15 | 20")
    reranker(fake).rerank("질문", [Evidence.from_dict({**item.to_dict(), "table_header": "일반 | 장기"})])
    assert fake.batches() == [["휴가 규정 › 연차\n일반 | 장기\n15 | 20"]]


def test_what_is_beyond_top_n_stays_behind_in_its_order(fake):
    result = reranker(fake, top_n=2).rerank("질문", evidence("aaa", "a", "", "aaaaaa"))
    assert texts_of(result) == ["a", "aaa", "", "aaaaaa"]
    assert [item.scores.rerank is None for item in result.evidence] == [False, False, True, True]
    assert [item.rank for item in result.evidence] == [1, 2, 3, 4]


def test_equal_scores_keep_the_fused_order(fake):
    fake.score = lambda query, text: 0.5
    assert texts_of(reranker(fake).rerank("질문", evidence("c", "a", "b"))) == ["c", "a", "b"]


def test_the_question_reaches_the_server_and_decides(fake):
    fake.score = lambda query, text: float(query in text)
    assert texts_of(reranker(fake).rerank("둘", evidence("하나", "둘")))[0] == "둘"
    assert texts_of(reranker(fake).rerank("하나", evidence("하나", "둘")))[0] == "하나"


def test_questions_asked_at_once_do_not_mix(fake):
    fake.score = lambda query, text: float(text.endswith(f" {query}"))
    mine, numbers = reranker(fake), [str(i) for i in range(24)]
    with ThreadPoolExecutor(24) as threads:
        results = list(threads.map(lambda i: mine.rerank(i, evidence(*(f"글 {n}" for n in numbers))), numbers))
    assert [texts_of(result)[0] for result in results] == [f"글 {i}" for i in numbers]


def test_nothing_found_asks_nothing(fake):
    assert reranker(fake).rerank("질문", []) == Reranked(())
    assert fake.requests == []


def test_the_model_of_the_settings_is_sent_to_vllm():
    with FakeReranker("vllm") as fake:
        assert reranker(fake, model="tiny").describe().startswith("tiny at ")
        result = reranker(fake, model="other").rerank("질문", evidence("a", "b"))
        assert "other" in result.failure and texts_of(result) == ["a", "b"]


# --- too much for the server -----------------------------------------------------------------------------------------


def test_long_passages_are_shortened_until_the_server_takes_them_and_counted():
    with FakeReranker("vllm", max_chars=300) as fake:
        result = reranker(fake).rerank("질문", evidence("긴 글 " * 200, "짧은 글"))
        assert (result.failure, result.shortened) == ("", 1)
        assert [len(texts[0]) for texts in fake.batches()][-1] > 200  # no shorter than it must be
        assert all(texts[1].endswith("짧은 글") for texts in fake.batches())


def test_endless_passages_are_cut_before_they_are_sent(fake):
    result = reranker(fake).rerank("질" * 5_000, evidence("x" * 1_000_000, "y"))
    assert (result.failure, result.shortened) == ("", 1)
    assert max(len(text) for batch in fake.batches() for text in batch) == 4_000
    assert max(len(body.get("query", "")) for _, body, _ in fake.requests) == 1_000


def test_a_server_of_small_batches_gets_small_batches():
    passages = evidence(*("x" * (40 - i) for i in range(30)))
    with FakeReranker("tei", max_texts=8) as fake:
        result = reranker(fake).rerank("질문", passages)
        assert texts_of(result) == [item.text for item in reversed(passages)]
        assert [len(batch) for batch in fake.batches()] == [8, 8, 8, 6]


def test_a_server_that_does_not_tell_its_batch_size_is_asked_with_fewer():
    passages = evidence(*("x" * (40 - i) for i in range(30)))
    with FakeReranker("tei", max_texts=8) as fake:
        plain = fake.answer
        fake.answer = lambda path, body, key: (404, {}) if path == "/info" else plain(path, body, key)  # type: ignore
        assert texts_of(reranker(fake).rerank("질문", passages)) == [item.text for item in reversed(passages)]
        assert [len(batch) for batch in fake.batches()][:4] == [30, 15, 8, 8]


def test_passages_that_are_always_too_long_are_a_failure_that_is_told():
    with FakeReranker("vllm") as fake:
        mine = reranker(fake)
        mine.describe()
        fake.max_chars = 10
        result = mine.rerank("질문", evidence("x" * 500, "y"))
        assert "maximum context length" in result.failure and texts_of(result) == ["x" * 500, "y"]
        fake.max_chars = 10_000
        assert mine.rerank("질문", evidence("x" * 500, "y")).failure == ""  # that was about the texts, not the server


# --- failures: the fused order stands, and why is said ---------------------------------------------------------------


def fails(mine: Reranker) -> str:
    found = evidence("bb", "a", "ccc")
    result = mine.rerank("질문", found)
    assert result.evidence == tuple(found), "the fused order must stand, scores and all"
    assert result.failure
    return result.failure


def test_a_server_that_is_away_is_told_and_found_again_later(fake, caplog):
    away = FakeReranker("vllm")
    away._server.server_close()
    with caplog.at_level(logging.WARNING):
        failure = fails(reranker(away))
    assert away.url in failure and "RERANK_BASE_URL" in failure
    assert "not reranked" in caplog.text

    mine = reranker(fake, rest_s=0)
    fake.answers = [(503, {"error": "loading"})]
    assert "503" in fails(mine)
    assert mine.rerank("질문", evidence("bb", "a")).failure == ""


def test_a_slow_server_is_not_waited_for_and_then_left_alone_for_a_while(fake):
    mine = reranker(fake, timeout_s=0.2, rest_s=60)
    fake.released.clear()
    assert "within 0.2 s" in fails(mine) or "too slow" in fails(mine)
    asked = len(fake.requests)
    fails(mine)
    assert len(fake.requests) == asked


def test_a_server_that_trickles_is_not_waited_for(fake):
    """Each read ends in time, the answer never does."""
    mine = reranker(fake, timeout_s=0.5)
    mine._client.server(timeout_s=30)  # asked before, in peace
    fake.trickling.set()
    failure = fails(mine)
    assert "did not answer within 0.5 s" in failure or "too slow" in failure
    readers = list(mine._pool._threads)
    mine._pool.shutdown(wait=False)
    for reader in readers:
        reader.join(20)
    assert not any(reader.is_alive() for reader in readers), "whoever read it goes on for ever"


def test_a_connection_that_breaks_once_is_tried_again(fake):
    mine = reranker(fake)
    mine.describe()
    fake.answers = [(0, None)]
    assert mine.rerank("질문", evidence("bb", "a")).failure == ""
    fake.answers = [(0, None), (0, None)]
    assert "does not answer" in fails(mine)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>nginx</html>",
        b"",
        {"results": []},
        {"results": [{"index": 0, "relevance_score": 1.0}]},
        {"results": [{"index": i, "relevance_score": None} for i in range(3)]},
        {"results": [{"index": i, "relevance_score": float("nan")} for i in range(3)]},
        {"results": [{"index": 0, "relevance_score": 1.0}] * 3},
        {"results": [{"index": i + 1, "relevance_score": 1.0} for i in range(3)]},
        {"results": [{"index": i % 3, "relevance_score": 1.0} for i in range(4)]},
        [{"index": i % 3, "score": 1.0} for i in range(4)],
        {"results": {"index": 0}},
        [{"index": 0, "score": 1.0}],
        [{"index": i} for i in range(3)],
        [[0.1], [0.2], [0.3]],
        [1, 2, 3],
        "text",
    ],
    ids=lambda answer: json.dumps(answer)[:40] if not isinstance(answer, bytes) else repr(answer),
)
def test_an_answer_that_is_not_scores_is_refused(fake, answer):
    mine = reranker(fake)
    mine.describe()
    fake.answers = [(200, answer)]
    assert "3 finite scores" in fails(mine)


def test_what_is_no_rerank_server_is_named_at_the_start():
    with FakeReranker("chat") as fake:
        with pytest.raises(RerankUnavailable, match="no rerank server") as caught:
            reranker(fake).describe()
        assert fake.url in str(caught.value) and "RERANK_BASE_URL" in caught.value.hint
        assert "no rerank server" in fails(reranker(fake))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 424, 500])
def test_no_failure_quotes_the_key(fake, status):
    mine = reranker(fake, rest_s=0)
    mine.describe()
    fake.answers = [(status, {"error": {"message": f"Incorrect API key provided: {KEY}"}})]
    failure = fails(mine)
    assert str(status) in failure and KEY not in failure
    assert KEY not in f"{mine!r} {mine.to_dict()}"


def test_a_wrong_key_is_told_with_its_setting():
    with FakeReranker("vllm", api_key="another") as fake:
        assert "RERANK_API_KEY" in fails(reranker(fake))
    with pytest.raises(RerankUnavailable) as caught:
        RerankClient("http://127.0.0.1:1", api_key="sk-비밀")
    assert "비밀" not in caught.value.sentence()


def test_a_password_in_the_url_is_not_shown():
    failure = fails(Reranker(RerankClient("http://me:hunter2@127.0.0.1:1/v1")))
    assert "hunter2" not in failure


# --- as a LlamaIndex node postprocessor ------------------------------------------------------------------------------


def test_as_a_postprocessor_it_orders_nodes_and_keeps_them_on_failure(fake):
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in ("bb", "a", "ccc")]
    mine = reranker(fake, rest_s=0)
    done = mine.postprocess_nodes(nodes, query_str="질문")
    assert [(item.text, item.score) for item in done] == [("a", 1 / 2), ("bb", 1 / 3), ("ccc", 1 / 4)]
    fake.answers = [(500, {"error": "out of memory"})]
    assert mine.postprocess_nodes(nodes, query_str="질문") == nodes
    with pytest.raises(ValueError, match="question"):
        mine.postprocess_nodes(nodes)
