"""The values of the tools: what the tools file says, what a server offers, a call, its result, and how it can fail.

Knows no server, no model and no cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from knowledge.errors import GakjuError

Reason = Literal[
    "unreachable",  # no connection, or it was lost
    "timeout",
    "resting",  # it failed several times in a row and is left alone for some seconds
    "too_large",  # more than is read at all; what is merely long is cut
    "malformed",  # not an MCP answer, or nothing in it that can be read
    "rejected",  # the server refused the request
    "reported",  # the tool itself says that it failed
    "unknown_tool",
    "bad_arguments",
]


class ToolsFileInvalid(GakjuError):
    """The tools file cannot be read or says something that is not offered."""

    code: ClassVar[str] = "tools_file_invalid"


class ToolFailed(GakjuError):
    """`tool`: as `server.name`. `said`: the tool's own words, cut short; for people, never for a prompt."""

    code: ClassVar[str] = "tool_failed"
    retryable = True

    def __init__(self, tool: str, reason: Reason, *, said: str = "") -> None:
        super().__init__(f"The tool {tool} failed ({reason}){f': {said}' if said else ''}.")
        self.tool = tool
        self.reason: Reason = reason
        self.said = said


@dataclass(frozen=True, slots=True)
class Rule:
    """When a tool is called without a language model, and with what.

    Every pattern of `needs` must be found in what the user wrote, those of `takes` may be, and none of `unless` in the
    question itself. Named groups fill the templates of `arguments` ("{year}-{month:0>2}"). `values`: group → what was found, in small letters → what to use.
    `first`: asked before the documents, where the question holds hardly a word beside what the patterns found.
    """

    needs: tuple[re.Pattern[str], ...]
    takes: tuple[re.Pattern[str], ...] = ()
    unless: tuple[re.Pattern[str], ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    first: bool = False


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """One allowed tool. `ttl_s`: how long a result is good for. `descriptions`: by language, instead of the server's."""

    name: str
    ttl_s: float = 300.0
    timeout_s: float = 10.0
    max_chars: int = 4_000
    descriptions: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """An MCP server at `url` (streamable HTTP) or started by `command` (stdio). Only `tools` may be called."""

    name: str
    tools: tuple[ToolSettings, ...]
    url: str = ""
    command: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    connect_timeout_s: float = 10.0

    @property
    def endpoint(self) -> str:
        """What a cached result must have come from."""
        return self.url or " ".join(self.command)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that can be called now. `schema`: JSON Schema of its arguments. `description`: as its server words it."""

    server: str
    settings: ToolSettings
    description: str
    schema: Mapping[str, Any]

    @property
    def full_name(self) -> str:
        return f"{self.server}.{self.settings.name}"

    def described(self, language: str) -> str:
        return self.settings.descriptions.get(language) or self.description


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`tool`: as `server.name`."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered. `fetched_at`: seconds since the epoch. `cached`: it was asked earlier.

    `stale`: it is older than it is good for, and the tool could not be asked anew. `cut_from`: how many characters it
    had before it was cut; 0 where it is whole.
    """

    tool: str
    arguments: Mapping[str, Any]
    text: str
    fetched_at: float
    cached: bool = False
    stale: bool = False
    cut_from: int = 0
