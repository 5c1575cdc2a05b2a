"""Headings of a PDF without bookmarks, by the size of their letters. Knows no PDF."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ingest.readers.pdf_layout import squeezed
from ingest.readers.pdf_model import Line

_LARGER = 1.15
_MAX_CHARS = 60
_MAX_SHARE = 0.2  # of the letters: more large ones are no headings (posters)
_MIN_BODY_LINES = 5
_LEVELS = 4
_TITLE_PITCH = 3.0
_WRAPPED_REACH = 0.6
_NUMBERED = re.compile(r"\s*(?:[\divxIVX]{1,4}[.)]|제 ?\d|[가-하][.)]|[<(\[【\"“‘])")
_END = re.compile(r"[.,;:?!]$|(?:니다|한다|된다|이다)$")


def large_titles(pages: Sequence[Sequence[Line]]) -> dict[int, dict[str, int]]:
    """Page (from 0) → lines that are set larger than the text, without white space → their level.

    None if so many lines are large that size says little about them.
    """
    lines = [line for page in pages for line in page if line.size and line.text.strip()]
    body = _body_size(lines)
    titles = [(number, line) for number, page in enumerate(pages) for line in page if _is_title(line, body)]
    large = sum(len(line.text) for _, line in titles)
    if not titles or len(lines) < _MIN_BODY_LINES or large > _MAX_SHARE * sum(len(line.text) for line in lines):
        return {}
    sizes = sorted({round(line.size) for _, line in titles}, reverse=True)
    level = {size: min(index + 1, _LEVELS) for index, size in enumerate(sizes)}
    found: dict[int, dict[str, int]] = {}
    for number, line in titles:
        found.setdefault(number, {})[squeezed(line.text)] = level[round(line.size)]
    return found


def whole_titles(lines: Sequence[Line], titles: Mapping[str, int]) -> tuple[list[Line], dict[str, int]]:
    """The lines, those that make up one title joined, and `titles` with the joined ones."""
    result: list[Line] = []
    known = dict(titles)
    for line in lines:
        above = result[-1] if result else None
        if above and not above.rows and not line.rows and (level := _level_together(above, line, known)):
            both = replace(above, text=f"{above.text.rstrip()} {line.text.lstrip()}", reach=line.reach)
            known[squeezed(both.text)] = level
            result[-1] = both
        else:
            result.append(line)
    return result, known


def _level_together(above: Line, line: Line, titles: Mapping[str, int]) -> int | None:
    first, second = squeezed(above.text), squeezed(line.text)
    if first + second in titles:
        return titles[first + second]
    if first not in titles or titles[first] != titles.get(second) or not 0 < line.pitch < _TITLE_PITCH:
        return None
    one_title = above.size > 0 and round(above.size) == round(line.size) and above.reach > _WRAPPED_REACH
    return titles[first] if one_title and not _NUMBERED.match(line.text) else None


def _body_size(lines: Sequence[Line]) -> float:
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(2 * line.size) / 2] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _is_title(line: Line, body: float) -> bool:
    words = line.text.strip()
    return (
        not line.rows
        and line.size >= _LARGER * body > 0
        and 1 < len(words) <= _MAX_CHARS
        and sum(char.isalpha() for char in words) >= 2
        and not _END.search(words)
    )
