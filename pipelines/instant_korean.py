"""The wording of a Korean question: without particles that say nothing, politeness, fillers, and requests to tell it.

Numbers, negation, tense, conditions, question words and who does what to whom all stay, so that "달러를 원으로" is not
"원을 달러로". Knows nothing about where questions are stored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from knowledge.lexemes import Morpheme, stem
from pipelines.instant_english import singular
from pipelines.instant_wording import Wording

_HANGUL = re.compile(r"[가-힣]")
# What says nothing by itself; whatever else Kiwi may find belongs to the question.
_SAYS_NOTHING = frozenset("SF SP SS SSO SSC SE SB EF ETM ETN EC EP VCP IC Z_CODA Z_SIAT".split())
_SIGNS = frozenset("%+#$€£¥&<>=-−/℃°")
_SAME = {
    "뭐": "무엇", "무어": "무엇", "뭣": "무엇", "무슨": "어떤", "킬로그램": "kg", "킬로": "kg", "퍼센트": "%", "프로": "%",
    "한": "1", "하나": "1", "두": "2", "둘": "2", "세": "3", "셋": "3", "네": "4", "넷": "4", "다섯": "5", "여섯": "6",
    "못하": "<cannot>", "못": "<cannot>", "안": "<not>", "않": "<not>", "아니": "<not>", "말": "말",
}  # fmt: skip
_FILLERS = frozenset(["좀", "혹시", "그냥", "대체", "도대체", "정확히"])
_SPEAKERS = frozenset(["나", "저", "우리", "저희"])
_ASKS = {"왜": "왜", "언제": "언제", "어떻게": "어떻", "어떻": "어떻", "얼마나": "얼마"}
_INTERROGATIVE = frozenset(["무엇", "언제", "어디", "누구", "몇", "얼마", "어떤", "어느", "어떻", "왜"])
_EMPTY_VERBS = frozenset(["있", "주", "보", "하"])  # behind another verb: goes on doing, does for, tries to
_TOLD = frozenset("알리 가르치 설명 말 말하 궁금 궁금하 알 싶 주 하 모르 것 거 부탁 드리".split())
_NEUTRAL_ENDINGS = frozenset(["게", "지", "어", "아", "고"])
_IF = frozenset(["면", "으면", "다면", "는다면", "ᆫ다면", "거든", "라면", "이라면"])
_TO = frozenset(["려면", "으려면", "ᆯ려면"])
_ROLES = {"이": "가", "가": "가", "께서": "가", "을": "를", "를": "를", "ᆯ": "를", "으로": "로", "로": "로", "과": "와", "랑": "와",
          "이랑": "와", "하고": "와", "한테": "에게", "께": "에게", "은": "는", "는": "는", "ᆫ": "는", "의": "", "요": ""}  # fmt: skip


def korean_wording(morphemes: Sequence[Morpheme]) -> Wording:
    kept, asked_for = _without_request(morphemes)
    words: list[list[str]] = []
    asks: set[str] = set()
    nouns: list[str] = []
    for at, token in enumerate(kept):
        before = kept[at - 1] if at else None
        tag = token.tag.partition("-")[0]
        form = unicodedata.normalize("NFKC", token.form).casefold()
        if tag.startswith("J"):
            role = _ROLES.get(form, form)
            if words and not (role == "는" and words[-1][1]):  # "에서는" says no more than "에서"
                words[-1][1] += role
        elif tag == "ETM" and form in ("ᆫ", "은") and before and before.tag.startswith(("VV", "XSV", "VX")):
            words.append(["<past>", ""])
        elif tag in ("EP", "EC", "ETN") or (tag == "ETM" and form in ("던", "ᆯ", "을")):
            words += [[mark, ""] for mark in _mark(form, tag)]
        elif form in _ASKS and tag in ("MAG", "NP", "VA", "NNG"):
            asks.add(_ASKS[form])
        elif not _says_nothing(form, tag, before):
            words.append([_plain_word(form, tag), ""])
            nouns += _lookup(form, tag)
    if asked_for == "how":
        asks.add("어떻")
    return Wording(_settled(words, asks), frozenset(asks), tuple(dict.fromkeys(nouns)))


def _says_nothing(form: str, tag: str, before: Morpheme | None) -> bool:
    if tag in ("SW", "SO"):
        return form not in _SIGNS
    if tag == "VX":
        return form in _EMPTY_VERBS and not (before and before.form in ("어야", "아야", "여야"))
    return (
        tag in _SAYS_NOTHING
        or form in _FILLERS
        or (tag == "NP" and form in _SPEAKERS)
        or (tag in ("XSV", "XSA") and form in ("하", "되"))
    )


def _without_request(morphemes: Sequence[Morpheme]) -> tuple[list[Morpheme], str]:
    """Without "… 알려 주세요" behind a question; and "how" if it was asked for the way to do something ("끄는 법")."""
    tokens = [
        token for token in morphemes if token.tag not in ("SF", "SP", "SE", "SSO", "SSC", "SS", "IC", "EF", "VCP")
    ]
    end = len(tokens)
    while end and (
        tokens[end - 1].form in _TOLD or tokens[end - 1].tag[0] in "EJX" or tokens[end - 1].form in _FILLERS
    ):
        end -= 1
        if tokens[end].tag == "EC" and tokens[end].form in ("는지", "ᆫ지", "은지", "ᆯ지", "을지"):
            return tokens[:end], ""
    if (
        end > 1
        and tokens[end - 1].form in ("법", "방법")
        and tokens[end - 2].tag == "ETM"
        and tokens[end - 2].form == "는"
    ):
        return tokens[: end - 2], "how"
    return tokens, ""


def _mark(form: str, tag: str) -> Iterator[str]:
    """What an ending adds to what is said."""
    if form in _IF:
        yield "<if>"
    elif form in _TO:
        yield "<to>"
    elif tag == "EP":
        if form in ("었", "았", "였"):
            yield "<past>"
    elif form not in _NEUTRAL_ENDINGS:
        yield f"<{form}>"


def _plain_word(form: str, tag: str) -> str:
    if tag == "SN":
        return form.replace(",", "")
    if tag == "SL":
        return singular(form)
    if form in ("말", "한", "세", "네", "프로", "안", "못", "아니") and tag in ("NNG", "NNP", "NNB", "VV"):
        return form  # the nouns, not the numerals, unit and negation
    return _SAME.get(form, form)


def _lookup(form: str, tag: str) -> Iterator[str]:
    if form in _SAME or form in _SAME.values():
        return  # it may be written otherwise in the row
    if tag == "SL" and form.isascii() and form.isalpha():
        yield stem(form)
    elif tag.startswith("N") and form not in _INTERROGATIVE:
        # Pairs of syllables are in the index wherever the noun is, as whatever kind of noun Kiwi takes it there.
        yield from (f"#{form[at : at + 2]}" for at in range(len(form) - 1) if _HANGUL.match(form[at : at + 2][-1]))


def _settled(words: Sequence[Sequence[str]], asks: set[str]) -> tuple[tuple[str, str], ...]:
    """With what several ways to ask for the way to do something have in common."""
    items = [(word, role) for word, role in words]
    flat = [word for word, _ in items]
    if flat and flat[-1] == "<to>":  # "바꾸려면?"
        items, asks_how = items[:-1], True
        asks.add("어떻")
    else:
        asks_how = "어떻" in asks
    if asks_how:
        for tail in (
            ["<to>", "하", "<어야>", "하"],
            ["<to>", "하", "<어야>", "되"],
            ["<to>", "하"],
            ["<어야>", "하"],
            ["<ᆯ>", "수", "있"],
            ["<을>", "수", "있"],
        ):
            if [word for word, _ in items[-len(tail) :]] == tail and len(items) > len(tail):
                items = items[: -len(tail)]
                break
    if "얼마" in asks or any(word == "얼마" for word, _ in items):
        items = [item for item in items if item[0] not in ("얼마", "동안")]
        asks.add("얼마")
    return tuple(_paired(items))


def _paired(items: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """ "A와 B" is "B와 A"."""
    at = 0
    while at < len(items):
        if items[at][1] == "와" and at + 1 < len(items) and not items[at + 1][0].startswith("<"):
            first, second = sorted((items[at][0], items[at + 1][0]))
            yield first, "와"
            yield second, items[at + 1][1]
            at += 2
        else:
            yield items[at]
            at += 1
