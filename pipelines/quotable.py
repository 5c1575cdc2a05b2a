"""What of a passage can be quoted: its sentences, list items, table rows, and the answers and definitions of CSV rows.

Each comes as text that reads on its own (no Markdown signs, no column labels of a FAQ), with its span in the passage
and the words it stands under. Headings, code and scraps are left out. Knows nothing about questions or scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from knowledge.lexemes import language_of
from knowledge.sentences import sentence_spans
from knowledge.types import Evidence
from pipelines.citations import without_markers

_MIN_CHARS = 8
_MAX_CHARS = 500  # a longer "sentence" is text without full stops; its beginning is quoted
_WHOLE_VALUE_CHARS = 400  # an answer or definition up to this long is quoted whole, not by sentences

_HEADING = re.compile(r"#{1,6} +(.+?)[ #]*$", re.DOTALL)
_FENCE = re.compile(r"\s*(?:```|~~~)")
_TABLE_ROW = re.compile(r"\|.*\|", re.DOTALL)
_TABLE_RULE = re.compile(r"\n?[ \t]*\|?[ \t]*:?-{2,}[-:| \t]*$")
_LIST_ITEM = re.compile(r"(?:[-*+•·▪◦‣○●■□▶※◆◇►➢✓]|[①-⑳❶-❿]|\d{1,3}[.)]|\(\d{1,3}\)|[가-하A-Za-z]\))\s+")
_NARROW_ROW = re.compile(r"[^\s:·][^:·\n]{0,40}: [^\n]*? · [^\n]*: ")
_CODE = re.compile(
    r"(?:>>> |\$ |#!|@\w+[.(\s]|import \w|from [\w.]+ import |(?:async )?def \w|class \w+[(:]|return\b(?! to)|[{}<][\w/\s\"'{]*$"
    r"|\w+ ?= ?[\w\"'([{]|</?\w+[^>]*>$)"
)
_CODE_END = re.compile(r"(?:[{};\\]|\):|\]\)?,?)$")
_FIELD = re.compile(r"^([^\s:][^:\n]{0,40}): ?", re.MULTILINE)
_ANSWERS = {"question": "answer", "질문": "답변", "q": "a", "term": "definition", "용어": "정의"}
_ANSWER_ALIASES = {
    "answer": {"답", "응답"},
    "답변": {"답", "응답"},
    "definition": {"description"},
    "정의": {"설명", "뜻"},
}
_TERM_LABELS = frozenset({"term", "용어"})

_IMAGE = re.compile(r"!\[[^\]\n]*\]\([^)\s]*(?: [^)]*)?\)")
_LINK = re.compile(r"\[([^\]\n]+)\]\((?:<[^>]*>|[^)\s]*)(?: [^)]*)?\)")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>|<!--.*?-->", re.DOTALL)
_EMPHASIS = re.compile(r"(\*{1,3})(?=\S)([^*\n]+?)(?<=\S)\1|(?<!\w)(_{1,3})(?=\S)([^_\n]+?)(?<=\S)\3(?!\w)")
_CODE_SPAN = re.compile(r"(`[^`\n]+`)")


@dataclass(frozen=True, slots=True)
class Quotable:
    """`text` can stand in an answer; it came from `evidence[n - 1].text[start:end]`.

    `context`: the headings, question or term it stands under, for the scoring. `kind`: "sentence", "item" (of a
    list), "more" (a further sentence of the same item) or "row" (of a table). `order`: its position among the passage's quotable texts.
    """

    text: str
    n: int
    start: int
    end: int
    context: str
    language: str
    kind: str
    order: int


def quotables(evidence: Sequence[Evidence]) -> list[Quotable]:
    """Everything quotable, in the order of the passages and of the text inside them."""
    found: list[Quotable] = []
    for n, item in enumerate(evidence, start=1):
        parts = _labelled(item) or list(_prose(item))
        for order, (text, start, end, context, language, kind) in enumerate(parts):
            found.append(Quotable(text, n, start, end, context, language, kind, order))
    return found


_Part = tuple[str, int, int, str, str, str]  # text, start, end, context, language, kind


# ---- prose, lists and Markdown tables ----


def _prose(item: Evidence) -> Iterator[_Part]:
    base = " › ".join(dict.fromkeys([item.title, *item.heading]))
    local = ""
    header = _cells(_TABLE_RULE.sub("", item.table_header)) if _TABLE_ROW.match(item.table_header) else []
    item_end = -1  # where the list item that the last sentence belongs to was left
    for start, end in _whole_rows(item.text):
        raw = item.text[start:end]
        heading = _HEADING.match(raw)
        if heading:
            local, header = readable(heading.group(1)), []
            continue
        context = base if not local or local in base else f"{base} › {local}"
        if _TABLE_ROW.match(raw):
            if _TABLE_RULE.search(raw):
                header = _cells(_TABLE_RULE.sub("", raw))
                continue
            text, kind = _row(header, _cells(raw)), "row"
        else:
            header = []
            text, kind = _sentence(raw)
            if kind == "sentence" and item_end >= 0 and "\n" not in item.text[item_end:start]:
                kind = "more"
            item_end = end if kind in ("item", "more") else -1
        if text and text not in base:
            # Rows of numbers read the same in any language.
            language = "und" if _NARROW_ROW.match(text) and not _TABLE_ROW.match(raw) else item.language
            yield text, start, end, context, language, kind


def _whole_rows(text: str) -> Iterator[tuple[int, int]]:
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


def _sentence(raw: str) -> tuple[str, str]:
    """Readable text and kind; "" for what is no answer."""
    bare = raw.lstrip("> \t")
    marker = _LIST_ITEM.match(bare)
    kind = "item" if marker else "row" if _NARROW_ROW.match(bare) else "sentence"
    text = readable(bare[marker.end() :] if marker else bare)
    # A table row that the passage begins with in its middle tells nothing alone.
    if len(text) < _MIN_CHARS or _is_code(raw, text) or bare.endswith("|"):
        return "", kind
    return text, kind


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


# ---- rows of CSV files ----


def _labelled(item: Evidence) -> list[_Part]:
    """Answers, definitions or the fields of a row of prose ("question: …", "answer: …" on lines); [] for other text."""
    fields = _fields(item.text)
    if not fields or (item.place.rows is None and not _pairs(fields)):
        return []
    pairs = _pairs(fields)
    if not pairs:
        text = " · ".join(f"{label}: {readable(item.text[start:end])}" for label, start, end in fields)
        return [(_shortened(text), fields[0][1], fields[-1][2], item.title, item.language, "row")]
    parts: list[_Part] = []
    # A question in one language also finds the row whose question or term is written in the other.
    context = " › ".join([item.title, *(readable(item.text[a:b]) for _, (_, a, b), _ in pairs)])
    for asked, (_, asked_start, asked_end), (label, start, end) in pairs:
        value = item.text[start:end]
        suffix = label.rpartition("_")[2]
        language = suffix if suffix in ("ko", "en") else language_of(value)
        whole = readable(value)
        if asked in _TERM_LABELS:
            term = readable(item.text[asked_start:asked_end])
            text = whole if whole.casefold().startswith(term.casefold()) else f"{term}: {whole}"
            parts.append((_shortened(text), start, end, context, language, "sentence"))
        elif len(whole) <= _WHOLE_VALUE_CHARS:
            parts.append((whole, start, end, context, language, "sentence"))
        else:
            for a, b in sentence_spans(value):
                text, kind = _sentence(value[a:b])
                if text:
                    parts.append((text, start + a, start + b, context, language, kind))
    return parts


_Field = tuple[str, int, int]  # label, start and end of the value


def _fields(text: str) -> list[_Field]:
    """The `label: value` lines, a value going on to the next label; [] if the text does not begin with a label."""
    matches = list(_FIELD.finditer(text))
    if len(matches) < 2 or text[: matches[0].start()].strip():
        return []
    ends = [match.start() for match in matches[1:]] + [len(text)]
    fields = []
    for match, end in zip(matches, ends, strict=True):
        value = text[match.end() : end]
        fields.append((match.group(1).strip().casefold(), match.end(), match.end() + len(value.rstrip())))
    return fields


def _pairs(fields: Sequence[_Field]) -> list[tuple[str, _Field, _Field]]:
    """Question with answer and term with definition, by language: (kind of label, asked field, answering field)."""
    by_label = {label: (label, start, end) for label, start, end in fields if end > start}
    pairs = []
    for label, field in by_label.items():
        stem, separator, language = label.rpartition("_") if label.endswith(("_ko", "_en")) else (label, "", "")
        answer = _ANSWERS.get(stem)
        if answer is None:
            continue
        for name in (answer, *_ANSWER_ALIASES.get(answer, ())):
            if f"{name}{separator}{language}" in by_label:
                pairs.append((stem, field, by_label[f"{name}{separator}{language}"]))
                break
    return pairs


# ---- text that reads well ----


def readable(text: str) -> str:
    """One line without Markdown emphasis, links, images, HTML tags and footnote numbers; code spans stay."""
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
