"""The app on a real port, on a scripted chat service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import uvicorn

from tests.web.fake_service import FakeService

EXAMPLES = [("ko", "보증 기간은 얼마나 되나요?"), ("en", "How long is the warranty?")]


@dataclass(frozen=True)
class Running:
    url: str
    service: FakeService


@contextmanager
def serving(service: FakeService, *, port: int = 0) -> Iterator[Running]:
    """The app on `port` (0: any that is free) until the block ends."""
    from web.server import build_app

    app = build_app(service, secret="a secret for tests only", examples=EXAMPLES)  # type: ignore[arg-type]
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield Running(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", service)
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with serving(FakeService()) as running:
        yield running


def wait_until(condition, *, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {timeout_s} s")
        time.sleep(0.02)
