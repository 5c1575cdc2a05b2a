"""Real vLLMs on the CPU, once for the session: tiny random models, an environment and process groups of their own.

One chats; one embeds and one reranks, which start side by side when a test first asks for either.

`GAKJU_VLLM_PYTHON` is the Python that has vLLM (default .venv-vllm/bin/python, made by `make setup-vllm`). Where it is
missing the tests fail: who asks for them by `-m vllm` wants them run.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT_DIR = Path(__file__).resolve().parents[2]
MODEL = "Qwen/Qwen2.5-7B-Instruct"  # served under a usual name
EMBEDDERS = ("BAAI/bge-m3", "Qwen/Qwen3-Embedding-0.6B", "intfloat/multilingual-e5-small")  # one model, three names
RERANKER = "BAAI/bge-reranker-v2-m3"
API_KEY = "sk-contract-test"
MAX_MODEL_LEN = 4096
START_TIMEOUT_S = 240
SERVER_ENV = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


@dataclass
class RunningVllm:
    base_url: str
    process: subprocess.Popen[bytes]
    log: Path

    def metric(self, name: str) -> float:
        """Sum of a metric's samples, such as vllm:num_requests_running."""
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))

    def children(self) -> dict[str, int]:
        """Names and ids of the processes in the server's group, itself left out."""
        rows = subprocess.run(["ps", "-eo", "pid,pgid,args"], capture_output=True, text=True, check=True).stdout
        found = {}
        for row in rows.splitlines()[1:]:
            pid, pgid, args = row.split(None, 2)
            if int(pgid) == self.process.pid and int(pid) != self.process.pid:
                found[args] = int(pid)
        return found

    def kill(self) -> None:
        """The whole group: a killed API server leaves its engine and worker running."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def vllm_python() -> str:
    python = Path(os.environ.get("GAKJU_VLLM_PYTHON", PROJECT_DIR / ".venv-vllm" / "bin" / "python"))
    if not python.exists():
        pytest.fail(f"there is no vLLM environment at {python}: run `make setup-vllm`", pytrace=False)
    return str(python)


def launch_vllm(model: Path, log: Path, *, served_as: Sequence[str], options: Sequence[str]) -> RunningVllm:
    """Starts a server and does not wait for it."""
    python = vllm_python()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The module, not the `vllm` command: that one looks for a distribution of the name "vllm" and finds "vllm-cpu".
    # It takes every processor; the tests beside it must still get their turn.
    command = ["nice", "-n", "15", python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", *served_as, "--host", "127.0.0.1", "--port", str(port), "--api-key", API_KEY]
    command += ["--enforce-eager", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **SERVER_ENV}, start_new_session=True
        )
    return RunningVllm(f"http://127.0.0.1:{port}/v1", process, log)


def wait_until_healthy(server: RunningVllm) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and server.process.poll() is None:
        try:
            with urllib.request.urlopen(server.base_url.removesuffix("/v1") + "/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    server.kill()
    tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-30:])
    pytest.fail(f"vLLM did not become healthy within {START_TIMEOUT_S} s; the end of its log:\n{tail}", pytrace=False)


def start_vllm(model: Path, log: Path) -> RunningVllm:
    """A server that chats, when it is healthy."""
    options = ["--max-model-len", str(MAX_MODEL_LEN), "--num-gpu-blocks-override", "128", "--generation-config", "vllm"]
    server = launch_vllm(model, log, served_as=[MODEL], options=options)
    wait_until_healthy(server)
    return server


def made_by(script: str, folder: Path) -> Path:
    """`folder`, filled by a script beside this file in the vLLM environment."""
    command = [vllm_python(), str(Path(__file__).with_name(script)), str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.fail(f"{script} failed:\n{made.stderr[-2000:]}", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by("tiny_model.py", tmp_path_factory.mktemp("tiny-qwen2"))


@pytest.fixture(scope="session")
def vllm(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVllm]:
    server = start_vllm(tiny_model, tmp_path_factory.mktemp("vllm") / "server.log")
    yield server
    server.kill()


@pytest.fixture
def vllm_to_kill(tiny_model: Path, tmp_path: Path) -> Iterator[RunningVllm]:
    server = start_vllm(tiny_model, tmp_path / "server.log")
    yield server
    server.kill()


@pytest.fixture(scope="session")
def pooling_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningVllm]]:
    models = made_by("tiny_pooling_models.py", tmp_path_factory.mktemp("tiny-xlm-roberta"))
    logs = tmp_path_factory.mktemp("vllm-pooling")
    servers = {
        name: launch_vllm(models / name, logs / f"{name}.log", served_as=served_as, options=["--runner", "pooling"])
        for name, served_as in (("embedding", EMBEDDERS), ("reranker", (RERANKER,)))
    }
    try:
        for server in servers.values():
            wait_until_healthy(server)
        yield servers
    finally:
        for server in servers.values():
            server.kill()


@pytest.fixture(scope="session")
def embedder(pooling_servers: dict[str, RunningVllm]) -> RunningVllm:
    return pooling_servers["embedding"]


@pytest.fixture(scope="session")
def reranking(pooling_servers: dict[str, RunningVllm]) -> RunningVllm:
    return pooling_servers["reranker"]
