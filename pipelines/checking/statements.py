"""The claims of an answer: its sentences, list items and table rows, each with the footnotes that belong to it.

Code blocks, table headers and rules make no claim. A footnote after the full stop belongs to the sentence before it; one
that opens a line, to the sentence after it. Knows nothing about evidence.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from knowledge.sentences import sentence_spans
from pipelines.prompt import is_refusal

_CODE = re.compile(r"^[ \t>]*(`{3,}|~{3,})[^\n]*\n?.*?(?:^[ \t>]*\1[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_CODE_SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)[^`\n]{1,400}\1(?!`)")
_MARKER = re.compile(r"\[(\d{1,2})\](?!\((?:<|https?:|ftp:|mailto:|www\.|/|#|\.{1,2}/))")
_LINE_MARKS = re.compile(r"[ \t>]*(?:(?:[-*+•]|\d{1,3}[.)])[ \t]+)?[ \t]*")
_LIST_MARK = re.compile(r"^[ \t>]*(?:[-*+•·▪◦]|\d{1,3}[.)]|[①-⑳])[ \t]+")
_HEADING = re.compile(r"^[ \t>]*#{1,6}[ \t]+")
_TABLE_RULE = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}[-:| \t]*$")
_TABLE_ROW = re.compile(r"^[ \t]*\|.*\|[ \t]*$", re.DOTALL)
_LINE_CHARS = 60  # that list marks and footnotes at the start of a line may take
_HAS_WORD = re.compile(r"[^\W_]")

# Said to the reader, about the answer or the conversation; not about the world.
_SMALLTALK = re.compile(
    r"^(?:안녕하세요|안녕하십니까|반갑습니다|감사합니다|고맙습니다|네|예|물론(?:입니다|이죠)|알겠습니다|좋은 질문(?:입니다|이네요)"
    r"|도움이 (?:되|필요)\S*.*|(?:더 |추가로 |다른 )?(?:궁금|질문|문의)\S* .*(?:말씀|알려|문의|물어)\S*.*"
    r"|(?:아래|다음)(?:과|와)? ?(?:같(?:습니다|이 .{0,20}|아요)|은 .{0,30}(?:입니다|이다))"
    r"|hello|hi(?: there)?|thanks?(?: you)?(?: for .{0,40})?|you(?:'|’)re welcome|sure|certainly|of course|yes|no|okay|ok"
    r"|great question|i hope (?:this|that) helps?.*|(?:please )?(?:feel free to|let me know|do not hesitate).*"
    r"|here (?:is|are) .{0,60}|if you have (?:any )?(?:more |further |other )?questions.*)[\s.!,:]*$",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(r"[:：][\s*_]*$")
_QUESTION = re.compile(r"[?？][\s*_)”\"]*$")


@dataclass(frozen=True, slots=True)
class Statement:
    """`kind`: "sentence", "item", "row" or "heading". `smalltalk`: nothing in it needs a source."""

    text: str
    start: int
    end: int
    cited: tuple[int, ...]
    kind: str
    smalltalk: bool


def statements(answer: str) -> list[Statement]:
    """In the order of the answer."""
    visible = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code.group()), answer)
    guarded = _CODE_SPAN.sub(lambda span: "`" * len(span.group()), visible)
    markers = [(m.start(), m.end(), int(m.group(1))) for m in _MARKER.finditer(guarded)]
    letters = list(visible)
    for start, end, _ in markers:
        letters[start:end] = " " * (end - start)
    blanked = "".join(letters)
    spans = sentence_spans(blanked)
    owners = [_owner(start, spans, answer) for start, _, _ in markers]
    belonging: dict[int, list[tuple[int, int, int]]] = {}
    for marker, owner in zip(markers, owners, strict=True):
        belonging.setdefault(owner, []).append(marker)
    found = []
    for i, span in enumerate(spans):
        statement = _statement(blanked, span, belonging.get(i, []), _next_line(blanked, span[1]))
        if statement:
            found.append(statement)
    return found


def _owner(position: int, spans: list[tuple[int, int]], answer: str) -> int:
    """Index of the sentence that a footnote at `position` belongs to; -1 for none."""
    before = bisect_right(spans, (position, len(answer) + 1)) - 1
    if before >= 0 and position < spans[before][1]:
        return before
    line = answer.rfind("\n", 0, position) + 1
    opens_line = position - line < _LINE_CHARS and _LINE_MARKS.fullmatch(
        re.sub(r"\[\d{1,2}\]", "", answer[line:position])
    )
    if opens_line and before + 1 < len(spans) and "\n" not in answer[position : spans[before + 1][0]]:
        return before + 1
    return before


def _statement(
    blanked: str, span: tuple[int, int], own: list[tuple[int, int, int]], following: str
) -> Statement | None:
    start, end = span
    raw = blanked[start:end]
    if _TABLE_RULE.match(following) and _TABLE_ROW.match(raw):  # the header row
        return None
    if "\n" in raw and _TABLE_RULE.match(raw.rsplit("\n", 1)[1]):
        return None
    kind = (
        "row"
        if _TABLE_ROW.match(raw)
        else "heading"
        if _HEADING.match(raw)
        else "item"
        if _LIST_MARK.match(raw)
        else "sentence"
    )
    text = plain(raw)
    if not _HAS_WORD.search(text):
        return None
    cited = tuple(dict.fromkeys(n for _, _, n in own))
    whole_end = max([end, *(marker_end for _, marker_end, _ in own)])
    smalltalk = not cited and (
        kind == "heading"
        or bool(_SMALLTALK.match(text) or _LEAD_IN.search(raw) or _QUESTION.search(raw))
        or is_refusal(text)
    )
    whole_start = min([start, *(marker_start for marker_start, _, _ in own)])
    return Statement(text, whole_start, whole_end, cited, kind, smalltalk)


def _next_line(text: str, end: int) -> str:
    rest = text[end : end + 2000].lstrip(" \t")
    return rest[1:].partition("\n")[0] if rest.startswith("\n") else ""


def plain(raw: str) -> str:
    """One line without list marks, emphasis and links; the cells of a table row joined by " · "."""
    text = _HEADING.sub("", _LIST_MARK.sub("", raw.lstrip("> \t")))
    text = re.sub(r"!?\[([^\]\n]*)\]\((?:<[^>]*>|[^)\s]*)(?: [^)]*)?\)", r"\1", text)
    if _TABLE_ROW.match(text):
        text = " · ".join(cell.strip() for cell in re.split(r"(?<!\\)\|", text.strip().strip("|")) if cell.strip())
    text = re.sub(r"(\*{1,3})(?=\S)([^*\n]+?)(?<=\S)\1", r"\2", text).replace("**", "").replace("`", "")
    text = re.sub(r"(?<!\w)_{1,3}(?=\S)([^_\n]+?)(?<=\S)_{1,3}(?!\w)", r"\1", text)
    return re.sub(r" +([.,!?…。])", r"\1", " ".join(text.split()))
