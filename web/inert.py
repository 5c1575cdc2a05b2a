"""Makes untrusted Markdown harmless to look at: no image is fetched, raw HTML is shown as text, `[1]` stays a footnote.

Knows nothing of pages or answers. Code stays as it is, where it is code for every reader of Markdown: see `_pieces`.
This is the first of three nets: the page's sanitizer and its content security policy catch what slips through.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

# "훌륭합니다![1]" is an exclamation and a footnote, "![1](http://…)" and "![1][x]" are images.
_IMAGE_MARK = re.compile(r"!(?=\[)(?!\[\d+\](?!\(|\[(?!\d+\])))")
_ANY_IMAGE_MARK = re.compile(r"!(?=\[)")
_TAG_START = re.compile(r"<(?=[A-Za-z/!?])")
_AUTOLINK = re.compile(r"<(?=https?://[^\s<>]*>)", re.IGNORECASE)
_FOOTNOTE = re.compile(r"\[\s*\d+\s*\]")
_LINK_MIDDLE = re.compile(r"\](?=\()")

_FENCE = re.compile(r"(?P<indent> *)(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)")
_HAS_FENCE_MARKS = re.compile(r"[\s>*+\-\d.)]*(`{3,}|~{3,})")
_SPAN = re.compile(r"(?<!`)(?P<ticks>`+)(?!`)[^\n|]+?(?<!`)(?P=ticks)(?!`)")


def without_images(markdown: str) -> str:
    """Images become links: an image that a model was talked into would send its address to a stranger's server."""
    # `![1]` is an image where `[1]: http://…` says so, and that may hide anywhere: then every mark goes.
    mark = _ANY_IMAGE_MARK if "]:" in markdown else _IMAGE_MARK
    return "".join(piece if is_code else mark.sub("", piece) for piece, is_code in _pieces(markdown))


def displayable(markdown: str) -> str:
    """Images and raw HTML inert, and no way to turn the footnote `[1]` into a link elsewhere. Idempotent."""
    return "".join(piece if is_code else _neutral(piece) for piece, is_code in _pieces(markdown))


def _neutral(text: str) -> str:
    text = _ANY_IMAGE_MARK.sub("&#33;", _IMAGE_MARK.sub("", text))
    text = _TAG_START.sub(lambda match: "<" if _AUTOLINK.match(text, match.start()) else "&lt;", text)
    # Links and images by reference: `[1][x]`, and `[x]: http://…` anywhere, also in a list or a quote.
    return _without_footnote_links(text.replace("]:", "]&#58;"))


def _without_footnote_links(text: str) -> str:
    pieces: list[str] = []
    position = 0
    for middle in _LINK_MIDDLE.finditer(text):
        if _reads_as_footnote(_label(text, middle.start())):
            pieces += [text[position : middle.end()], "&#40;"]
            position = middle.end() + 1
    return "".join([*pieces, text[position:]])


def _label(text: str, end: int) -> str:
    """What stands between the bracket at `end` and its opening one."""
    depth = 0
    for start in range(end - 1, max(-1, end - 500), -1):
        if text[start] == "]":
            depth += 1
        elif text[start] == "[":
            if depth == 0:
                return text[start + 1 : end]
            depth -= 1
    return text[max(0, end - 500) : end]


def _reads_as_footnote(label: str) -> bool:
    seen = re.sub(r"[\\*_~`]", "", html.unescape(label))
    return bool(_FOOTNOTE.search(seen)) or re.sub(r"[\s\[\]]", "", seen).isdigit()


def _pieces(markdown: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and of each whether it is code, which only what no reader of Markdown takes for text is.

    Whoever hides an image from us behind backticks needs a case that readers see otherwise: an escaped backtick, a
    span over two blocks, a fence that its quote ends. So a doubtful span makes its paragraph text, a doubtful fence the
    rest; nothing is lost by it but the looks of some code.
    """
    # The page takes formulas out before it looks for code, and a lone \r is a line end to readers, not to us.
    if "$$" in markdown or "\r" in markdown:
        yield markdown, False
        return
    lines = re.findall(r"[^\n]*\n|[^\n]+", markdown)
    paragraph: list[str] = []
    at = 0
    while at < len(lines):
        end = at
        if _HAS_FENCE_MARKS.match(lines[at]):
            end = _fence_end(lines, at)
            if end == at or (lines[at][0] == " " and _clear_spans("".join(paragraph)) is None):
                break
        if end > at or not lines[at].strip():
            yield from _spans("".join(paragraph))
            paragraph = []
            yield "".join(lines[at : max(end, at + 1)]), end > at
        else:
            paragraph.append(lines[at])
        at = max(end, at + 1)
    if at < len(lines):
        yield "".join([*paragraph, *lines[at:]]), False
    else:
        yield from _spans("".join(paragraph))


def _fence_end(lines: list[str], at: int) -> int:
    """The line after the fenced block that begins at line `at`; `at` where none does for certain."""
    opening = _FENCE.fullmatch(lines[at].rstrip("\n"))
    if opening is None:
        return at
    indent, marks = opening["indent"], opening["marks"]
    closing = re.compile(rf"{indent or ' {0,3}'}{marks[0]}{{{len(marks)},}} *\n?")
    for line in range(at + 1, len(lines)):
        seen = lines[line].strip()
        if closing.fullmatch(lines[line]):
            return line + 1
        if seen.startswith(marks) and not seen.strip("`~"):
            return at  # closes the block for some readers and not for others
        if seen and not lines[line].startswith(indent):
            return at  # a list item ends here, and the block with it
    return at if indent else len(lines)


def _spans(paragraph: str) -> Iterator[tuple[str, bool]]:
    position = 0
    for span in _clear_spans(paragraph) or ():
        yield paragraph[position : span.start()], False
        yield span.group(), True
        position = span.end()
    yield paragraph[position:], False


def _clear_spans(paragraph: str) -> list[re.Match[str]] | None:
    """The code spans of a paragraph; None where it is doubtful what is one."""
    spans = list(_SPAN.finditer(paragraph))
    rest = _SPAN.sub("\0", paragraph)
    if "`" in rest or len(spans) != rest.count("\0"):
        return None
    places = (at for at, character in enumerate(rest) if character == "\0")
    return None if any(_is_doubtful(rest[:at]) for at in places) else spans


def _is_doubtful(before: str) -> bool:
    """Whether a span after `before` may be none: escaped, or begun inside a label, a link, a tag or an address."""
    line = before[before.rfind("\n") + 1 :]
    word = re.split(r"\s", line[-2_000:])[-1].lower()
    return (
        before.endswith("\\")
        or before.rfind("[") > before.rfind("]")
        or line.rfind("](") > line.rfind(")")
        or word.rfind("<") > word.rfind(">")
        or "://" in word
        or "www." in word
    )
