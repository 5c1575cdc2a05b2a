"""All settings, read once at an entry point from the environment and `.env`; nothing below an entry point reads them.

Names are the ones users know from other software (`DATABASE_URL`, `REDIS_URL`, …). Units are in the names.
`.env.example` documents each for users; a test holds the two lists together.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_DIR = Path(__file__).resolve().parent


class SettingsError(ValueError):
    """A setting has a wrong value. The message is one sentence that names the setting; no traceback is needed."""


def _url_with(schemes: tuple[str, ...], example: str) -> AfterValidator:
    def check(value: str) -> str:
        if value:
            try:
                parts = urlsplit(value)
                _ = parts.port  # raises ValueError on "host:abc"
            except ValueError as exc:
                raise ValueError(f"is not a URL, expected something like {example}") from exc
            socket_url = "unix" in parts.scheme or "host=" in parts.query
            if parts.scheme not in schemes or not (parts.netloc or socket_url):
                raise ValueError(f"must look like {example}")
        return value.rstrip("/") if value.startswith("http") else value

    return AfterValidator(check)


DatabaseUrl = Annotated[str, _url_with(("postgresql", "postgres"), "postgresql://user:password@host:5432/name")]
RedisUrl = Annotated[str, _url_with(("redis", "rediss", "unix"), "redis://host:6379/0")]
HttpUrl = Annotated[str, _url_with(("http", "https"), "http://127.0.0.1:8001/v1")]


def _check_each(value: str) -> str:
    check = _url_with(("http", "https"), "http://127.0.0.1:8001/v1, several separated by commas").func
    return ",".join(check(url.strip()) for url in value.split(",") if url.strip())  # type: ignore[call-arg]


HttpUrls = Annotated[str, AfterValidator(_check_each)]


class Settings(BaseSettings):
    """Frozen settings. Empty strings mean "unset", so that `LLM_BASE_URL=` in `.env` is the default."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", frozen=True, extra="ignore", env_ignore_empty=True
    )

    # Where state lives. Unset = an embedded server under data_dir.
    database_url: DatabaseUrl = ""
    redis_url: RedisUrl = ""
    redis_prefix: str = Field("gakju", pattern=r"^[\w.:-]{1,64}$")
    data_dir: Path = Path(".data")

    # Who answers. Unset base URL = quote mode; several URLs stand in for each other; unset model = the first one listed.
    llm_base_url: HttpUrls = ""
    llm_model: str = ""
    llm_api_key: SecretStr = SecretStr("")
    llm_temperature: float = Field(0.1, ge=0, le=2)
    llm_max_tokens: int = Field(1024, ge=16, le=32_768)
    llm_connect_timeout_s: float = Field(2, gt=0, le=60)
    llm_first_token_timeout_s: float = Field(30, gt=0, le=600)
    llm_idle_timeout_s: float = Field(15, gt=0, le=600)
    llm_total_timeout_s: float = Field(300, gt=0, le=3600)

    # Whether each sentence of an answer is held against what it cites: by rules, by the language model as well, or not.
    verify: Literal["rules", "llm", "off"] = "rules"

    # Whether two or three questions that the documents answer are offered after each answer.
    related: Literal["on", "off"] = "on"

    # Who embeds. Unset = the bundled multilingual-e5-small.
    embed_base_url: HttpUrl = ""
    embed_model: str = ""
    embed_api_key: SecretStr = SecretStr("")
    embed_query_prefix: str = ""
    embed_passage_prefix: str = ""
    embed_dimensions: int = Field(0, ge=0, le=4000)

    # Who reads question and passage together once more. Unset = nobody.
    rerank_base_url: HttpUrl = ""
    rerank_model: str = ""
    rerank_api_key: SecretStr = SecretStr("")
    rerank_top_n: int = Field(30, ge=1, le=200)
    rerank_timeout_s: float = Field(5, gt=0, le=9)

    # The page.
    host: str = "127.0.0.1"
    port: int = Field(7860, ge=0, le=65_535)
    allow_unauthenticated: bool = False
    allowed_hosts: str = "127.0.0.1,localhost"

    # Documents and search.
    knowledge_dir: Path = PROJECT_DIR / "knowledge" / "docs"
    collection: str = Field("default", pattern=r"^[\w.-]{1,64}$")
    chunk_tokens: int = Field(256, ge=64, le=500)
    top_k: int = Field(6, ge=1, le=50)
    max_file_mb: int = Field(200, ge=1, le=10_000)
    file_timeout_s: float = Field(120, ge=1, le=3600)

    # Conversations. A file of styles that a session may take, see pipelines/personas.py; unset = none.
    personas_file: Path | None = None
    # MCP servers and functions that may be asked where the documents do not tell; unset = none.
    tools_file: Path | None = None
    max_message_chars: int = Field(8_000, ge=100, le=100_000)
    session_ttl_hours: float = Field(24 * 30, gt=0)
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @model_validator(mode="after")
    def _listens_where_it_is_safe(self) -> Settings:
        if not self.allow_unauthenticated and not _is_loopback(self.host):
            raise ValueError(
                f"HOST {self.host!r} is reachable from other machines and there is no login yet: use 127.0.0.1, "
                "or put a proxy with a login in front and set ALLOW_UNAUTHENTICATED=true"
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment and `.env`, `overrides` first.

    Raises:
        SettingsError: a value is wrong; the message names the variable and what it may be.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        reason = first["msg"].removeprefix("Value error, ")
        value = first.get("input")
        shown = (
            f"={value!r}" if isinstance(value, str | int | float) and "KEY" not in name and "URL" not in name else ""
        )
        raise SettingsError(f"{name}{shown}: {reason}." if name else f"{reason}.") from exc
