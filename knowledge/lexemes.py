"""Words of Korean and English text, for the words leg of the search: what goes into the index and what a question asks.

Three kinds of lexemes, which never collide:
  `환율`    content morphemes by Kiwi (nouns, verb and adjective stems, roots): particles and endings fall away
  `#환율`   pairs of neighbouring Hangul syllables inside a word: finds compounds however they are spaced or segmented
  `price`   Latin words as Snowball stems; numbers and codes whole and in lower case (`hbm3e`, `2024-03`, `1000`, `3.5%`)

Morphemes alone miss words that Kiwi segments differently in a question and in a sentence (재택근무); pairs alone are
noisier. Both together were best on Korean sets: nDCG@10 .966 against .955 and .956 alone (KorQuAD, BM25).
Knows nothing about weights, documents or databases.
"""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import snowballstemmer
from kiwipiepy import Kiwi, Token

LEXEME_VERSION = "kiwi-content+bigram+snowball/1"

_CONTENT_TAGS = frozenset({"NNG", "NNP", "NR", "VV", "VA", "XR", "MAG", "SH"})
_HANGUL_RUN = re.compile(r"[가-힣]{2,}")
_HANGUL = re.compile(r"[가-힣]")
_HANGUL_LETTERS = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]+")
_LATIN_LETTERS = re.compile(r"[A-Za-z]+")
_SPACE = re.compile(r"\s")
# Number with separators and unit sign, or a word/code of Latin letters and digits joined by - _ . / + #
_LATIN = re.compile(
    r"\d[\d,]*(?:\.\d+)?%?(?![A-Za-z0-9_./-]\d|[A-Za-z0-9_])|[A-Za-z0-9]+(?:[-_./+#][A-Za-z0-9]+)*[+#]*%?"
)
_ARTICLE = re.compile(r"제\s?\d+\s?[조항호장절편]")
_CACHED_CHARS = 64  # longer words are no words: kept out of the cache, which they would fill
_CLASSES = 56  # Kiwi's numbers below this are classes of words, not words
_PLAIN_WORD = re.compile(r"[a-z]+")
_ENGLISH_STOPWORDS = frozenset(
    "a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it "
    "its me my of on or our she should so such than that the their them then there these they this those to us was we "
    "were what when where which who whom whose why will with would you your".split()
)
_KOREAN_STOPWORDS = frozenset(
    ["하", "되", "있", "없", "않", "어떻", "무엇", "것", "수", "때", "등", "대하", "위하", "알"]
)


class PlacedWords(NamedTuple):
    """The lexemes of a text, parallel to where each begins in the text's NFKC form; ordered by neither."""

    lexemes: list[str]
    starts: list[int]


@dataclass(frozen=True, slots=True)
class Morpheme:
    """`text[start:end]` of the text it was found in. `tag`: its class, as Kiwi names them. `is_known`: it stands in the
    dictionary and is no guess."""

    form: str
    start: int
    end: int
    tag: str
    is_known: bool

    @property
    def is_content(self) -> bool:
        return _is_content(self.tag)

    @property
    def is_noun(self) -> bool:
        """A noun, or what stands before or behind one: names that are unknown are often taken apart into such."""
        return self.tag.startswith(("N", "XPN", "XSN", "XR", "MM"))


class Analyzer:
    """Turns text into lexemes. Loading Kiwi takes about 0.5 s and 240 MB, so it happens at the first Korean text.

    Both methods may be called from several threads at once. Kiwi takes most of the time, without the GIL.
    """

    def __init__(self) -> None:
        self._kiwi: Kiwi | None = None
        self._loading = threading.Lock()

    def analyze(self, text: str) -> Counter[str]:
        """Lexeme → how often it occurs in `text`. Empty for text without words."""
        text = _normal(text)
        return _counted(text, self._tokenizer().tokenize(text) if _HANGUL.search(text) else [])

    def analyze_many(self, texts: Iterable[str]) -> list[Counter[str]]:
        """`analyze` of each text, on two processors where there are two."""
        normal = [_normal(text) for text in texts]
        korean = [text for text in normal if _HANGUL.search(text)]
        tokens = iter(self._tokenizer().tokenize(korean) if korean else [])
        return [_counted(text, next(tokens) if _HANGUL.search(text) else []) for text in normal]

    def place_many(self, texts: Iterable[str]) -> list[PlacedWords]:
        """The lexemes that `analyze_many` counts, with their places."""
        normal = [_normal(text) for text in texts]
        korean = [text for text in normal if _HANGUL.search(text)]
        tokens = iter(self._tokenizer().tokenize(korean) if korean else [])
        return [_placed(text, next(tokens) if _HANGUL.search(text) else []) for text in normal]

    def morphemes(self, text: str) -> list[Morpheme]:
        """The morphemes of `text`, which is taken as it is (NFC), in order."""
        return [_morpheme(token) for token in self._tokenizer().tokenize(text)]

    def morphemes_of_each(self, texts: Iterable[str]) -> list[list[Morpheme]]:
        return [[_morpheme(token) for token in tokens] for tokens in self._tokenizer().tokenize(list(texts))]

    def respaced(self, text: str) -> str:
        """`text` with the spaces of a well-typed sentence, whatever spaces it had."""
        return str(self._tokenizer().space(text, reset_whitespace=True))

    def warm_up(self) -> None:
        """Load Kiwi now, so that the first question does not wait for it."""
        self.analyze("준비")

    def _tokenizer(self) -> Kiwi:
        with self._loading:
            if self._kiwi is None:
                # The optional dictionaries cost 270 MB; without them nDCG@10 was the same (.935 AutoRAG, .968 KorQuAD).
                workers = 2 if (os.cpu_count() or 1) > 1 else 1
                self._kiwi = Kiwi(
                    num_workers=workers, load_default_dict=False, load_multi_dict=False, load_typo_dict=False
                )
            return self._kiwi


def _morpheme(token: Token) -> Morpheme:
    # A form that is in no dictionary has the number of its class as its own.
    return Morpheme(token.form, token.start, token.end, token.tag, token.id >= _CLASSES)


def _normal(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _counted(text: str, tokens: Iterable[Token]) -> Counter[str]:
    """The lexemes of a text whose morphemes are `tokens`. Counted once at the end: `update` word by word is slow."""
    lexemes: list[str] = []
    for word in _LATIN.findall(text):
        lexemes += _latin(word) if len(word) <= _CACHED_CHARS else _latin.__wrapped__(word)
    if text.isascii():
        return Counter(lexemes)
    lexemes += [_SPACE.sub("", article) for article in _ARTICLE.findall(text)]
    lexemes += [token.form for token in tokens if _is_content(token.tag) and token.form not in _KOREAN_STOPWORDS]
    for run in _HANGUL_RUN.findall(text):
        lexemes += [f"#{run[i : i + 2]}" for i in range(len(run) - 1)]
    return Counter(lexemes)


def _placed(text: str, tokens: Iterable[Token]) -> PlacedWords:
    """What `_counted` counts, with places, which take a third longer."""
    lexemes: list[str] = []
    starts: list[int] = []
    for match in _LATIN.finditer(text):
        word = match.group()
        found = _latin(word) if len(word) <= _CACHED_CHARS else _latin.__wrapped__(word)
        lexemes += found
        starts += [match.start()] * len(found)
    if text.isascii():
        return PlacedWords(lexemes, starts)
    for match in _ARTICLE.finditer(text):
        lexemes.append(_SPACE.sub("", match.group()))
        starts.append(match.start())
    for token in tokens:
        if _is_content(token.tag) and token.form not in _KOREAN_STOPWORDS:
            lexemes.append(token.form)
            starts.append(token.start)
    for match in _HANGUL_RUN.finditer(text):
        run = match.group()
        lexemes += [f"#{run[i : i + 2]}" for i in range(len(run) - 1)]
        starts += range(match.start(), match.end() - 1)
    return PlacedWords(lexemes, starts)


def numbers_in(text: str) -> frozenset[str]:
    """The lexemes of `text` that hold digits."""
    text = _normal(text)
    found = {lexeme for word in _LATIN.findall(text) for lexeme in _latin.__wrapped__(word)}
    found.update(_SPACE.sub("", article) for article in _ARTICLE.findall(text))
    return frozenset(lexeme for lexeme in found if any(map(str.isdigit, lexeme)))


def normal_places(text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Where starts and ends of `spans` of `text` lie in its NFKC form, one after the other."""
    places = [place for span in spans for place in span]
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return places
    found: dict[int, int] = {}
    done = total = 0
    for place in sorted(set(places)):
        total += len(_normal(text[done:place]))
        found[place], done = total, place
    return [found[place] for place in places]


@lru_cache(maxsize=256)
def _is_content(tag: str) -> bool:
    return tag.partition("-")[0] in _CONTENT_TAGS  # "VV-R" and the like are regular/irregular variants of one class


@lru_cache(maxsize=50_000)
def _latin(word: str) -> tuple[str, ...]:
    word = word.lower()
    if word[0].isdigit() and word.replace(",", "").replace(".", "").rstrip("%").isdigit():
        number = word.replace(",", "")
        return (number, number[:-1]) if number.endswith("%") else (number,)
    if _PLAIN_WORD.fullmatch(word):
        return () if word in _ENGLISH_STOPWORDS else (stem(word),)
    # A code counts whole and by its parts, so that "gpt-4o mini" meets "GPT-4o-mini".
    parts = [part for part in re.split(r"[-_./+#%]+", word) if part and part not in _ENGLISH_STOPWORDS]
    return (word, *(stem(part) for part in parts)) if len(parts) > 1 else (word,)


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The Snowball stem of an English word in small letters; anything else stays as it is."""
    if not _PLAIN_WORD.fullmatch(word):
        return word
    stemmer = getattr(_stemmers, "english", None)
    if stemmer is None:  # a stemmer keeps state while it works: one a thread
        stemmer = _stemmers.english = snowballstemmer.stemmer("english")
    return str(stemmer.stemWord(word))


_stemmers = threading.local()


def language_of(text: str, *, latin_to_hangul: int = 9) -> str:
    """ "ko" where at most `latin_to_hangul` Latin letters come to one of Hangul, else "en" where there are any, else "und"."""
    hangul = 0 if text.isascii() else sum(map(len, _HANGUL_LETTERS.findall(text)))
    latin = sum(map(len, _LATIN_LETTERS.findall(text)))
    if hangul * latin_to_hangul >= latin and hangul:
        return "ko"
    return "en" if latin else "und"
