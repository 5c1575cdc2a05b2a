"""The conversation memory on Redis (Valkey) as it is deployed: password, TLS, database number, prefix, cluster."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from knowledge.errors import MemoryUnavailable, SessionBusy, SessionNotFound
from pipelines.chat_memory import new_turn
from pipelines.memory import SessionMemory, connect
from pipelines.memory_client import LazyClient
from pipelines.memory_tools import StoredResult, ToolCache
from tests.pipelines.redis_servers import certificates, free_ports, tls_in_front_of, valkey, valkey_cluster


def talk(memory: SessionMemory, question: str = "질문", *, owner: str = "me", turns: int = 1) -> str:
    """A session in which `question` was answered."""
    session_id = memory.create(owner)
    for n in range(turns):
        turn = new_turn(session_id, f"{question} {n}")
        memory.begin(turn)
        memory.finish(replace(turn, answer="답", status="complete"))
    assert [turn.status for turn in memory.turns(session_id)] == ["complete"] * turns
    return session_id


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[list[int]]:
    with valkey_cluster(tmp_path_factory.mktemp("cluster")) as ports:
        yield ports


@pytest.fixture
def on_cluster(cluster: list[int]) -> Iterator[SessionMemory]:
    memory = SessionMemory(connect(f"redis://127.0.0.1:{cluster[0]}/0"), ttl_s=3600)
    yield memory
    memory.close()


def test_a_password_is_used_and_a_wrong_one_said_without_showing_it(tmp_path: Path):
    (port,) = free_ports(1)
    with valkey(tmp_path / "v", port, "--requirepass", "s3cret-word"):
        talk(SessionMemory(connect(f"redis://:s3cret-word@127.0.0.1:{port}/0"), ttl_s=60))
        for url in (f"redis://:wr0ng-word@127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/0"):
            with pytest.raises(MemoryUnavailable) as caught:
                SessionMemory(connect(url), ttl_s=60).create("me")
            assert "word" not in caught.value.sentence().replace("password", "")


def test_a_user_who_may_only_what_is_needed(tmp_path: Path):
    """Neither INFO nor CLUSTER nor scripts; keys of the prefix alone."""
    (port,) = free_ports(1)
    with valkey(tmp_path / "v", port):
        admin = redis.Redis(port=port)
        admin.execute_command(
            *"ACL SETUSER app on >pw ~team:* +@read +@write +@transaction +@connection -@dangerous".split()
        )
        talk(SessionMemory(connect(f"redis://app:pw@127.0.0.1:{port}/0"), ttl_s=60, prefix="team"))
        with pytest.raises(MemoryUnavailable):
            talk(SessionMemory(connect(f"redis://app:pw@127.0.0.1:{port}/0"), ttl_s=60, prefix="other"))


def test_a_database_number_keeps_apart(tmp_path: Path):
    (port,) = free_ports(1)
    with valkey(tmp_path / "v", port):
        fifth = SessionMemory(connect(f"redis://127.0.0.1:{port}/5"), ttl_s=60)
        session_id = talk(fifth)
        assert redis.Redis(port=port, db=5).dbsize() > 0 and redis.Redis(port=port, db=0).dbsize() == 0
        with pytest.raises(SessionNotFound):
            SessionMemory(connect(f"redis://127.0.0.1:{port}/0"), ttl_s=60).check(session_id, "me")


def test_tls_with_a_ca_of_ones_own(tmp_path: Path):
    ca, certificate, key = certificates(tmp_path)
    (port,) = free_ports(1)
    with valkey(tmp_path / "v", port, "--requirepass", "pw"), tls_in_front_of(port, certificate, key) as tls:
        memory = SessionMemory(connect(f"rediss://:pw@127.0.0.1:{tls}/2?ssl_ca_certs={ca}"), ttl_s=60)
        talk(memory)
        assert redis.Redis(port=port, db=2, password="pw").dbsize() > 0
        with pytest.raises(MemoryUnavailable, match=r"(?i)certificate"):
            SessionMemory(connect(f"rediss://:pw@127.0.0.1:{tls}/2"), ttl_s=60).create("me")


def test_a_cluster_is_recognised_by_asking(on_cluster: SessionMemory, cluster: list[int], servers):
    client = connect(f"redis://127.0.0.1:{cluster[1]}/0")
    assert isinstance(client, LazyClient) and client.is_cluster
    client.close()
    assert not isinstance(connect(servers.redis().url), LazyClient), "a socket is never a cluster"


def test_sessions_live_on_all_nodes_of_a_cluster_and_each_on_one(on_cluster: SessionMemory, cluster: list[int]):
    owner = f"me-{time.time()}"
    ids = [talk(on_cluster, f"{n}", owner=owner, turns=2) for n in range(30)]
    nodes = [redis.Redis(port=port, decode_responses=True) for port in cluster]
    keys = [set(node.keys("gakju:*")) for node in nodes]
    for session_id in ids:
        homes = [any(f"{{{session_id}}}" in key for key in held) for held in keys]
        assert sum(homes) == 1, "its keys share a slot"
    assert all(any("}:turns" in key for key in held) for held in keys), "every node holds some"
    assert [item.id for item in on_cluster.sessions(owner)] == ids[::-1]
    on_cluster.delete(ids[0], owner)
    assert ids[0] not in {item.id for item in on_cluster.sessions(owner)}
    assert on_cluster.restore(ids[0], owner).id == ids[0]
    assert on_cluster.rename(ids[1], owner, "새 이름").title == "새 이름"


def test_one_turn_of_a_session_runs_at_a_time_on_a_cluster(on_cluster: SessionMemory):
    session_id = on_cluster.create("me")
    outcomes: list[str] = []

    def ask(name: int) -> None:
        try:
            on_cluster.begin(new_turn(session_id, str(name)))
            outcomes.append("began")
        except SessionBusy:
            outcomes.append("busy")

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["began"] + ["busy"] * 11
    assert len(on_cluster.turns(session_id)) == 1


def test_results_of_tools_are_kept_on_a_cluster(cluster: list[int]):
    client = connect(f"redis://127.0.0.1:{cluster[2]}/0")
    cache = ToolCache(client)
    for n in range(10):
        key = cache.key("prices.corn", endpoint="here", arguments=f'{{"n": {n}}}')
        token = cache.claim(key, limit_s=5)
        assert cache.put(key, token, StoredResult("12", time.time()), ttl_s=60)
        stored, failed, asking = cache.wait_state(key)
        assert stored is not None and stored.text == "12" and not failed and not asking
    client.close()


def test_a_cluster_with_a_password(tmp_path: Path):
    with valkey_cluster(tmp_path, "--requirepass", "pw", "--primaryauth", "pw", password="pw") as ports:
        memory = SessionMemory(connect(f"redis://:pw@127.0.0.1:{ports[0]}/0"), ttl_s=60)
        for _ in range(5):
            talk(memory)
        memory.close()


def test_a_cluster_has_one_database_and_says_so(cluster: list[int]):
    with pytest.raises(MemoryUnavailable, match="refuses: DB index"):
        SessionMemory(connect(f"redis://127.0.0.1:{cluster[0]}/3"), ttl_s=60).create("me")


def test_slots_that_move_are_followed(tmp_path: Path):
    """As when nodes are added: a session's slot goes to another node while the conversation goes on."""
    with valkey_cluster(tmp_path) as ports:
        memory = SessionMemory(connect(f"redis://127.0.0.1:{ports[0]}/0"), ttl_s=600)
        session_id = talk(memory, turns=2)
        nodes = {port: redis.Redis(port=port, decode_responses=True) for port in ports}
        key = f"gakju:{{{session_id}}}:session"
        slot = int(str(next(iter(nodes.values())).execute_command("CLUSTER", "KEYSLOT", key)))
        names = {port: str(node.execute_command("CLUSTER", "MYID")) for port, node in nodes.items()}
        source = next(port for port, node in nodes.items() if node.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot))
        target = next(port for port in ports if port != source)
        nodes[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        nodes[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        for moved in nodes[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            nodes[source].execute_command("MIGRATE", "127.0.0.1", target, moved, 0, 5000)
        for node in nodes.values():
            node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
        turn = new_turn(session_id, "danach")
        memory.begin(turn)
        memory.finish(replace(turn, answer="답", status="complete"))
        assert [item.status for item in memory.turns(session_id)] == ["complete"] * 3
        memory.close()


def test_a_node_that_hangs_is_left_alone_and_the_others_go_on(tmp_path: Path):
    with valkey_cluster(tmp_path, "--cluster-require-full-coverage", "no") as ports:
        memory = SessionMemory(connect(f"redis://127.0.0.1:{ports[0]}/0", timeout_s=0.5), ttl_s=600)
        ids = [talk(memory, owner="") for _ in range(20)]
        node = redis.Redis(port=ports[1], decode_responses=True)
        lost = {str(key).split("{")[1].split("}")[0] for key in node.keys("gakju:{*}:session")}
        pid = int(node.info("server")["process_id"])
        os.kill(pid, signal.SIGSTOP)
        try:
            told = []
            for session_id in ids:
                if session_id in lost:
                    with pytest.raises(MemoryUnavailable) as caught:
                        memory.check(session_id, "")
                    told.append("left alone" in str(caught.value))
                else:
                    memory.begin(new_turn(session_id, "weiter"))
            assert not told[0] and any(told)
        finally:
            os.kill(pid, signal.SIGCONT)
        for session_id in lost:
            for _ in range(100):
                try:
                    assert len(memory.turns(session_id)) == 1
                    break
                except MemoryUnavailable:
                    time.sleep(0.1)
            else:
                pytest.fail("it did not heal")
        memory.close()


def test_a_node_that_dies_takes_its_sessions_alone_and_brings_them_back(tmp_path: Path):
    with valkey_cluster(tmp_path, "--cluster-require-full-coverage", "no", "--appendonly", "yes") as ports:
        memory = SessionMemory(connect(f"redis://127.0.0.1:{ports[0]}/0", timeout_s=1), ttl_s=600)
        ids = [talk(memory, owner="") for _ in range(20)]
        gone = redis.Redis(port=ports[2], decode_responses=True)
        lost = {str(key).split("{")[1].split("}")[0] for key in gone.keys("gakju:{*}:session")}
        assert 0 < len(lost) < 20
        with pytest.raises(redis.ConnectionError):
            gone.execute_command("SHUTDOWN", "NOSAVE")
            gone.ping()
        for session_id in ids:
            until = time.monotonic() + 30
            while True:
                try:
                    memory.check(session_id, "")
                    assert session_id not in lost
                    break
                except MemoryUnavailable:
                    if session_id in lost:
                        break
                    assert time.monotonic() < until, "the other nodes' sessions must go on"
                    time.sleep(0.2)
        with valkey(tmp_path / str(ports[2]), ports[2], "--cluster-enabled", "yes", "--appendonly", "yes"):
            for session_id in ids:
                until = time.monotonic() + 30
                while True:
                    try:
                        assert len(memory.turns(session_id)) == 1
                        break
                    except MemoryUnavailable:
                        assert time.monotonic() < until, "it did not heal"
                        time.sleep(0.2)
        memory.close()
