"""The app on a real port, on a scripted chat service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvicorn

from tests.web.fake_service import FakeService

EXAMPLES = [("ko", "보증 기간은 얼마나 되나요?"), ("en", "How long is the warranty?")]


@dataclass(frozen=True)
class Running:
    url: str
    service: FakeService


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    from web.server import build_app

    service = FakeService()
    app = build_app(service, secret="a secret for tests only", examples=EXAMPLES)  # type: ignore[arg-type]
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Running(f"http://127.0.0.1:{port}", service)
    server.should_exit = True
    thread.join(timeout=10)


def wait_until(condition, *, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {timeout_s} s")
        time.sleep(0.02)
