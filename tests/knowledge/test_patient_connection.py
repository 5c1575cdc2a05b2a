"""A PostgreSQL that says nothing, behind a proxy that swallows: who must not wait does not, who may wait does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from knowledge.database import Database
from knowledge.errors import DatabaseUnavailable
from tests.faults.proxy import FaultProxy


@pytest.fixture
def proxy(database_url: str) -> Iterator[FaultProxy]:
    query = parse_qs(urlsplit(database_url).query)
    with FaultProxy(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}") as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: FaultProxy, database_url: str) -> Iterator[Database]:
    parts = urlsplit(database_url)
    db = Database(f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}", max_size=3, connect_timeout_s=2)
    db.open()
    yield db
    proxy.mode = "pass"
    db.close()


def statements_running(database_url: str, text: str) -> int:
    with psycopg.connect(database_url, autocommit=True) as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid() AND state = 'active'",
            (f"%{text}%",),
        ).fetchone()
    return row[0] if row else 0


def test_who_must_not_wait_is_told_and_the_pool_is_whole_afterwards(behind: Database, proxy: FaultProxy):
    """The connections of a black hole never come back; there are only three."""
    hurried = behind.within(0.5)
    inside, failures = threading.Barrier(4), []

    def one() -> None:
        try:
            with hurried.connection() as conn:
                inside.wait(10)  # all three have theirs
                inside.wait(10)  # the hole is open
                conn.execute("SELECT 1")
        except DatabaseUnavailable as exc:
            failures.append(exc)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    proxy.mode = "blackhole"
    inside.wait(10)
    for thread in threads:
        thread.join(30)
    assert len(failures) == 3
    with pytest.raises(DatabaseUnavailable):
        hurried.ping()
    proxy.mode = "pass"
    for _ in range(20):
        try:
            hurried.ping()
            break
        except DatabaseUnavailable:
            continue
    else:
        pytest.fail("the pool did not heal")
    behind.ping()


def test_a_statement_that_takes_too_long_is_stopped_at_the_server(behind: Database, database_url: str):
    with pytest.raises(DatabaseUnavailable), behind.within(0.5).connection() as conn:
        conn.execute("SELECT pg_sleep(600) /* too long */")
    for _ in range(100):
        if not statements_running(database_url, "/* too long */"):
            break
        threading.Event().wait(0.1)
    else:
        pytest.fail("the server goes on with what nobody waits for")


def test_who_may_wait_waits(behind: Database):
    behind.within(0.2)  # a view of its own, which changes nothing of the first
    with behind.connection() as conn:
        assert conn.execute("SELECT pg_sleep(0.6)").fetchone() is not None


def test_a_limit_does_not_stay_with_a_connection_of_the_pool(behind: Database):
    behind.within(0.3).ping()
    with behind.connection() as conn:
        assert conn.execute("SELECT pg_sleep(0.6)").fetchone() is not None


def test_a_limit_is_above_nothing(behind: Database):
    with pytest.raises(ValueError, match="limit_s"):
        behind.within(0)
