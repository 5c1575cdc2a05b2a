"""The READMEs: what they name exists, what they show runs, and the two languages say the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from settings import Settings
from tests.running import ROOT, run_app

READMES = ("README.md", "README.ko.md")
PACKAGES = ("knowledge", "ingest", "pipelines", "web", "eval")
BASE_URL = "http://127.0.0.1:7860"
OTHER_PROGRAMS = {"RAY_AUTH_MODE"}  # variables that are none of our settings
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(readme: str) -> str:
    return (ROOT / readme).read_text(encoding="utf-8")


def blocks(readme: str, language: str) -> list[str]:
    return [code for name, code in _FENCE.findall(text_of(readme)) if name == language]


def prose(readme: str) -> str:
    return _FENCE.sub("", text_of(readme))


def named_files(readme: str) -> list[str]:
    """What the first column of the table of files names."""
    section = re.search(r"^## (?:Every file|모든 파일)\n(.*?)^## ", text_of(readme), re.MULTILINE | re.DOTALL)
    assert section, f"{readme} has no table of files"
    first_columns = [line.split("|")[1] for line in section[1].splitlines() if line.startswith("| `")]
    return [name for column in first_columns for name in re.findall(r"`([^`]+)`", column)]


@pytest.mark.parametrize("readme", READMES)
def test_every_module_has_its_line_once(readme):
    named = named_files(readme)
    modules = [path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 60
    assert sorted(set(modules) - set(named)) == []
    assert sorted({name for name in named if named.count(name) > 1}) == []


@pytest.mark.parametrize("readme", READMES)
def test_every_file_at_the_top_has_its_line(readme):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    at_the_top = {name for name in listed.stdout.splitlines() if "/" not in name}
    assert "app.py" in at_the_top
    assert sorted(at_the_top - set(named_files(readme))) == []


@pytest.mark.parametrize("readme", READMES)
def test_no_named_file_or_link_is_missing(readme):
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", prose(readme)) if not link.startswith("http")]
    assert len(links) >= 4
    assert [name for name in [*named_files(readme), *links] if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("readme", READMES)
def test_every_make_target_exists(readme):
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    in_code = "\n".join([*blocks(readme, "bash"), *re.findall(r"`[^`\n]+`", prose(readme))])
    shown = set(re.findall(r"\bmake ([a-z-]+)", in_code))
    assert {"run", "test"} <= shown
    assert sorted(shown - rules) == []


@pytest.mark.parametrize("readme", READMES)
def test_every_setting_exists(readme):
    in_code = "\n".join([*blocks(readme, "bash"), *re.findall(r"`[^`\n]+`", prose(readme))])
    shown = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", in_code))
    assert {"DATABASE_URL", "LLM_BASE_URL"} <= shown
    assert sorted(shown - OTHER_PROGRAMS - {name.upper() for name in Settings.model_fields}) == []


def test_both_languages_show_the_same_code():
    assert _FENCE.findall(text_of(READMES[0])) == _FENCE.findall(text_of(READMES[1]))


def test_both_languages_have_the_same_parts():
    """Sections, points and table rows, in the same order: a translation that lags behind is noticed."""
    outlines = [re.findall(r"^(#+ |- |\|)", prose(readme), re.MULTILINE) for readme in READMES]
    assert len(outlines[0]) > 100 and outlines[0] == outlines[1]
    assert named_files(READMES[0]) == named_files(READMES[1])


def test_each_language_links_to_the_other():
    for readme, other in (READMES, READMES[::-1]):
        assert f"]({other})" in "\n".join(text_of(readme).splitlines()[:5])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory):
    with run_app(tmp_path_factory.mktemp("readme")) as app:
        yield app.url
        assert app.stop() == 0


def run_snippet(command: list[str], code: str, *, url: str, folder: Path) -> str:
    """What `code` of the README prints, run in an empty folder against the app at `url`."""
    assert BASE_URL in code
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # its python3 is this one
    done = subprocess.run(
        [*command, code.replace(BASE_URL, url)],
        cwd=folder, env={**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def curl_blocks() -> tuple[str, str]:
    """The question and the health check."""
    question, health = [code for code in blocks(READMES[0], "bash") if "curl " in code]
    return question, health


def test_the_curl_commands_run(url, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("no curl on this machine")
    question, health = curl_blocks()
    printed = run_snippet(["bash", "-euo", "pipefail", "-c"], question, url=url, folder=tmp_path)
    *answer, details = printed.strip().splitlines()
    assert "할당관세" in "".join(answer) and "[1]" in "".join(answer)
    assert re.fullmatch(r"[\w-]{22,} \[\(1, '[^']+'\).*\]", details)
    shown_in_the_comment = health.split("#")[1].strip()
    printed = run_snippet(["bash", "-euo", "pipefail", "-c"], health, url=url, folder=tmp_path)
    assert printed.strip() == shown_in_the_comment


def test_the_python_snippet_runs(url, tmp_path):
    (code,) = blocks(READMES[0], "python")
    printed = run_snippet([sys.executable, "-c"], code, url=url, folder=tmp_path)
    assert "할당관세" in printed and "[(1, '" in printed
    assert re.search(r"^(?=.*할당관세).*그럼 언제 적용되나요", printed, re.MULTILINE)  # the follow-up, completed
    assert re.search(r"^complete .*basis", printed, re.MULTILINE)
