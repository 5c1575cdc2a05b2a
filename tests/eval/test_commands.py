"""Every evaluation command that the project's texts name is one, with the options that they give it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eval import __main__ as door
from eval import speed

ROOT = Path(__file__).parent.parent.parent
TEXTS = ("eval/RESULTS.md", "README.md", "README.ko.md", "CONTRIBUTING.md", "CHANGELOG.md")
_NAMED = re.compile(r"(?:python -m|gakju) eval(\.\w+)?\b([^`\n|]*)")
_OPTION = re.compile(r"(?<!\S)--?[a-z][\w-]*")


def named_commands() -> list[tuple[str, str]]:
    """File and what follows `eval` in it."""
    found = [(text, match) for text in TEXTS for match in _NAMED.finditer((ROOT / text).read_text(encoding="utf-8"))]
    return [(text, f"{match[1] or ''}{match[2]}".strip()) for text, match in found if match[1] or match[2].strip()]


def help_of(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        door.main([*command, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_texts_name_commands() -> None:
    assert len({command.split()[0] for _, command in named_commands()}) >= 10


@pytest.mark.parametrize(("text", "command"), named_commands())
def test_a_named_command_exists_with_its_options(text: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *rest = command.split()
    assert name in door.COMMANDS, f"{text} names {name}"
    part = [rest[0]] if name == "speed" else []
    shown = help_of([name, *part], capsys)
    assert f" eval {name}" in shown.split("\n\n")[0]
    known = set(_OPTION.findall(shown.replace("[", " ").replace(",", " ")))
    assert set(_OPTION.findall(command)) <= known, text


@pytest.mark.parametrize(
    "command", [*([name] for name in door.COMMANDS), *(["speed", part] for part in speed.WITH_ARGUMENTS)]
)
def test_every_command_says_what_it_takes(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(command, capsys)
    assert shown.startswith(f"usage: python -m eval {' '.join(command)} ") or command == ["new-set"]
    assert "--help" in shown and "\n\n" in shown


def test_a_part_of_speed_that_the_texts_name_is_measured() -> None:
    parts = {command.split()[1] for _, command in named_commands() if command.startswith("speed ")}
    assert parts and parts <= {"ingest", *speed.WITH_ARGUMENTS}
