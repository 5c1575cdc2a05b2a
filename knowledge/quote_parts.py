"""Where the parts of a passage are that can be quoted: sentences, list items, table rows, answers and definitions.

Places, kinds and forms alone: they are found once, when a passage is stored. How a part reads is told where it is shown
(pipelines/quotable.py). Knows nothing about words, questions or scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from knowledge.lexemes import language_of
from knowledge.sentences import sentence_spans
from knowledge.text_units import Span

PARTS_VERSION = 1  # of these rules: parts stored by others are found anew
KINDS = ("sentence", "item", "more", "row")
FORMS = ("prose", "cells", "fields", "answer", "definition")
LANGUAGES = ("", "ko", "en", "und")
_MIN_CHARS = 8
_WHOLE_VALUE_CHARS = 400  # an answer or definition up to this long is quoted whole, not by sentences

HEADING = re.compile(r"#{1,6} +(.+?)[ #]*$", re.DOTALL)
TABLE_ROW = re.compile(r"\|.*\|", re.DOTALL)
TABLE_RULE = re.compile(r"\n?[ \t]*\|?[ \t]*:?-{2,}[-:| \t]*$")
LIST_ITEM = re.compile(r"(?:[-*+•·▪◦‣○●■□▶※◆◇►➢✓]|[①-⑳❶-❿]|\d{1,3}[.)]|\(\d{1,3}\)|[가-하A-Za-z]\))\s+")
_NARROW_ROW = re.compile(r"[^\s:·][^:·\n]{0,40}: [^\n]*? · [^\n]*: ")
_FIELD = re.compile(r"^([^\s:][^:\n]{0,40}): ?", re.MULTILINE)
_ANSWERS = {"question": "answer", "질문": "답변", "q": "a", "term": "definition", "용어": "정의"}
_ANSWER_ALIASES = {
    "answer": {"답", "응답"},
    "답변": {"답", "응답"},
    "definition": {"description"},
    "정의": {"설명", "뜻"},
}
_TERM_LABELS = frozenset({"term", "용어"})


class Part(NamedTuple):
    """`text[start:end]` of the passage, which reads as its `form` says.

    `kind`: "sentence", "item" (of a list), "more" (a further sentence of the same item) or "row" (of a table).
    `form`: "prose"; "cells" of a Markdown table, whose header row is `label`; "fields" of a row, all of them; an "answer";
    or a "definition", whose term is `label`. `language`: "" is the passage's. `beside`: headings inside the passage or
    questions that it stands under. Places before the text, which are negative, are in the table header above it.
    """

    start: int
    end: int
    kind: str = "sentence"
    form: str = "prose"
    language: str = ""
    label: Span | None = None
    beside: tuple[Span, ...] = ()


def quote_parts(text: str, *, table_header: str, is_row: bool) -> list[Part]:
    """In the order of the text. `is_row`: it is a row of a table file (`Place.rows`)."""
    return _labelled(text, is_row=is_row) or list(_prose(text, table_header))


# ---- prose, lists and Markdown tables ----


def _prose(text: str, table_header: str) -> Iterator[Part]:
    beside: tuple[Span, ...] = ()
    header = (-len(table_header) - 1, -1) if TABLE_ROW.match(table_header) else None
    item_end = -1  # where the list item that the last sentence belongs to was left
    for start, end in _whole_rows(text):
        raw = text[start:end]
        if raw[0] == "#" and (heading := HEADING.match(raw)):
            beside, header = ((start + heading.start(1), start + heading.end(1)),), None
            continue
        if raw[0] == "|" and TABLE_ROW.match(raw):
            rule = TABLE_RULE.search(raw)
            if rule:
                header = (start, start + rule.start())
            else:
                yield Part(start, end, "row", "cells", label=header, beside=beside)
            continue
        header = None
        kind, is_narrow, length = _sentence(raw)
        if kind == "sentence" and item_end >= 0 and "\n" not in text[item_end:start]:
            kind = "more"
        item_end = end if kind in ("item", "more") else -1
        # A table row that the passage begins with in its middle tells nothing alone.
        if length >= _MIN_CHARS and raw[-1] != "|":
            # Rows of numbers read the same in any language.
            yield Part(start, end, kind, language="und" if is_narrow else "", beside=beside)


def _whole_rows(text: str) -> Iterator[Span]:
    """The sentence spans, a row of a Markdown table as one even where a cell holds several sentences."""
    done = 0
    for start, end in sentence_spans(text):
        if start < done:
            continue
        if text[start] == "|":
            line_end = text.find("\n", end)
            line = text[start : line_end if line_end >= 0 else len(text)].rstrip()
            end = max(end, start + len(line)) if line.endswith("|") else end
        done = end
        yield start, end


def _sentence(raw: str) -> tuple[str, bool, int]:
    """Its kind, whether it is a row written as `label: value · label: value`, and its length without list signs."""
    bare = raw.lstrip("> \t")
    marker = LIST_ITEM.match(bare)
    is_narrow = " · " in raw and _NARROW_ROW.match(bare) is not None
    kind = "item" if marker else "row" if is_narrow else "sentence"
    return kind, is_narrow, len(bare) - (marker.end() if marker else 0)


# ---- rows of CSV files ----


def _labelled(text: str, *, is_row: bool) -> list[Part]:
    """Answers, definitions or the fields of a row of prose ("question: …", "answer: …" on lines); [] for other text."""
    fields = fields_of(text)
    pairs = _pairs(fields)
    if not fields or not (is_row or pairs):
        return []
    if not pairs:
        return [Part(text.index(fields[0].label), fields[-1].end, "row", "fields")]
    parts: list[Part] = []
    # A question in one language also finds the row whose question or term is written in the other.
    beside = tuple((asked.start, asked.end) for _, asked, _ in pairs)
    for stem, asked, found in pairs:
        value = text[found.start : found.end]
        suffix = found.key.rpartition("_")[2]
        language = suffix if suffix in ("ko", "en") else language_of(value)
        if stem in _TERM_LABELS:
            term = (asked.start, asked.end)
            parts.append(Part(found.start, found.end, "sentence", "definition", language, term, beside))
        elif len(" ".join(value.split())) <= _WHOLE_VALUE_CHARS:
            parts.append(Part(found.start, found.end, "sentence", "answer", language, None, beside))
        else:
            for a, b in sentence_spans(value):
                kind, _, _ = _sentence(value[a:b])
                parts.append(Part(found.start + a, found.start + b, kind, "prose", language, None, beside))
    return parts


class Field(NamedTuple):
    """`key`: the label in small letters. `start`, `end`: of the value."""

    label: str
    key: str
    start: int
    end: int


def fields_of(text: str) -> list[Field]:
    """The `label: value` lines, a value going on to the next label; [] if the text does not begin with a label."""
    matches = list(_FIELD.finditer(text))
    if len(matches) < 2 or text[: matches[0].start()].strip():
        return []
    ends = [match.start() for match in matches[1:]] + [len(text)]
    found = []
    for match, end in zip(matches, ends, strict=True):
        label = match.group(1).strip()
        found.append(Field(label, label.casefold(), match.end(), match.end() + len(text[match.end() : end].rstrip())))
    return found


def _pairs(fields: Sequence[Field]) -> list[tuple[str, Field, Field]]:
    """Question with answer and term with definition, by language: (kind of label, asked field, answering field)."""
    by_key = {item.key: item for item in fields if item.end > item.start}
    pairs = []
    for key, item in by_key.items():
        stem, separator, language = key.rpartition("_") if key.endswith(("_ko", "_en")) else (key, "", "")
        answer = _ANSWERS.get(stem)
        if answer is None:
            continue
        for name in (answer, *_ANSWER_ALIASES.get(answer, ())):
            if f"{name}{separator}{language}" in by_key:
                pairs.append((stem, item, by_key[f"{name}{separator}{language}"]))
                break
    return pairs
