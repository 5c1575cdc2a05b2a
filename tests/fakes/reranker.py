"""A rerank server on a real socket that answers as vLLM or as Text Embeddings Inference does, or badly.

    with FakeReranker("vllm") as fake:
        fake.score = lambda query, text: 1.0 / len(text)
        fake.answers = [(503, {"error": "busy"})]       # given first, in order
        ...  # point a client at fake.url
        fake.requests                                   # (path, body, Authorization)

vLLM's frames are those of 0.32.0 (tests/vllm/test_pooling.py asks the real one), TEI's those of its router's source.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


class FakeReranker:
    """`dialect`: "vllm", "tei" or "chat", which reranks nothing. `max_chars`: of query and text; `max_texts`: at once."""

    def __init__(self, dialect: str, *, max_chars: int = 10_000, max_texts: int = 10_000, api_key: str = "") -> None:
        self.dialect, self.max_chars, self.max_texts, self.api_key = dialect, max_chars, max_texts, api_key
        self.score: Callable[[str, str], float] = lambda query, text: 1 / (1 + len(text))
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, dict[str, Any], str | None]] = []
        self.released = threading.Event()  # clear it to let every request wait
        self.released.set()
        self.trickling = threading.Event()  # while it is set, answers begin, go on byte by byte and do not end
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any]) -> None:
                fake.requests.append((self.path, body, self.headers["Authorization"]))
                fake.released.wait(30)
                status, answer = fake.answer(self.path, body, self.headers["Authorization"] or "")
                if answer is None:
                    self.close_connection = True  # hang up without a word
                    return
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data) + 10_000 * fake.trickling.is_set()))
                self.end_headers()
                while fake.trickling.is_set():
                    time.sleep(0.02)
                    self.wfile.write(b" ")
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeReranker:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.trickling.clear()
        self._server.shutdown()
        self._server.server_close()

    def batches(self) -> list[list[str]]:
        """The texts of each rerank request that was more than the probe."""
        bodies = [body for path, body, _ in self.requests if path.endswith("/rerank")]
        sent = [body.get("documents") or body.get("texts") for body in bodies]
        return [texts for texts in sent if texts and texts != ["probe"]]

    def answer(self, path: str, body: dict[str, Any], authorization: str) -> Answer:
        if self.answers:
            return self.answers.pop(0)
        if self.api_key and authorization != f"Bearer {self.api_key}":
            return 401, {"error": "Unauthorized"}
        if self.dialect == "vllm" and path in ("/rerank", "/v1/rerank"):
            return self._as_vllm(body)
        if self.dialect == "tei" and path == "/rerank":
            return self._as_tei(body)
        if self.dialect == "tei" and path == "/info":
            return 200, {"model_id": "BAAI/bge-reranker-v2-m3", "max_client_batch_size": self.max_texts}
        return 404, {"detail": "Not Found"}

    def _as_vllm(self, body: dict[str, Any]) -> Answer:
        if "documents" not in body:
            return 400, {"error": {"message": "1 validation error: documents: Field required", "type": "Bad Request"}}
        if body.get("model", "tiny") != "tiny":
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}
        if max((len(body["query"]) + len(text) for text in body["documents"]), default=0) > self.max_chars:
            words = (
                f"This model's maximum context length is {self.max_chars} tokens. However, your prompt contains more."
            )
            return 400, {"error": {"message": words, "type": "BadRequestError", "param": "input_tokens", "code": 400}}
        rows: list[dict[str, Any]] = [
            {"index": i, "document": {"text": text}, "relevance_score": self.score(body["query"], text)}
            for i, text in enumerate(body["documents"])
        ]
        rows.sort(key=lambda row: -row["relevance_score"])
        return 200, {"id": "score-1", "model": "tiny", "usage": {"total_tokens": 1}, "results": rows[: body["top_n"]]}

    def _as_tei(self, body: dict[str, Any]) -> Answer:
        if "texts" not in body:
            return 422, b"Failed to deserialize the JSON body into the target type: missing field `texts`"
        if len(body["texts"]) > self.max_texts:
            words = f"batch size {len(body['texts'])} > maximum allowed batch size {self.max_texts}"
            return 422, {"error": words, "error_type": "Validation"}
        rows: list[dict[str, Any]] = [
            {"index": i, "score": self.score(body["query"], text)} for i, text in enumerate(body["texts"])
        ]
        return 200, sorted(rows, key=lambda row: -row["score"])
