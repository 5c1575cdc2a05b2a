"""Names of one thing that stand side by side in a text: `한국거래소(KRX)`, `TRQ(관세율할당)`, a row of a glossary.

What is paired: a Korean term and its English one or its Hanja, and an English term and its initials. Better no pair than
a wrong one: code, references, units, dates and remarks in parentheses make none. Knows nothing about questions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from knowledge.lexemes import stem
from knowledge.types import Block

MAX_PAIRS = 2_000  # of one document: a dictionary as long as a book has its first ones
Pair = tuple[str, str]

_PARENTHESES = re.compile(r"\((?![\d ])([^()\n\[\]`|]{2,60})\)")
_BEFORE_CHARS = 60
_HANJA = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]{2,}")
_HANGUL_END = re.compile(r"[가-힣](?:[가-힣A-Za-z0-9·-]*[가-힣A-Za-z0-9])?$")
_HANJA_END = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]{2,}$")
_ENGLISH_END = re.compile(r"(?<![\w/.:@-])[A-Za-z][A-Za-z0-9&/'-]*(?: [A-Za-z][A-Za-z0-9&/'-]*){0,6}$")
_ENGLISH = re.compile(r"[A-Za-z][A-Za-z0-9&/'.,-]*(?: [A-Za-z0-9&/'.,-]+){0,6}")
_KOREAN = re.compile(r"[가-힣][가-힣A-Za-z0-9·-]*(?: [가-힣A-Za-z0-9·-]+){0,3}")
_LABEL = re.compile(r"^(?:영어|영문|영|약칭|약어|한자|漢字|문화어|English)\s*:\s*")
_INITIALS = re.compile(r"[A-Z][A-Za-z0-9&/]{1,7}")
_WORD = re.compile(r"[a-z0-9]+|[가-힣]+|[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_REMARK = re.compile(
    r"\b(?:et al|see|eg|e\.g|i\.e|cf|fig|figure|table|chapter|section|ch|vol|pp?|no|note|default|optional|required|example|"
    r"http|https|www|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|January|February|March|April|June|July|August|September|"
    r"October|November|December|am|pm|BC|AD|km|cm|mm|kg|mg|ml|kW|kWh|MW|GB|MB|KB|TB|Hz|kHz|MHz|GHz|ms|sec|min|ha|USD|KRW|won)\b"
    r"|[12]\d{3}|\.(?:com|org|net|kr|pdf|md|py|csv)\b",
    re.IGNORECASE,
)  # fmt: skip
_KOREAN_REMARK = re.compile(
    r"^(?:선택|필수|기본|기본값|예|예시|참고|없음|이하|이상|미만|초과|단위|현재|당시|사진|그림|표|출처|자료|별도|포함|제외|위|아래|왼쪽|"
    r"오른쪽|가운데|전|후|주|본인|이름|제목|생략|계속|합계|평균|약)(?:\s|$)|(?:다|요|음|함|됨|임|며|면|고|서|까|등|후|전|중|의|는|을|를)$"
    r"|[은는을를의에] |(?:하는|되는|되어|하여|에서|으로|부터|까지|라고|이라고|또는|및) "
)
# A Korean term of several words begins behind a word with one of these endings.
_NOT_IN_TERM = re.compile(r"(?:[은는을를의에과와]|하는|되는|된|한|인|에서|으로|로|부터|까지|라는|이라는|고|며|면|서)$")
_SMALL = frozenset("a an and at by for in of on or the to with".split())
_KOREAN_NAME = re.compile(r"^(?:.*[_ ])?(?:ko|kr|kor|korean|한국어|국문|한글|국어|용어|우리말)$", re.IGNORECASE)
_OTHER_NAME = re.compile(r"^(?:.*[_ ])?(?:en|eng|english|영어|영문|원어|약어|약칭|한자|abbreviation)$", re.IGNORECASE)
_MAX_TERM_CHARS = 40
_NAMES = re.compile(r"(?:ko|kr|kor|korean|한국어|국문|한글|국어|용어|우리말)(?:: | *\|)", re.IGNORECASE)
_FIELD = re.compile(r"^([^:\n]{1,40}): (.+)$", re.MULTILINE)


def mine_pairs(text: str, blocks: Sequence[Block] = ()) -> list[Pair]:
    """Each pair once, in the order of the text, the term on the left first. `blocks`: the structure of `text`."""
    found: dict[Pair, None] = {}
    if "(" not in text and not any(block.kind in ("row", "table") for block in blocks):
        return []
    code = [(block.start, block.end) for block in blocks if block.kind == "code"]
    for pair in (*_of_rows(text, blocks), *_of_parentheses(text, code)):
        found[pair] = None
        if len(found) >= MAX_PAIRS:
            break
    return list(found)


def fold(term: str) -> str:
    """What two ways to write a term have in common: no spaces, signs, capitals or English endings."""
    return "".join(map(stem, _WORD.findall(unicodedata.normalize("NFKC", term).lower())))


def _of_parentheses(text: str, code: Sequence[tuple[int, int]]) -> Iterator[Pair]:
    for match in _PARENTHESES.finditer(text):
        at = match.start()
        if code and any(start <= at < end for start, end in code):
            continue
        before = text[max(0, at - _BEFORE_CHARS) : at].rpartition("\n")[2]
        inner = _LABEL.sub("", match[1]).strip()
        yield from _pair(before, inner)


def _pair(before: str, inner: str) -> Iterator[Pair]:
    """`before`: what stands in front of the parentheses, as far as it may matter."""
    if hanja := _HANJA.match(inner):
        korean = re.search(rf"[가-힣]{{{len(hanja[0])}}}$", before)
        if korean and (hanja.end() == len(inner) or inner[hanja.end()] in ",; "):
            yield korean[0], hanja[0]
        return
    if (written := _HANJA_END.search(before)) and re.fullmatch(rf"[가-힣]{{{len(written[0])}}}", inner):
        yield inner, written[0]
    elif _HANGUL_END.search(before):
        english = re.split(r"[,;] ", inner)[0].strip()
        if _is_english(english) and (term := _korean_term(before, english)):
            yield term, english
    elif english_end := _ENGLISH_END.search(before.removesuffix(" ") if inner[:1].isascii() else before):
        if _INITIALS.fullmatch(inner):
            yield from _initials(english_end[0], inner)
        elif _is_korean(inner) and (term := _english_term(english_end[0])):
            yield inner, term


def _is_english(text: str) -> bool:
    if not _ENGLISH.fullmatch(text) or _REMARK.search(text):
        return False
    return len(text) > 2 or (len(text) == 2 and text.isupper())


def _is_korean(text: str) -> bool:
    return len(text) > 1 and bool(_KOREAN.fullmatch(text)) and not _KOREAN_REMARK.search(text)


def _korean_term(before: str, english: str) -> str:
    """The last words of `before` that can be the Korean of `english`: as many as it has words, one for initials."""
    wanted = len([word for word in english.split() if word.lower() not in _SMALL])
    words = before.split()
    taken = [words[-1].lstrip("\"'“‘《〈「『[*_~")]
    if taken[0].endswith(("다", "요", "까")):
        return ""
    for word in reversed(words[-wanted:-1]):
        if _NOT_IN_TERM.search(word) or not re.fullmatch(r"[가-힣A-Za-z0-9·-]+", word):
            break
        taken.insert(0, word)
    term = " ".join(taken)
    # "보고서(World Agricultural Supply and Demand Estimates)" says less than the English does.
    return term if 2 * sum(map(len, taken)) >= wanted + 2 and len(term) > 1 and 2 * len(taken) >= wanted - 2 else ""


def _english_term(words: str) -> str:
    """The last capitalised or only word: "the Korea Exchange(한국거래소)" has no sure beginning but its capitals."""
    parts = words.split()
    capital = [part for part in parts if part[:1].isupper()]
    if parts and len(parts) == 1 and not _REMARK.search(parts[0]):
        return parts[0]
    at = len(parts)
    while at and (parts[at - 1][:1].isupper() or (parts[at - 1] in _SMALL and at < len(parts))):
        at -= 1
    return " ".join(parts[at:]) if capital and at < len(parts) and not _REMARK.search(words) else ""


def _initials(words: str, initials: str) -> Iterator[Pair]:
    """The words that `initials` are of, if they are: Chicago Board of Trade (CBOT)."""
    letters = [letter.lower() for letter in initials if letter.isalpha()]
    parts = words.split()
    for start in range(max(0, len(parts) - len(letters) - 3), len(parts)):
        if parts[start].lower() in _SMALL:
            continue
        heads = [part[0].lower() for word in parts[start:] for part in word.split("-") if part]
        important = [p[0].lower() for w in parts[start:] if w.lower() not in _SMALL for p in w.split("-") if p]
        if len(parts) - start > 1 and letters in (heads, important):
            yield " ".join(parts[start:]), initials
            return


def _of_rows(text: str, blocks: Sequence[Block]) -> Iterator[Pair]:
    """Rows of a table with a column for the Korean term and one for another: `term_ko: 환율`, `term_en: exchange rate`."""
    for block in blocks:
        if block.kind not in ("row", "table") or not _NAMES.search(text, block.start, block.end):
            continue
        lines = text[block.start : block.end].splitlines()
        if lines[0].startswith("|"):
            names = _cells(lines[0])
            if any(map(_KOREAN_NAME.match, names)) and any(map(_OTHER_NAME.match, names)):
                for line in lines[1:]:
                    yield from _of_fields(zip(names, _cells(line), strict=False))
        elif block.kind == "row":
            yield from _of_fields(_FIELD.findall("\n".join(lines)))
        else:
            for line in lines:
                yield from _of_fields(_FIELD.findall(line.replace(" · ", "\n")))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _of_fields(fields: Iterable[Pair]) -> Iterator[Pair]:
    korean: list[Pair] = []
    other: list[Pair] = []
    for name, value in fields:
        if value.strip("- ") and len(value) <= _MAX_TERM_CHARS and not value.endswith((".", "?", "!")):
            (korean if _KOREAN_NAME.match(name) else other if _OTHER_NAME.match(name) else []).append((name, value))
    for name, term in korean:
        for other_name, whole in other:
            if _column(name) and _column(other_name) and _column(name) != _column(other_name):
                continue
            for part in filter(None, map(str.strip, re.split(r"[()]", whole))):
                if part.casefold() != term.casefold():
                    yield term, part
            if inner := _PARENTHESES.search(whole):
                yield from _pair(whole[: inner.start()], inner[1])


def _column(name: str) -> str:
    """`term` of `term_ko`."""
    return name.rpartition("_")[0].lower()
