"""How the quotable parts of passages read: as text that stands on its own, with the words it stands under.

No Markdown signs, no column labels of a FAQ, the cells of a table's row with their columns' names. Headings, code and
scraps are left out. Where the parts are is told by knowledge/quote_parts.py. Knows nothing about questions or scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from knowledge.quote_parts import LIST_ITEM, Part, fields_of, quote_parts
from knowledge.text_units import Span
from knowledge.types import Evidence
from pipelines.citations import without_markers

_MIN_CHARS = 8
_MAX_CHARS = 500  # a longer "sentence" is text without full stops; its beginning is quoted

_FENCE = re.compile(r"\s*(?:```|~~~)")
_CODE = re.compile(
    r"(?:>>> |\$ |#!|@\w+[.(\s]|import \w|from [\w.]+ import |(?:async )?def \w|class \w+[(:]|return\b(?! to)|[{}<][\w/\s\"'{]*$"
    r"|\w+ ?= ?[\w\"'([{]|</?\w+[^>]*>$)"
)
_CODE_END = re.compile(r"(?:[{};\\]|\):|\]\)?,?)$")

_IMAGE = re.compile(r"!\[[^\]\n]*\]\([^)\s]*(?: [^)]*)?\)")
_LINK = re.compile(r"\[([^\]\n]+)\]\((?:<[^>]*>|[^)\s]*)(?: [^)]*)?\)")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>|<!--.*?-->", re.DOTALL)
_EMPHASIS = re.compile(r"(\*{1,3})(?=\S)([^*\n]+?)(?<=\S)\1|(?<!\w)(_{1,3})(?=\S)([^_\n]+?)(?<=\S)\3(?!\w)")
_CODE_SPAN = re.compile(r"(`[^`\n]+`)")
# Without one of these there is nothing to take out.
_SIGN = re.compile(r"[\[【［<>*_`|\\!~]")


@dataclass(frozen=True, slots=True)
class Quotable:
    """`text` can stand in an answer; it came from `evidence[n - 1].text[start:end]`.

    `context`: the headings, question or term it stands under. `kind`: "sentence", "item" (of a list), "more" (a further
    sentence of the same item) or "row" (of a table). `order`: its position among the passage's quotable texts. `part`:
    its position among the parts of the passage.
    """

    text: str
    n: int
    start: int
    end: int
    context: str
    language: str
    kind: str
    order: int
    part: int


def quotables(evidence: Sequence[Evidence], parts: Iterable[Sequence[Part]] | None = None) -> list[Quotable]:
    """Everything quotable, in the order of the passages and of the text inside them. `parts`: of each, if known."""
    found: list[Quotable] = []
    for n, (item, known) in enumerate(zip(evidence, parts or map(_parts, evidence), strict=True), start=1):
        base = " › ".join(dict.fromkeys([item.title, *item.heading]))
        contexts: dict[tuple[Span, ...], str] = {}
        read = ((number, part, _read(item, part)) for number, part in enumerate(known))
        shown = ((number, part, text) for number, part, text in read if text and text not in base)
        for order, (number, part, text) in enumerate(shown):
            if part.beside not in contexts:
                contexts[part.beside] = _context(item, base, part.beside)
            context, language = contexts[part.beside], part.language or item.language
            found.append(Quotable(text, n, part.start, part.end, context, language, part.kind, order, number))
    return found


def _parts(item: Evidence) -> list[Part]:
    return quote_parts(item.text, table_header=item.table_header, is_row=item.place.rows is not None)


def _context(item: Evidence, base: str, beside: Sequence[Span]) -> str:
    names = (readable(item.text[start:end]) for start, end in beside)
    return " › ".join([base, *(name for name in names if name not in base)])


def _read(item: Evidence, part: Part) -> str:
    """ "" for what is no answer."""
    raw = item.text[part.start : part.end]
    if part.form == "prose":
        return _prose(raw)
    if part.form == "cells":
        return _row(_cells(_at(item, part.label)) if part.label else [], _cells(raw))
    if part.form == "fields":
        values = ((field.label.casefold(), item.text[field.start : field.end]) for field in fields_of(item.text))
        return _shortened(" · ".join(f"{label}: {readable(value)}" for label, value in values))
    whole = readable(raw)
    if part.form == "definition" and part.label:
        term = readable(_at(item, part.label))
        whole = whole if whole.casefold().startswith(term.casefold()) else f"{term}: {whole}"
    return _shortened(whole)


def _at(item: Evidence, span: Span) -> str:
    """Places before the text are in the table header above it."""
    above = f"{item.table_header}\n" if item.table_header else ""
    return f"{above}{item.text}"[len(above) + span[0] : len(above) + span[1]]


def _prose(raw: str) -> str:
    bare = raw.lstrip("> \t")
    marker = LIST_ITEM.match(bare)
    text = readable(bare[marker.end() :] if marker else bare)
    return "" if len(text) < _MIN_CHARS or _is_code(raw, text) else text


def _is_code(raw: str, text: str) -> bool:
    return bool(_FENCE.match(raw) or _CODE.match(text) or (_CODE_END.search(text) and not re.search("[가-힣]", text)))


def _cells(row: str) -> list[str]:
    return [readable(cell) for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def _row(header: Sequence[str], cells: Sequence[str]) -> str:
    """`header: value · header: value`; the first column, which names the row, and cells without a header bare."""
    names = [*header, *[""] * len(cells)]
    return _shortened(
        " · ".join(f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell)
    )


# ---- text that reads well ----


def readable(text: str) -> str:
    """One line without Markdown emphasis, links, images, HTML tags and footnote numbers; code spans stay."""
    if not _SIGN.search(text):
        return " ".join(_shortened(" ".join(text.split())).split())
    text = _IMAGE.sub("", text)
    parts = _CODE_SPAN.split(" ".join(text.split()))
    parts = [part if i % 2 else _plain(part) for i, part in enumerate(parts)]
    return " ".join(_shortened(without_markers("".join(parts))).split())


def _plain(text: str) -> str:
    text = _TAG.sub("", _LINK.sub(r"\1", text)).replace("`", "").replace("\\|", "|")
    text = _EMPHASIS.sub(lambda match: match.group(2) or match.group(4), text)
    return text.replace("**", "")


def _shortened(text: str) -> str:
    if len(text) <= _MAX_CHARS:
        return text
    cut = text.rfind(" ", _MAX_CHARS // 2, _MAX_CHARS)
    shortened = text[: cut if cut > 0 else _MAX_CHARS]
    return (shortened if shortened.count("`") % 2 == 0 else shortened.replace("`", "")) + " …"
