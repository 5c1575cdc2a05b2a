"""Reads the tools file (TOML): which MCP servers and Python functions may be called, and which of their tools.

Only what it names is ever called. `${NAME}` in headers and env is taken from the environment it is given, so that the
file holds no secrets. Starts nothing and connects to nothing.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.tools.types import Rule, ServerSettings, ToolSettings, ToolsFileInvalid

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ServerName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """A Python function as a tool of the server "functions": `function` is "package.module:name"."""

    function: str
    tool: ToolSettings


@dataclass(frozen=True, slots=True)
class ToolsConfig:
    servers: tuple[ServerSettings, ...] = ()
    functions: tuple[FunctionSettings, ...] = ()


def _pattern(text: str) -> str:
    try:
        re.compile(text, re.IGNORECASE)
    except re.error as exc:
        raise ValueError(f"is no regular expression: {exc}") from exc
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Rule(_Strict):
    needs: list[Pattern] = Field(min_length=1)
    takes: list[Pattern] = []
    unless: list[Pattern] = []
    arguments: dict[str, str | int | float | bool] = {}
    values: dict[str, dict[str, str]] = {}
    first: bool = False

    def made(self) -> Rule:
        needs, takes, unless = (
            tuple(re.compile(text, re.IGNORECASE) for text in texts) for texts in (self.needs, self.takes, self.unless)
        )
        values = {
            group: {said.casefold(): meant for said, meant in table.items()} for group, table in self.values.items()
        }
        return Rule(needs, takes, unless, self.arguments, values, self.first)


class _Tool(_Strict):
    name: Name
    ttl_s: float = Field(300, ge=0, le=7 * 86_400)
    timeout_s: float = Field(10, gt=0, le=60)
    max_chars: int = Field(4_000, ge=100, le=20_000)
    ko: str = Field("", max_length=500)
    en: str = Field("", max_length=500)
    rules: list[_Rule] = []

    def made(self) -> ToolSettings:
        descriptions = {language: text for language, text in (("ko", self.ko), ("en", self.en)) if text}
        rules = tuple(rule.made() for rule in self.rules)
        return ToolSettings(self.name, self.ttl_s, self.timeout_s, self.max_chars, descriptions, rules)


class _Server(_Strict):
    name: ServerName
    url: str = Field("", pattern=r"^(https?://[^\s]+)?$")
    command: list[str] = []
    headers: dict[str, str] = {}
    env: dict[str, str] = {}
    connect_timeout_s: float = Field(10, gt=0, le=60)
    tools: list[_Tool] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_way_to_it(self) -> _Server:
        if bool(self.url) == bool(self.command):
            raise ValueError("needs either url or command")
        if self.name == "functions":
            raise ValueError("the name functions is that of the Python functions")
        return self

    def made(self, environment: Mapping[str, str]) -> ServerSettings:
        command = tuple(self.command)
        if command[:1] == ("python",):  # the one that runs the app, whatever PATH says
            command = (sys.executable, *command[1:])
        return ServerSettings(
            name=self.name,
            tools=tuple(tool.made() for tool in self.tools),
            url=self.url,
            command=command,
            headers=_filled(self.headers, environment, server=self.name),
            env=_filled(self.env, environment, server=self.name),
            connect_timeout_s=self.connect_timeout_s,
        )


class _Function(_Tool):
    function: str = Field(pattern=r"^[\w.]+:\w+$")


class _File(_Strict):
    servers: list[_Server] = []
    functions: list[_Function] = []

    @model_validator(mode="after")
    def _each_once(self) -> _File:
        names = [server.name for server in self.servers]
        names += [f"{server.name}.{tool.name}" for server in self.servers for tool in server.tools]
        names += [f"functions.{function.name}" for function in self.functions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"stands there twice: {', '.join(twice)}")
        return self


def read_tools_file(file: Path, *, environment: Mapping[str, str]) -> ToolsConfig:
    """Raises:
    ToolsFileInvalid: it is not there, no TOML, or something in it is wrong; the message names the place.
    """
    try:
        data: Any = tomllib.loads(file.read_text(encoding="utf-8"))
        read = _File.model_validate(data)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ToolsFileInvalid(
            f"The tools file {file} cannot be read: {exc}.", hint="Correct TOOLS_FILE, or unset it."
        ) from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ToolsFileInvalid(
            f"The tools file {file} is wrong{f' at {place}' if place else ''}: {reason}.",
            hint="pipelines/tools/example.toml shows what may stand there.",
        ) from exc
    return ToolsConfig(
        tuple(server.made(environment) for server in read.servers),
        tuple(FunctionSettings(item.function, item.made()) for item in read.functions),
    )


def _filled(table: Mapping[str, str], environment: Mapping[str, str], *, server: str) -> dict[str, str]:
    def value_of(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise ToolsFileInvalid(
                f"The tool server {server} needs the environment variable {match[1]}, which is not set.",
                hint="Set it, or take the server out of TOOLS_FILE.",
            )
        return environment[match[1]]

    return {key: _VARIABLE.sub(value_of, text) for key, text in table.items()}
