"""One app between proxies for each file of tests here."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.faults.world import World, open_world


@pytest.fixture(scope="module")
def llm_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def world(servers, tmp_path_factory, llm_port) -> Iterator[World]:
    name, url = f"faults_{uuid.uuid4().hex}", servers.postgres().url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    own = urlsplit(url)._replace(path=f"/{name}").geturl()
    with open_world(servers, own, tmp_path_factory.mktemp("faults"), llm_port=llm_port) as world:
        yield world
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
