"""Markdown: headings, paragraphs, lists, tables and code by CommonMark's rules, without its marks where they only dress.

Emphasis, link addresses and comments are dropped; list markers, table bars, code fences and `code` stay. Knows nothing
about other formats.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingest.readers.builder import DocumentBuilder
from ingest.readers.decoding import decode
from ingest.readers.table_lines import table_lines
from knowledge.types import ParsedDocument

# Inline parsing is quadratic in unclosed brackets (0.6 s at 60,000 of them): longer paragraphs keep their marks.
_MAX_INLINE_CHARS = 10_000
_MAX_NESTING = 100  # two a list level; what is nested deeper is lost, and the preset's 20 would be 10 levels
_MAX_FRONT_MATTER_CHARS = 20_000
_FRONT_MATTER_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*[\"']?([^\n\"']{1,300})", re.MULTILINE)
_LINE_BREAK_TAG = re.compile(r"<(?:br|/p|/tr|/li|/div|/h[1-6])\b[^<>]{0,200}>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,2000}>")
_ATTRIBUTES = re.compile(r"\s{0,8}\{ ?[.#:][^{}\n]{0,200}\}$")
_LINK_ATTRIBUTES = re.compile(r"\{ ?[.#:][^{}\n]{0,200}\}")
_BLANK_LINES = re.compile(r"\n\s*\n")
_PART_OR_FENCE = re.compile(r"^(?:#{1,6}(?= )|`{3,999}(?!.*`)|~{3,999})|(?<=\n\n)(?=[^\W\d_])", re.MULTILINE)
_MAX_FENCE = 1000
_PART_CHARS = 500_000


def read_markdown(data: bytes, *, name: str) -> ParsedDocument:
    """Raises: ReadFailed ("encoding", "unsupported", "empty")."""
    text, front_title = _without_front_matter(decode(data, name=name))
    env: dict = {}
    builder = DocumentBuilder()
    for part in _parts(text):
        _add_blocks(builder, _parser().parse(part, env), env)
    return builder.build(name=name, titles=(builder.first_top_heading, front_title))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    # Inline content is parsed piece by piece below, under a limit.
    return MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable(["table", "strikethrough"]).disable("inline")


def _without_front_matter(text: str) -> tuple[str, str | None]:
    """The text after a leading block of YAML (---) or TOML (+++), and the title that block gives."""
    for fence in ("---\n", "+++\n"):
        if text.startswith(fence):
            end = text.find(f"\n{fence.strip()}", 3, _MAX_FRONT_MATTER_CHARS)
            front = text[4:end]
            if end > 0 and (":" in front or "=" in front):
                title = _FRONT_MATTER_TITLE.search(front)
                return text[end + 4 :].lstrip("-+"), title.group(1).strip() if title else None
    return text, None


def _parts(text: str) -> Iterator[str]:
    """The text in parts that begin with a heading or at least a paragraph, as the tokens of 13 MB at once take 360 MB.

    Links to addresses that are given in a later part keep their marks.
    """
    start = fence = 0
    for match in _PART_OR_FENCE.finditer(text):
        marks = match.group()
        if marks[:1] in ("#", ""):
            if not fence and match.start() - start >= (_PART_CHARS if marks else 2 * _PART_CHARS):
                yield text[start : match.start()]
                start = match.start()
        elif not fence:
            fence = ord(marks[0]) * _MAX_FENCE + len(marks)
        elif ord(marks[0]) == fence // _MAX_FENCE and len(marks) >= fence % _MAX_FENCE:
            fence = 0
    yield text[start:]


def _add_blocks(builder: DocumentBuilder, tokens: Sequence[Token], env: dict) -> None:
    index = 0
    while index < len(tokens):
        token = tokens[index]
        end = _close(tokens, index) if token.nesting == 1 else index
        if token.type == "heading_open":
            builder.heading(int(token.tag[1]), _ATTRIBUTES.sub("", _inline(tokens[index + 1].content, env)))
        elif token.type == "paragraph_open":
            builder.block(_inline(tokens[index + 1].content, env))
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            builder.block(_list(tokens[index : end + 1], env), kind="list")
        elif token.type == "table_open":
            builder.block(_table(tokens[index : end + 1], env), kind="table")
        elif token.type in ("fence", "code_block"):
            builder.block(_code(token), kind="code")
        elif token.type == "html_block":
            builder.block(_without_tags(token.content))
        elif token.type == "blockquote_open":
            end = index  # its content is added like any other
        index = end + 1


def _close(tokens: Sequence[Token], index: int) -> int:
    """Index of the token that closes the one at `index`."""
    level = tokens[index].level
    for position in range(index + 1, len(tokens)):
        if tokens[position].level == level and tokens[position].nesting == -1:
            return position
    return len(tokens) - 1


def _list(tokens: Sequence[Token], env: dict) -> str:
    """A list with its nested ones, an item a line, two spaces of indent a level."""
    lines: list[str] = []
    depth, marker = 0, ""
    for index, token in enumerate(tokens):
        if token.type in ("bullet_list_open", "ordered_list_open"):
            depth += 1
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            depth -= 1
        elif token.type == "list_item_open":
            marker = f"{token.info}{token.markup} " if token.info else "- "
        else:
            text = _content(tokens, index, env)
            if text:
                lines.append(_indented(text, depth, marker))
                marker = ""
    return "\n".join(lines)


def _content(tokens: Sequence[Token], index: int, env: dict) -> str:
    token = tokens[index]
    if token.type == "inline":
        return _inline(token.content, env)
    if token.type in ("fence", "code_block"):
        return _code(token)
    return _without_tags(token.content) if token.type == "html_block" else ""


def _indented(text: str, depth: int, marker: str) -> str:
    first_indent = "  " * (depth - 1)
    lines = text.split("\n")
    head = first_indent + (marker or "  ") + lines[0]
    return "\n".join([head] + [f"{first_indent}  {line}" for line in lines[1:]])


def _table(tokens: Sequence[Token], env: dict) -> str:
    rows: list[list[str]] = [[]]
    for token in tokens:
        if token.type == "inline":
            rows[-1].append(_inline(token.content, env))
        elif token.type == "tr_close":
            rows.append([])
    return table_lines(rows, header=any(rows[0]))  # names of columns are left blank where there are none


def _code(token: Token) -> str:
    content = token.content.rstrip()
    return f"```{token.info.strip()}\n{content}\n```" if content else ""


def _inline(content: str, env: dict) -> str:
    if len(content) > _MAX_INLINE_CHARS:
        return content
    tokens: list[Token] = []
    parser = _parser()
    parser.inline.parse(content, parser, env, tokens)
    return _BLANK_LINES.sub("\n", _render(tokens)).strip()


def _render(tokens: Sequence[Token]) -> str:
    parts: list[str] = []
    after_link = False
    for token in tokens:
        if token.type in ("text", "text_special"):
            # "[name](url){.internal-link}": attributes of a link, as some site generators write them.
            parts.append(_LINK_ATTRIBUTES.sub("", token.content, count=1) if after_link else token.content)
        elif token.type == "code_inline":
            parts.append(f"`{token.content}`")
        elif token.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif token.type == "image":
            parts.append(_render(token.children or ()))
        elif token.type == "html_inline":
            parts.append(_without_tags(token.content) or ("\n" if _LINE_BREAK_TAG.match(token.content) else ""))
        after_link = token.type == "link_close"
    return "".join(parts)


def _without_tags(markup: str) -> str:
    """The words of raw HTML in Markdown: comments, scripts and tags dropped, line breaks kept."""
    for opener, closer in (("<!--", "-->"), ("<script", "</script>"), ("<style", "</style>")):
        markup = _without_spans(markup, opener, closer)
    text = html.unescape(_TAG.sub("", _LINE_BREAK_TAG.sub("\n", markup)))
    return "\n".join(line for line in (line.strip() for line in text.split("\n")) if line)


def _without_spans(text: str, opener: str, closer: str) -> str:
    kept: list[str] = []
    position = 0
    while True:
        start = text.find(opener, position)
        if start < 0:
            return "".join([*kept, text[position:]])
        kept.append(text[position:start])
        end = text.find(closer, start)
        if end < 0:
            return "".join(kept)
        position = end + len(closer)
