"""Names and codes of a sentence: Korean proper nouns, capitalised words, Latin codes (HBM3E); and whether a text has them.

Knows no people and no places: what is not spelled alike, but for endings such as 시 and 대학교, is another name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from pipelines.checking.morphemes import Morpheme
from pipelines.checking.words import stem

_GENERIC_END = re.compile(
    r"(?:대학교|대학|특별시|광역시|특별자치시|특별자치도|주식회사|그룹|공화국|왕국|제국|시|도|군|구|읍|면|동|주|강|산|섬|역|사|당|국)$"
)
_WORD = re.compile(r"[A-Za-zÀ-ÿ][\w.&+#’'-]*[\w+#]|[A-Za-zÀ-ÿ]")
_CODE = re.compile(r"(?<![\w.-])(?=[\w.-]*[A-Za-z])(?=[\w.-]*\d)[A-Za-z0-9]+(?:[-._/][A-Za-z0-9]+)*")
_OPENS = re.compile(r"(?:^|[.!?:;…]\s+|[\"“‘(\n·]\s*)$")
# Capitalised, but no name; or part of a name that is often left out.
_NO_NAMES = frozenset(
    "i the a an mr mrs ms dr prof sir lord president king queen prince princess saint st general captain professor "
    "january february march april may june july august september october november december jan feb mar apr jun jul aug sep "
    "sept oct nov dec monday tuesday wednesday thursday friday saturday sunday usd krw eur jpy gbp cny q1 q2 q3 q4 fy am pm "
    "ad bc ce bce km kg cm mm mb gb tb kb hz yes no ok inc corp ltd co llc company corporation".split()
)
_ALIASES = [
    {"us", "u.s", "usa", "u.s.a", "america", "american", "united states"},
    {"uk", "u.k", "britain", "british", "united kingdom", "great britain"},
    {"eu", "e.u", "european union"},
    {"un", "u.n", "united nations"},
    {"한국", "대한민국", "남한"},
    {"미국", "미합중국"},
    {"영국", "대영제국"},
    {"북한", "조선민주주의인민공화국"},
]


def condensed(text: str) -> str:
    """Small letters without spaces and signs: "서울 대학교" and "서울대학교" are one."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


class Naming:
    """A text in which names are looked for; made once for a passage, used for all claims."""

    def __init__(self, *texts: str) -> None:
        self.text = unicodedata.normalize("NFKC", " \n ".join(texts))
        self._letters = condensed(self.text)
        self._words = {word.casefold().strip(".") for word in _WORD.findall(self.text)}
        self._stems = {stem(word) for word in self._words if word.isascii()}
        self._capitals = {w.casefold() for w in _WORD.findall(self.text) if w[:1].isupper()}
        self._initials = "".join(w[0] for w in _WORD.findall(self.text) if w[:1].isupper())

    def has(self, name: str) -> bool:
        """Whether `name` stands here, with or without its generic ending, as an alias or by its initials."""
        low = name.casefold()
        if any(low in alias and any(condensed(a) in self._letters for a in alias) for alias in _ALIASES):
            return True
        if name.isascii():
            return self._has_latin(name)
        letters = condensed(name)
        if letters in self._letters:
            return True
        bare = _GENERIC_END.sub("", letters)
        if len(bare) >= 2 and bare in self._letters:
            return True
        return len(letters) >= 5 and self._nearly(letters)

    def capitalised(self, word: str) -> bool:
        return word.casefold() in self._capitals

    def has_plain(self, word: str) -> bool:
        low = word.casefold()
        return low in self._words or stem(low) in self._stems

    def _has_latin(self, name: str) -> bool:
        low = re.sub(r"['’]s$", "", name.casefold()).strip(".")
        if low in self._words or stem(low) in self._stems or condensed(low) in self._letters:
            return True
        if name.isupper() and 2 <= len(name) <= 6:
            return name in self._initials
        parts = [part for part in re.split(r"[-./&]", low) if part]
        return len(parts) > 1 and all(part in self._words for part in parts)

    def _nearly(self, letters: str) -> bool:
        """One syllable differs: foreign names are spelled in more than one way (콜로라도, 컬로라도)."""
        return any(
            letters[:i] + letters[i + 1 :]
            and re.search(re.escape(letters[:i]) + "." + re.escape(letters[i + 1 :]), self._letters)
            for i in range(len(letters))
        )


def names_in(text: str, morphemes: Sequence[Morpheme], *, source: Naming | None = None) -> list[str]:
    """Names in their order. `source`: decides whether a capitalised first word is a name (it is capitalised there too)."""
    found = [name for name in _korean(morphemes) if len(name) > 1]
    text = unicodedata.normalize("NFKC", text)
    codes = [code for code in _CODE.findall(text) if not re.fullmatch(r"\d+(?:st|nd|rd|th|s|[a-z]{1,2})", code)]
    words = list(_WORD.finditer(text))
    for i, match in enumerate(words):
        word = re.sub(r"['’]s$", "", match.group()).strip(".")
        if not word or not word[0].isupper() or word.casefold() in _NO_NAMES or word in codes:
            continue
        if (
            _OPENS.search(text[max(0, match.start() - 4) : match.start()] or "\n"[: match.start() == 0])
            or match.start() == 0
        ):
            following = words[i + 1].group() if i + 1 < len(words) and words[i + 1].start() - match.end() <= 1 else ""
            named = word.isupper() and len(word) > 1
            named = named or (following[:1].isupper() and following.casefold() not in _NO_NAMES)
            named = named or _looks_like_name(word)
            if source is not None:
                named = (named or source.capitalised(word)) and not (source.has_plain(word))
            if not named:
                continue
        found.append(word)
    return list(dict.fromkeys([*found, *codes]))


_FIRST_WORDS = frozenset(
    "about above according accordingly across actually additionally after afterwards again against all almost along already "
    "also although always among an and another any anyone as at average based basically because before being below besides "
    "between beyond both but by certain companies compared consequently contrary current currently despite different due during "
    "each earlier early either else especially essentially even eventually every everyone everything example examples except "
    "few final finally first following for formerly four from further furthermore generally given half hence her here he his "
    "how however if in initially instead into is it its just last later less like many meanwhile members more moreover most "
    "much my near neither never nevertheless new next no nonetheless nor normally not note nothing notably now of off often "
    "on once one only on or original originally other others otherwise our out over overall part particularly people per "
    "perhaps please previously prior rather recent recently regarding results same second several she similarly simply since "
    "six so some sometimes soon specifically still students subsequently such ten than that the their them then there "
    "thereafter therefore these they third this those though three through throughout thus to today together too total two "
    "typically ultimately under unfortunately unless unlike until up upon usually various very was we well were what when "
    "whenever where whereas whether which while who whole whose why with within without workers would yes yet you your".split()
)


def _looks_like_name(word: str) -> bool:
    low = word.casefold()
    return (
        len(low) > 3
        and low not in _FIRST_WORDS
        and not re.search(r"(?:ing|ly|ed|tion|tions|ment|ments|ness|ers|ies|ity|ists?|ives?|als)$", low)
    )


def _korean(morphemes: Sequence[Morpheme]) -> Iterable[str]:
    """Proper nouns, neighbours without a space as one."""
    run: list[Morpheme] = []
    for token in [*morphemes, Morpheme("", "", -1, -1)]:
        if token.tag == "NNP" and (not run or token.start == run[-1].end):
            run.append(token)
            continue
        if run:
            yield "".join(part.form for part in run)
        run = [token] if token.tag == "NNP" else []
