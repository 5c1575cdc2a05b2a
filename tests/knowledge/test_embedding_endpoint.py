"""The embedding of an OpenAI-compatible server, over real HTTP to a server that answers as vLLM does, or badly."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from knowledge.embedding import EmbeddingSpec, EndpointEmbedding, build_embedding
from knowledge.embedding.endpoint_models import configured_prefix, known_prefixes
from knowledge.errors import EmbeddingUnavailable

KEY = "sk-very-secret"
Answer = tuple[int, Any]


class FakeVllm:
    """A real HTTP server that answers as vLLM does. `answers` are given first, in order; `requests` is what came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any], str | None]] = []
        self.answers: list[Answer] = []
        self.dimension = 4
        self.root = "/models/unheard-of"
        self.tokenize: Callable[[dict[str, Any]], Answer] = lambda body: (
            200,
            {"count": len(body["prompt"].split()), "max_model_len": 512, "tokens": []},
        )
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any]) -> None:
                fake.requests.append((self.path, body, self.headers["Authorization"]))
                status, answer = fake.answer(self.path, body)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if path == "/v1/embeddings" and self.answers:
            return self.answers.pop(0)
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": "first/model", "root": self.root}, {"id": "second"}]}
        if path == "/v1/embeddings":
            return 200, self.vectors(body["input"])
        if path == "/tokenize":
            return self.tokenize(body)
        return 404, {"error": {"message": "no such path"}}

    def vectors(self, texts: list[str], *, dimension: int = 0) -> dict[str, Any]:
        """The k-th number of a text's vector counts its characters k modulo the dimension. Listed last text first."""
        size = dimension or self.dimension
        data = []
        for i, text in enumerate(texts):
            counts = [1 + sum(ord(char) % size == k for char in text) for k in range(size)]
            data.append({"index": i, "object": "embedding", "embedding": counts})
        return {"object": "list", "model": "first/model", "data": data[::-1], "usage": {"total_tokens": 1}}

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[FakeVllm]:
    fake = FakeVllm()
    yield fake
    fake.close()


def _client(server: FakeVllm, **options: Any) -> EndpointEmbedding:
    return EndpointEmbedding(base_url=server.url, api_key=KEY, retry_wait_s=0.01, **options)


def test_building_an_endpoint_asks_nothing_yet(tmp_path, server):
    embedding = build_embedding(base_url=server.url + "/", api_key=KEY, cache_dir=tmp_path)
    assert isinstance(embedding, EndpointEmbedding)
    assert server.requests == []
    assert embedding.spec == EmbeddingSpec("first/model/endpoint", 4, "", "")
    assert all(key == f"Bearer {KEY}" for _, _, key in server.requests)


def test_endpoint_vectors_come_in_order_with_prefixes_in_batches(server):
    embedding = _client(server, model="mine", query_prefix="Q: ", passage_prefix="P: ")
    texts = [f"글 {i} " + "x" * (i % 7) for i in range(130)]
    vectors = embedding.embed_passages(texts)
    assert vectors.shape == (130, 4) and vectors.dtype == np.float32
    for i in (0, 63, 64, 129):
        expected = np.array(server.vectors(["P: " + texts[i]])["data"][0]["embedding"], np.float32)
        assert np.allclose(vectors[i], expected / np.linalg.norm(expected))
    embedding.embed_query("왜?")
    sent = [body["input"] for path, body, _ in server.requests if path == "/v1/embeddings"]
    assert [len(batch) for batch in sent] == [1, 64, 64, 2, 1]
    assert sent[-1] == ["Q: 왜?"]
    assert "/v1/models" not in server.paths()
    assert embedding.embed_passages([]).shape == (0, 4)


def test_endpoint_gets_clean_text(server):
    _client(server, model="mine").embed_passages(["\x00 \ud800 \u1112\u1161\u11ab"])
    assert server.requests[-1][1]["input"] == ["\ufffd \ufffd 한"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_endpoint_tries_again_after_a_busy_answer(server, status):
    server.answers = [(status, {"error": "busy"}), (status, b"busy")]
    assert _client(server, model="mine").embed_query("휴가").shape == (4,)
    assert server.paths().count("/v1/embeddings") == 4  # two refusals, the probe, the query


def test_endpoint_gives_up_after_three_tries(server):
    server.answers = [(500, {"error": "out of memory"})] * 5
    with pytest.raises(EmbeddingUnavailable, match=r"answered 500.*out of memory") as caught:
        _client(server, model="mine").embed_query("휴가")
    assert len(server.requests) == 3
    assert server.url in str(caught.value) and "log" in caught.value.hint


def test_endpoint_does_not_repeat_a_refused_request(server):
    server.answers = [(400, {"error": "too long"})]
    with pytest.raises(EmbeddingUnavailable, match=r"answered 400.*too long"):
        _client(server, model="mine").embed_query("휴가")
    assert len(server.requests) == 1


def test_no_message_quotes_the_key(server):
    for status in (400, 401, 403, 404, 500):
        server.answers = [(status, {"error": {"message": f"Incorrect API key provided: {KEY}"}})] * 3
        with pytest.raises(EmbeddingUnavailable) as caught:
            _client(server, model="mine").embed_query("휴가")
        assert KEY not in caught.value.sentence()
        assert caught.value.hint
    embedding = _client(server)
    assert KEY not in f"{embedding!r} {embedding.to_dict()} {embedding.to_payload()}"
    with pytest.raises(EmbeddingUnavailable) as caught:
        EndpointEmbedding(base_url=server.url, api_key="sk-비밀")
    assert "비밀" not in caught.value.sentence()


def test_password_in_the_url_is_not_shown():
    embedding = EndpointEmbedding(base_url="http://me:hunter2@127.0.0.1:1/v1", model="mine", retry_wait_s=0.01)
    with pytest.raises(EmbeddingUnavailable) as caught:
        embedding.embed_query("휴가")
    assert "hunter2" not in caught.value.sentence()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>nginx</html>",
        b"",
        {"data": []},
        {"data": [{"index": 0}]},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 0, "embedding": ["a", "b"]}]},
        {"data": [{"index": 0, "embedding": [None, 1.0]}]},
        {"data": [{"index": 0, "embedding": [float("nan"), 1.0]}]},
        {"data": [{"index": 1, "embedding": [1.0, 2.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0]}]},
        {"data": "text"},
        ["a", "list"],
        {"data": [{"index": 0, "embedding": "AACAP"}]},
        {"data": [{"index": 0, "embedding": "not base64"}]},
    ],
)
def test_endpoint_refuses_an_answer_that_is_not_vectors(server, answer):
    server.answers = [(200, answer)]
    with pytest.raises(EmbeddingUnavailable, match="1 finite vectors") as caught:
        _client(server, model="mine").embed_query("휴가")
    assert server.url in str(caught.value)


def test_endpoint_refuses_a_vector_without_direction(server):
    embedding = _client(server, model="mine")
    assert embedding.spec.dimension == 4
    server.answers = [(200, {"data": [{"index": 0, "embedding": [0.0] * 4}]})]
    with pytest.raises(EmbeddingUnavailable, match="zero or not finite"):
        embedding.embed_query("휴가")


def test_endpoint_refuses_a_changed_dimension(server):
    embedding = _client(server, model="mine")
    assert embedding.embed_query("휴가").shape == (4,)
    server.dimension = 5
    with pytest.raises(EmbeddingUnavailable, match="gave 5 numbers a text, earlier 4"):
        embedding.embed_query("휴가")


def test_unreachable_endpoint_names_url_and_remedy(server):
    embedding = _client(server)
    server.close()
    for call in (lambda: embedding.spec, lambda: embedding.embed_passages(["a"]), lambda: embedding.count_tokens("a")):
        with pytest.raises(EmbeddingUnavailable, match="does not answer") as caught:
            call()
        assert server.url in str(caught.value) and "EMBED_BASE_URL" in caught.value.hint


def test_endpoint_recovers_when_the_server_comes_back(server):
    server.answers = [(503, b"loading")] * 3
    embedding = _client(server, model="mine")
    with pytest.raises(EmbeddingUnavailable):
        embedding.embed_query("휴가")
    assert embedding.embed_query("휴가").shape == (4,)


def test_endpoint_without_models_asks_for_the_name(server):
    server.answer = lambda path, body: (200, {"data": []})  # type: ignore[method-assign]
    with pytest.raises(EmbeddingUnavailable, match="lists no model") as caught:
        _client(server).embed_query("휴가")
    assert "EMBED_MODEL" in caught.value.hint


def test_endpoint_counts_with_the_servers_tokenizer(server):
    embedding = _client(server, model="mine")
    assert embedding.count_tokens("one two three") == 3
    path, body, _ = server.requests[-1]
    assert path == "/tokenize"
    assert body == {"model": "mine", "prompt": "one two three", "add_special_tokens": False}
    words = "word " * 100
    assert [words[a:b].strip().count(" ") + 1 for a, b in embedding.split_at_tokens(words, 40)] == [40, 40, 20]
    assert len(server.requests) < 40  # a search, not a request for each word


@pytest.mark.parametrize("answer", [(404, {}), (405, b""), (200, b"<html>"), (200, {"tokens": []}), (200, [])])
def test_endpoint_without_tokenizer_estimates(server, answer):
    server.tokenize = lambda body: answer
    embedding = _client(server, model="mine")
    assert embedding.count_tokens("연차휴가") == 3  # 4 × 0.7, rounded up
    assert embedding.count_tokens("annual leave") == 4  # 12 / 3.5, rounded up
    assert server.paths() == ["/tokenize"]


async def test_endpoint_does_not_block_the_event_loop(server):
    """Both requests wait for each other inside the server: they only end if they run at the same time."""
    meeting = threading.Barrier(2, timeout=20)
    embedding = _client(server, model="mine")
    assert embedding.spec.dimension == 4
    plain = server.answer

    def answer(path: str, body: dict[str, Any]) -> Answer:
        meeting.wait()
        return plain(path, body)

    server.answer = answer  # type: ignore[method-assign]
    vectors = await asyncio.gather(embedding.aget_query_embedding("하나"), embedding.aget_text_embedding("둘"))
    assert [len(vector) for vector in vectors] == [4, 4]


# --- what the model wants before a text ------------------------------------------------------------------------------

TASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intfloat/multilingual-e5-large", ("query: ", "passage: ")),
        ("e5-base-v2", ("query: ", "passage: ")),
        ("/models/multilingual-e5-small", ("query: ", "passage: ")),
        ("intfloat/multilingual-e5-large-instruct", (f"{TASK} ", "")),
        ("intfloat/e5-mistral-7b-instruct", (f"{TASK} ", "")),
        ("Qwen/Qwen3-Embedding-0.6B", (TASK, "")),
        ("qwen3-embedding-8b", (TASK, "")),
        ("BAAI/bge-m3", ("", "")),
        ("dragonkue/BGE-m3-ko", ("", "")),
        ("nlpai-lab/KURE-v1", ("", "")),
        ("BAAI/bge-large-en-v1.5", ("Represent this sentence for searching relevant passages: ", "")),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", ("query: ", "")),
        ("nomic-ai/nomic-embed-text-v1.5", ("search_query: ", "search_document: ")),
        ("google/embeddinggemma-300m", ("task: search result | query: ", "title: none | text: ")),
        ("text-embedding-3-small", None),
        ("space5-model", None),
    ],
)
def test_prefixes_of_known_models(name, expected):
    assert known_prefixes(name) == expected


def test_prefixes_come_from_the_name_and_settings_come_first(server):
    assert _client(server, model="Qwen/Qwen3-Embedding-4B").spec.query_prefix == TASK
    mine = _client(server, model="intfloat/multilingual-e5-base", query_prefix="Q: ")
    assert (mine.spec.query_prefix, mine.spec.passage_prefix) == ("Q: ", "passage: ")
    none = _client(server, model="intfloat/multilingual-e5-base", query_prefix="", passage_prefix="")
    assert (none.spec.query_prefix, none.spec.passage_prefix) == ("", "")
    assert "/v1/models" not in server.paths()


def test_prefixes_of_a_model_that_is_served_under_another_name(server, caplog):
    server.root = "/models/Qwen3-Embedding-0.6B"
    assert _client(server).spec == EmbeddingSpec("first/model/endpoint", 4, TASK, "")
    assert _client(server, model="second").spec.query_prefix == ""
    assert _client(server, model="unlisted").spec.query_prefix == ""


def test_prefixes_as_settings_have_them():
    assert configured_prefix("") is None
    assert configured_prefix("none") == configured_prefix(" None ") == ""
    assert configured_prefix("query: ") == "query: "
    assert configured_prefix("Instruct: find\\nQuery:") == "Instruct: find\nQuery:"


# --- limits of servers -----------------------------------------------------------------------------------------------


def limited(server: FakeVllm, *, texts: int = 10_000, chars: int = 10_000, status: int = 413) -> None:
    """From now on the server takes no more than that."""
    plain = server.answer

    def answer(path: str, body: dict[str, Any]) -> Answer:
        sent = body.get("input", [])
        if path == "/v1/embeddings" and len(sent) > texts:
            words = f"batch size {len(sent)} > maximum allowed batch size {texts}"
            return status, {"message": words, "type": "Validation"}
        if path == "/v1/embeddings" and max(map(len, sent)) > chars:
            words = f"This model's maximum context length is {chars} tokens. However, your prompt contains more."
            return status, {"error": {"message": words, "type": "BadRequestError", "param": "input_tokens"}}
        return plain(path, body)

    server.answer = answer  # type: ignore[method-assign]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_server_of_small_batches_gets_small_ones_from_then_on(server, status):
    limited(server, texts=20, status=status)
    embedding = _client(server, model="mine")
    texts = [f"글 {i}" for i in range(100)]
    expected = _client(server, model="mine")
    assert np.array_equal(embedding.embed_passages(texts), np.stack([expected.embed_passages([t])[0] for t in texts]))
    server.requests.clear()
    embedding.embed_passages(texts)
    sizes = [len(body["input"]) for path, body, _ in server.requests if path == "/v1/embeddings"]
    assert sizes == [16] * 6 + [4]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_only_the_text_that_is_too_long_is_shortened_and_that_is_told(server, status, caplog):
    limited(server, chars=100, status=status)
    embedding = _client(server, model="mine", passage_prefix="P: ")
    texts = [f"글 {i}" for i in range(70)]
    texts[33] = "가나다라" * 50
    with caplog.at_level(logging.WARNING):
        vectors = embedding.embed_passages(texts)
    kept = len(texts[33]) * 3 // 4 * 3 // 4 * 3 // 4
    whole = _client(server, model="mine", passage_prefix="P: ")
    assert np.array_equal(vectors[33], whole.embed_passages([texts[33][:kept]])[0])
    assert np.array_equal(np.delete(vectors, 33, 0), whole.embed_passages(texts[:33] + texts[34:]))
    assert [f"as {len(texts[33])} characters: its first {kept}" in record.message for record in caplog.records] == [
        True
    ]


def test_a_server_that_takes_nothing_is_an_error_after_few_tries(server):
    embedding = _client(server, model="mine")
    assert embedding.spec.dimension == 4
    limited(server, chars=2)
    with pytest.raises(EmbeddingUnavailable, match="maximum context length"):
        embedding.embed_query("휴가 " * 500)
    assert len(server.requests) < 30


def test_an_answer_in_base64_is_read(server):
    embedding = _client(server, model="mine")
    assert embedding.spec.dimension == 4
    numbers = base64.b64encode(np.array([3, 0, 4, 0], "<f4").tobytes()).decode()
    server.answers = [(200, {"data": [{"index": 0, "embedding": numbers}]})]
    assert np.allclose(embedding.embed_query("휴가"), [0.6, 0, 0.8, 0])


def test_fewer_dimensions_are_the_first_numbers_of_length_one(server):
    whole, cut = _client(server, model="mine"), _client(server, model="mine", dimensions=2)
    assert cut.spec.dimension == 2
    first = whole.embed_query("휴가는?")[:2]
    assert np.allclose(cut.embed_query("휴가는?"), first / np.linalg.norm(first))
    assert cut.embed_passages([]).shape == (0, 2)
    server.dimension = 5
    with pytest.raises(EmbeddingUnavailable, match="gave 5 numbers a text, earlier 4"):
        cut.embed_query("휴가")
    with pytest.raises(EmbeddingUnavailable, match="EMBED_DIMENSIONS asks for 6"):
        _ = _client(server, model="mine", dimensions=6).spec


def test_text_embeddings_inference_is_understood(server):
    """It lists no models, counts tokens in another shape, and has a small batch (its router's source)."""
    vllm = server.answer

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path == "/info":
            return 200, {"model_id": "BAAI/bge-m3", "max_client_batch_size": 32}
        if path == "/tokenize":
            if "inputs" not in body:
                return 422, b"Failed to deserialize the JSON body into the target type: missing field `inputs`"
            return 200, [[{"id": i, "text": word, "special": False} for i, word in enumerate(body["inputs"].split())]]
        return vllm(path, body) if path == "/v1/embeddings" else (404, b"")

    server.answer = answer  # type: ignore[method-assign]
    limited(server, texts=32, status=422)
    embedding = _client(server)
    assert embedding.spec == EmbeddingSpec("BAAI/bge-m3/endpoint", 4, "", "")
    assert [embedding.count_tokens("one two three"), embedding.count_tokens("one")] == [3, 1]
    assert server.paths()[-3:] == ["/tokenize"] * 3
    assert embedding.embed_passages(["글"] * 64).shape == (64, 4)
