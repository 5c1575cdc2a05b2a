"""Settings: defaults that are safe, wrong values named in one sentence, and the example file that lists them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults_listen_on_this_machine_only():
    settings = load_settings()
    assert (settings.host, settings.port, settings.database_url, settings.llm_base_url) == ("127.0.0.1", 7860, "", "")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "abc", "PORT"),
        ("PORT", "70000", "65535"),
        ("DATABASE_URL", "mysql://x/y", "postgresql://"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("LLM_BASE_URL", "127.0.0.1:8001", "http://127.0.0.1:8001/v1"),
        ("LLM_BASE_URL", "http://host:port/v1", "URL"),
        ("LLM_TEMPERATURE", "3", "2"),
        ("CHUNK_TOKENS", "10", "64"),
        ("COLLECTION", 'a"; DROP TABLE', "COLLECTION"),
        ("HOST", "0.0.0.0", "ALLOW_UNAUTHENTICATED"),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert said in message and name in message and "\n" not in message


def test_secrets_are_not_repeated(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://me:hunter2@x/y")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("LLM_API_KEY", "hunter2")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    "url",
    ["postgresql://gakju@/gakju?host=%2Fa%2Frun&port=5432", "postgres://u:p@db:5432/x"],
)
def test_database_urls_that_are_right(url):
    assert load_settings(database_url=url).database_url == url


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "rediss://:pw@h:1/2", "unix:///run/valkey.sock?db=0"])
def test_redis_urls_that_are_right(url):
    assert load_settings(redis_url=url).redis_url == url


def test_dotenv_is_read_and_empty_means_unset(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("LLM_BASE_URL=\nTOP_K=9  # passages\nUNKNOWN=1\n")
    settings = load_settings()
    assert settings.llm_base_url == "" and settings.top_k == 9
    monkeypatch.setenv("TOP_K", "4")
    assert load_settings().top_k == 4


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        load_settings().port = 1  # type: ignore[misc]


def test_the_example_lists_every_setting_with_its_default(tmp_path, monkeypatch):
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", text, re.MULTILINE)
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields)
    (tmp_path / ".env").write_text(text)
    from_example = load_settings()
    (tmp_path / ".env").unlink()
    assert from_example == load_settings()
