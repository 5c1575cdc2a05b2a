"""Content words of a sentence with their polarity: what it says is so, and what it says is not so.

Korean by morphemes: 안/못 before a predicate, -지 않/못하/말, -ㄹ 수 없, 없다, 아니다, -면 안 되다, 비-/미-/불-/무- (비과세).
Double negation cancels out (않을 수 없다). English by the first content word after not, never, no, without, …
Knows nothing about what is compared with what.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pipelines.checking.morphemes import Morpheme

_NOUNS = frozenset({"NNG", "NNP", "XR", "SL", "NR", "SH"})
_PREDICATES = frozenset({"VV", "VA"})
_LIGHT = frozenset(
    "하 되 있 이 것 수 때 등 및 중 보 같 대하 위하 따르 통하 관하 의하 알 가지 받 주 나오 경우 정도".split()
)
_SAYS = frozenset({"보", "하", "말하", "할", "여기", "믿", "그러"})
_NEGATIVE_PREFIXES = frozenset({"비", "미", "불", "무", "부", "몰"})
_WHOLE_NEGATIVES = {
    "불가": "가능",
    "불가능": "가능",
    "불가하": "가능",
    "미포함": "포함",
    "불포함": "포함",
    "불허": "허용",
    "미납": "납부",
}

_ENGLISH_WORD = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?|[.;:!?]")
_NEGATORS = frozenset(
    "not no never neither nor without cannot nobody none nothing hardly scarcely barely unable fails failed fail lack "
    "lacks lacked lacking refuses refused unless nowhere".split()
)
_STOP = frozenset(
    "a an and are as at be been being but by can could did do does for from had has have having he her him his how i if in "
    "into is it its just me my of on or our she should so such than that the their them then there these they this those "
    "to too us very was we were what when where which while who whom whose why will with would you your also any only "
    "may might must shall about over under up down out off all some more most other each both own same s t d ll re ve yet "
    "ever even still again once here".split()
)
_IRREGULAR = {
    form: base
    for base, forms in {
        "make": "made", "take": "took taken", "go": "went gone", "give": "gave given", "get": "got gotten", "become": "became",
        "begin": "began begun", "come": "came", "write": "wrote written", "win": "won", "lose": "lost", "lead": "led",
        "hold": "held", "find": "found", "build": "built", "buy": "bought", "bring": "brought", "know": "knew known",
        "say": "said", "see": "saw seen", "sell": "sold", "send": "sent", "pay": "paid", "rise": "rose risen", "fall": "fell "
        "fallen", "grow": "grew grown", "speak": "spoke spoken", "teach": "taught", "think": "thought", "leave": "left",
        "meet": "met", "run": "ran", "sing": "sang sung", "stand": "stood", "keep": "kept", "tell": "told", "feel": "felt",
        "choose": "chose chosen", "fight": "fought", "draw": "drew drawn", "drive": "drove driven", "eat": "ate eaten",
        "break": "broke broken", "bear": "bore born", "catch": "caught", "die": "dying", "spend": "spent", "mean": "meant",
    }.items()
    for form in forms.split()
}  # fmt: skip


@dataclass(slots=True)
class Words:
    """`told`: stem → polarities it occurs with (False: negated). `nouns`, `names`: forms, in order.

    `negated`: stems that are negated, in order; "" for one whose stem is unknown.
    """

    told: dict[str, set[bool]] = field(default_factory=dict)
    nouns: list[str] = field(default_factory=list)
    predicates: list[str] = field(default_factory=list)
    negated: list[str] = field(default_factory=list)

    def note(self, stem: str, *, so: bool) -> None:
        self.told.setdefault(stem, set()).add(so)
        if not so:
            self.negated.append(stem)


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A rough English stem: the same for most forms of a verb or noun."""
    word = word.casefold().replace("’", "'").removesuffix("'s")
    word = _IRREGULAR.get(word, word)
    for ending in ("ational", "ing", "ies", "ied", "ment", "ed", "es", "ly", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word.removesuffix("e") or word


def words_of(text: str, morphemes: Sequence[Morpheme]) -> Words:
    """`morphemes`: of `text`; () where it has no Hangul."""
    words = Words()
    if morphemes:
        _korean(morphemes, words)
    _english(text, words)
    return words


@dataclass(slots=True)
class _Said:
    stem: str
    negations: int
    noun: bool
    subject: bool = False  # 이/가/은/는/도 follows


def _korean(tokens: Sequence[Morpheme], words: Words) -> None:
    said: list[_Said] = []
    latest: _Said | None = None  # what "-지 않다" after it negates
    pending = 0  # 안 or 못 that waits for its predicate
    for i, token in enumerate(tokens):
        form, tag = token.form, token.tag
        before = tokens[i - 1] if i else None
        after = tokens[i + 1] if i + 1 < len(tokens) else None
        if tag == "MAG" and form in ("안", "못"):
            if _after_ji(tokens, i) and latest:  # -지 못하다
                latest.negations += 1
            elif (
                before and before.tag == "EC" and before.form.endswith("면") and after and after.form == "되" and latest
            ):
                latest.negations += 1  # -면 안 되다
            else:
                pending += 1
        elif tag in ("VX", "VV", "VA") and form in ("않", "말", "못하") and latest and _after_ji(tokens, i):
            latest.negations += 1
        elif tag == "VCN" or (tag == "VA" and form == "없" and not _after_su(tokens, i)):
            if before and before.form == "밖에":
                pending = 0
            else:
                latest = _negated_noun(said)
        elif form in ("없", "있") and tag in _PREDICATES:
            if form == "없" and latest:  # -ㄹ 수 없다
                latest.negations += not (before and before.form == "밖에")
        elif tag in _NOUNS:
            latest = _noun(token, before, after)
            said.append(latest)
            if after and after.tag in ("XSV", "XSA"):
                latest.negations, pending = latest.negations + pending, 0
        elif tag in ("XSV", "XSA"):  # 참여 안 하다
            if said:
                said[-1].negations += pending
            pending = 0
        elif tag in _PREDICATES and not (form == "되" and before and before.form in ("안", "못") and not pending):
            if form in _LIGHT and said and said[-1].noun:  # 접속이 안 되다, 이득을 보지 못하다
                latest = said[-1]
                latest.negations += pending
            elif form in _SAYS and latest and before and before.tag == "EC" and before.form.endswith("고"):
                latest.negations += pending  # 떨어진다고 볼 수 없다
            else:
                latest = _Said(form, pending, False)
                said.append(latest)
            pending = 0
    for item in said:
        if item.stem in _LIGHT and not item.negations % 2:
            continue
        words.note(item.stem, so=item.negations % 2 == 0)
        (words.nouns if item.noun else words.predicates).append(item.stem)


def _noun(token: Morpheme, before: Morpheme | None, after: Morpheme | None) -> _Said:
    prefixed = before is not None and before.tag == "XPN" and before.form in _NEGATIVE_PREFIXES
    whole = _WHOLE_NEGATIVES.get(token.form)
    subject = after is not None and after.tag in ("JKS", "JKC", "JX")
    return _Said(whole or token.form, int(prefixed) + int(whole is not None), True, subject)


def _after_ji(tokens: Sequence[Morpheme], i: int) -> bool:
    """-지, also with a particle: 떨어지지(는) 않다"""
    back = i - 1
    while back >= 0 and tokens[back].tag in ("JX", "JKO", "JKS"):
        back -= 1
    return back >= 0 and tokens[back].tag in ("EC", "EF") and tokens[back].form.endswith("지")


def _after_su(tokens: Sequence[Morpheme], i: int) -> bool:
    back = i - 1
    while back >= 0 and tokens[back].tag in ("JX", "JKS", "JKO"):
        back -= 1
    return (
        back > 0 and tokens[back].tag == "NNB" and tokens[back].form in ("수", "리") and tokens[back - 1].tag == "ETM"
    )


def _negated_noun(said: list[_Said]) -> _Said:
    """The nearest subject of the clause, else the nearest noun: 증거가 없다, 학생 아님."""
    clause: list[_Said] = []
    for item in reversed(said):
        if not item.noun:
            break
        clause.append(item)
    target = next((item for item in clause if item.subject), clause[0] if clause else None)
    if target is None:
        target = _Said("", 0, True)
        said.append(target)
    target.negations += 1
    return target


def _english(text: str, words: Words) -> None:
    negated = 0
    reach = 0  # words left in which the negation finds what it negates
    tokens = _ENGLISH_WORD.findall(text)
    for i, token in enumerate(tokens):
        low = token.casefold().replace("’", "'")
        if not low[0].isalpha():
            if negated:
                words.note("", so=False)
            negated = 0
            continue
        following = tokens[i + 1].casefold() if i + 1 < len(tokens) else ""
        if low == "not" and following in ("only", "just", "merely"):
            continue
        if low in _NEGATORS or low.endswith("n't"):
            negated, reach = negated + 1, 5
            continue
        if low in _STOP or len(low) < 2:
            reach -= 1
            continue
        words.note(stem(low), so=negated % 2 == 0 or reach <= 0)
        words.nouns.append(stem(low))
        negated = 0
    if negated:
        words.note("", so=False)
