"""A Ray cluster makes the index that this machine makes, whoever is killed. Real workers, a real database."""

from __future__ import annotations

import importlib.util
import os
import pickle
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from ingest import readers
from ingest.files import find_files
from ingest.ingestor import Ingestor
from ingest.preparing import Preparer, chunking
from ingest.ray_cluster import RayWorkers
from ingest.ray_connection import seats_and_cpus
from ingest.ray_worker import Answer, FileWorker, Greeting, Trouble, WorkerRecipe
from ingest.results import FileResult
from ingest.workers import LocalWorkers, Workers
from knowledge.errors import EmbeddingUnavailable, GakjuError, IndexMismatch, ReadFailed
from knowledge.file_states import FileStates
from knowledge.generations import Manifest

ROOT = Path(__file__).parent.parent.parent
LIMITS: dict[str, Any] = {"max_file_bytes": 20_000_000, "file_timeout_s": 60.0}
RECIPE = WorkerRecipe(chunk_tokens=256, **LIMITS)
FILES = 14
POISON = "독.md"

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'ray>=2.60'"
)


class CrashingWorker(FileWorker):
    """Dies of one file, as of a library's crash or for want of memory."""

    def work(self, data: bytes, name: str, member: str) -> Answer:
        if name == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().work(data, name, member)


class DyingWorker(FileWorker):
    """Ends before it is ready, as where memory is short."""

    def greet(self) -> Greeting:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().greet()


@pytest.fixture(scope="module")
def ray_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Loopback, a token and folders of our own, also for what is started from here. Before Ray is imported."""
    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets lie in it
    ours = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_TMPDIR": folder,
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        for name, value in ours.items():
            patch.setenv(name, value)
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(ray_environment: None) -> Iterator[str]:
    """Address of a cluster of this machine with room for two workers and one that replaces a killed one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    command += ["--num-cpus=2", "--include-dashboard=false", "--object-store-memory=200000000"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not any(child.name() == "raylet" for child in psutil.Process(process.pid).children()):
            assert process.poll() is None and time.monotonic() < until, "the cluster does not start"
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        end_tree(process)


def end_tree(process: subprocess.Popen[Any], started: Sequence[psutil.Process] = ()) -> None:
    """`started`: what it had started, if it may have ended itself."""
    ours = [*started]
    with suppress(psutil.NoSuchProcess):
        ours += psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for child in ours:
        with suppress(psutil.NoSuchProcess):  # compares start times: never another process with that number
            child.kill()
    psutil.wait_procs(ours, timeout=20)


@pytest.fixture
def ray_workers(cluster: str, embedding) -> Callable[..., closing[RayWorkers]]:
    def start(**options) -> closing[RayWorkers]:
        manifest = options.pop("manifest", Manifest(embedding.spec.to_dict(), chunking(256)))
        return closing(RayWorkers(RECIPE, manifest=manifest, address=cluster, workers=2, **options))

    return start


@pytest.fixture
def folder(tmp_path: Path, docs: Path) -> Path:
    """Small documents of several formats, an archive, and one that cannot be read."""
    folder = tmp_path / "문서"
    folder.mkdir()
    for path in sorted((docs / "gakju").glob("*.md"))[:FILES]:
        (folder / path.name).write_text(path.read_text(encoding="utf-8")[:1500], encoding="utf-8")
    shutil.copy(docs / "data" / "grain_fx_sample.csv", folder)
    shutil.copy(ROOT / "tests" / "fixtures" / "damaged.pdf", folder)
    with zipfile.ZipFile(folder / "묶음.zip", "w") as archive:
        archive.writestr("가/환율.md", "# 환율\n\n환율이 떨어지면 수입 원가가 내려간다.\n")
        archive.writestr("freight.txt", "Freight is paid in dollars.")
    return folder


@pytest.fixture
def ingest(store, db, folder: Path) -> Callable[..., Iterator[FileResult]]:
    def run(workers: Workers, collection: str) -> Iterator[FileResult]:
        files, _ = find_files([folder], supported=readers.SUPPORTED)
        with FileStates(db, collection) as states:
            yield from Ingestor(store, states, workers, **LIMITS).run(files)

    return run


@pytest.fixture
def of_this_machine(ingest, embedding, analyzer, index_of) -> Callable[[], list]:
    """What the index is to be: made by this machine's own workers."""

    def make() -> list:
        with closing(LocalWorkers(Preparer(embedding, analyzer, chunk_tokens=256), **LIMITS)) as workers:
            list(ingest(workers, "local"))
        return index_of("local")

    return make


@pytest.fixture
def index_of(db) -> Callable[[str], list]:
    """All that a search can see of a collection, and what became of its files."""

    def read(collection: str) -> list:
        with db.connection() as conn:
            chunks = conn.execute(
                "SELECT d.path, d.content_hash, d.title, d.text, d.blocks::text, k.ordinal, k.start_char, k.end_char, "
                "k.text, k.heading, k.place::text, k.table_header, k.language, k.embedding::text, k.term_ids, "
                "k.term_weights::text FROM documents d JOIN collections c ON c.id = d.collection_id "
                "LEFT JOIN chunks k ON k.generation_id = d.generation_id AND k.document_id = d.id "
                "WHERE c.name = %s ORDER BY d.path, k.ordinal",
                (collection,),
            ).fetchall()
            terms = conn.execute(
                "SELECT term_id, sum(n) FROM (SELECT collection_id, term_id, chunks AS n FROM term_counts UNION ALL "
                "SELECT collection_id, change.* FROM count_changes, unnest(term_ids, deltas) AS change) counts "
                "JOIN collections c ON c.id = collection_id WHERE c.name = %s GROUP BY 1 HAVING sum(n) <> 0 ORDER BY 1",
                (collection,),
            ).fetchall()
            states = conn.execute(
                "SELECT f.path, f.state, f.reason, f.content_hash FROM files f "
                "JOIN collections c ON c.id = f.collection_id WHERE c.name = %s ORDER BY 1",
                (collection,),
            ).fetchall()
        return [chunks, terms, states]

    return read


@needs_ray
def test_two_workers_make_the_index_that_this_machine_makes(ray_workers, ingest, index_of, of_this_machine):
    with ray_workers() as workers:
        results = list(ingest(workers, "ray"))
        again = list(ingest(workers, "ray"))
        assert len({greeting.pid for greeting in workers.greetings}) == 2
    [failed] = [result for result in results if result.outcome == "failed"]
    assert failed.path == "damaged.pdf"
    assert {result.outcome for result in again if result.path != "damaged.pdf"} == {"unchanged"}
    made = index_of("ray")
    assert len(made[0]) > FILES and made == of_this_machine()


@needs_ray
def test_killed_worker_loses_and_doubles_nothing(ray_workers, ingest, index_of, of_this_machine):
    with ray_workers() as workers:
        run = ingest(workers, "ray")
        results = [next(run) for _ in range(3)]
        killed = workers.greetings[0].pid
        os.kill(killed, signal.SIGKILL)
        results += run
        assert killed not in {greeting.pid for greeting in workers.greetings}
    assert [result.path for result in results if result.outcome == "failed"] == ["damaged.pdf"]
    assert len({result.path for result in results}) == len(results)
    assert index_of("ray") == of_this_machine()


@needs_ray
@pytest.mark.slow
def test_file_that_ends_every_worker_is_named_and_no_other(ray_workers, ingest, folder):
    (folder / POISON).write_text("# 독\n", encoding="utf-8")
    with ray_workers(worker=CrashingWorker) as workers:
        results = {result.path: result for result in ingest(workers, "ray")}
    failed = {path: result.reason for path, result in results.items() if result.outcome == "failed"}
    assert failed == {"damaged.pdf": "damaged", POISON: "damaged"}
    assert "3 workers" in results[POISON].error
    assert len(results) >= FILES + 2


@needs_ray
@pytest.mark.slow
def test_workers_that_would_build_another_index_are_refused(ray_workers, ingest, embedding):
    other = Manifest({**embedding.spec.to_dict(), "name": "another-model"}, chunking(128))
    with ray_workers(manifest=other) as workers, pytest.raises(IndexMismatch) as refused:
        list(ingest(workers, "ray"))
    assert all(name in str(refused.value) for name in ("another-model", embedding.spec.name, "128 tokens"))


@needs_ray
@pytest.mark.slow
def test_run_ends_when_no_worker_can_start(ray_workers, ingest):
    with ray_workers(worker=DyingWorker, no_worker_s=5.0) as workers, pytest.raises(GakjuError) as ended:
        list(ingest(workers, "ray"))
    assert "No Ray worker" in str(ended.value) and "again" in ended.value.hint


_DRIVER = """
import sys
from contextlib import closing
from pathlib import Path
from ingest import readers
from ingest.files import find_files
from ingest.ingestor import Ingestor
from ingest.ray_cluster import RayWorkers
from knowledge.database import Database
from knowledge.file_states import FileStates
from knowledge.generations import active_generation
from knowledge.store import IndexStore
from tests.ingest.test_ray import LIMITS, RECIPE

if __name__ == "__main__":
    db = Database(sys.argv[1])
    db.open()
    active = active_generation(db)
    files, _ = find_files([Path(sys.argv[2])], supported=readers.SUPPORTED)
    workers = RayWorkers(RECIPE, manifest=active.manifest, address="local", workers=1)
    with closing(workers), FileStates(db, "ray") as states:
        for result in Ingestor(IndexStore(db, active), states, workers, **LIMITS).run(files):
            print(result.path, flush=True)
"""


@needs_ray
@pytest.mark.slow
def test_killed_driver_takes_its_cluster_along_and_a_rerun_finishes(
    ray_workers, ray_environment, ingest, index_of, of_this_machine, database_url, folder
):
    command = [sys.executable, "-c", _DRIVER, database_url, str(folder)]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    started: list[psutil.Process] = []
    try:
        assert driver.stdout is not None
        done = [driver.stdout.readline().strip() for _ in range(3)]
        started = psutil.Process(driver.pid).children(recursive=True)
        heard = {at.laddr.ip for one in [psutil.Process(driver.pid), *started] for at in one.net_connections("tcp")}
        names = {process: process.name() for process in started}
        assert "raylet" in names.values() and any("FileWorker" in name for name in names.values())
        os.kill(driver.pid, signal.SIGKILL)
        # Ray's two agents, which hold nothing, take more than a minute to notice.
        _, alive = psutil.wait_procs([one for one, name in names.items() if "Agent" not in name], timeout=60)
        assert not alive
    finally:
        end_tree(driver, started)
    assert heard <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert all(done) and index_of("ray")[0]
    with ray_workers() as workers:
        outcomes = {result.path: result.outcome for result in ingest(workers, "ray")}
    assert "added" in outcomes.values() and "unchanged" in outcomes.values()
    assert index_of("ray") == of_this_machine()


@pytest.mark.parametrize(
    ("address", "said", "hint"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", "ray start --head"),
        ("127.0.0.1:99999", "127.0.0.1:99999", "ray start --head"),
        ("ray://10.0.0.1:10001", "Ray Client", "ray start --address"),
        ("documents/", "--ray documents/", "after the paths"),
    ],
)
def test_address_without_a_cluster_is_refused_at_once(address, said, hint):
    with pytest.raises(GakjuError, match=said) as refused:
        RayWorkers(RECIPE, manifest=Manifest({}, ""), address=address)
    assert hint in refused.value.hint and str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("machines", "asked", "expected"),
    [([8, 4, 0], None, (6, 2)), ([1, 4], None, (3, 1)), ([4], 2, (2, 2)), ([4], 3, (3, 1))],
)
def test_workers_fit_the_processors_of_each_machine(machines, asked, expected):
    nodes = [{"Alive": True, "Resources": {"CPU": float(cpus)}} for cpus in machines]
    nodes.append({"Alive": False, "Resources": {"CPU": 64.0}})
    assert seats_and_cpus(SimpleNamespace(nodes=lambda: nodes), asked) == expected


def test_more_workers_than_processors_are_refused():
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}]
    with pytest.raises(GakjuError, match="the cluster has 2"):
        seats_and_cpus(SimpleNamespace(nodes=lambda: nodes), 3)


@pytest.mark.parametrize(
    "error",
    [
        ReadFailed("무엇.pdf is damaged.", reason="damaged", hint="Save it."),
        EmbeddingUnavailable("Away.", hint="Wait."),
    ],
)
def test_errors_survive_the_way_between_machines(error):
    came = pickle.loads(pickle.dumps(Trouble.of(error))).error()
    assert type(came) is type(error) and came.sentence() == error.sentence()
    assert getattr(came, "reason", "") == getattr(error, "reason", "")


def test_api_key_is_in_no_log():
    assert "s3cret" not in f"{WorkerRecipe(256, 1, 1.0, embed_api_key='s3cret')!r}"
