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

import re
import threading
import unicodedata
from collections import Counter
from functools import lru_cache

import snowballstemmer
from kiwipiepy import Kiwi

LEXEME_VERSION = "kiwi-content+bigram+snowball/1"

_CONTENT_TAGS = frozenset({"NNG", "NNP", "NR", "VV", "VA", "XR", "MAG", "SH"})
_HANGUL_RUN = re.compile(r"[가-힣]{2,}")
_HANGUL = re.compile(r"[가-힣]")
# Number with separators and unit sign, or a word/code of Latin letters and digits joined by - _ . / + #
_LATIN = re.compile(
    r"\d[\d,]*(?:\.\d+)?%?(?![A-Za-z0-9_./-]\d|[A-Za-z0-9_])|[A-Za-z0-9]+(?:[-_./+#][A-Za-z0-9]+)*[+#]*%?"
)
_ARTICLE = re.compile(r"제\s?\d+\s?[조항호장절편]")
_PLAIN_WORD = re.compile(r"[a-z]+")
_ENGLISH_STOPWORDS = frozenset(
    "a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it "
    "its me my of on or our she should so such than that the their them then there these they this those to us was we "
    "were what when where which who whom whose why will with would you your".split()
)
_KOREAN_STOPWORDS = frozenset(
    ["하", "되", "있", "없", "않", "어떻", "무엇", "것", "수", "때", "등", "대하", "위하", "알"]
)


class Analyzer:
    """Turns text into lexemes. Loading Kiwi takes about 0.5 s and 240 MB, so it happens at the first Korean text.

    `analyze` may be called from several threads at once.
    """

    def __init__(self) -> None:
        self._kiwi: Kiwi | None = None
        self._loading = threading.Lock()

    def analyze(self, text: str) -> Counter[str]:
        """Lexeme → how often it occurs in `text`. Empty for text without words."""
        text = unicodedata.normalize("NFKC", text)
        found: Counter[str] = Counter()
        for match in _LATIN.finditer(text):
            found.update(_latin(match.group()))
        found.update(re.sub(r"\s", "", article) for article in _ARTICLE.findall(text))
        if _HANGUL.search(text):
            found.update(self._morphemes(text))
            for run in _HANGUL_RUN.findall(text):
                found.update(f"#{run[i : i + 2]}" for i in range(len(run) - 1))
        return found

    def warm_up(self) -> None:
        """Load Kiwi now, so that the first question does not wait for it."""
        self.analyze("준비")

    def _morphemes(self, text: str) -> list[str]:
        return [
            token.form
            for token in self._tokenizer().tokenize(text)
            # "VV-R" and the like are regular/irregular variants of the same class
            if token.tag.partition("-")[0] in _CONTENT_TAGS and token.form not in _KOREAN_STOPWORDS
        ]

    def _tokenizer(self) -> Kiwi:
        with self._loading:
            if self._kiwi is None:
                # The optional dictionaries cost 270 MB; without them nDCG@10 was the same (.935 AutoRAG, .968 KorQuAD).
                self._kiwi = Kiwi(num_workers=1, load_default_dict=False, load_multi_dict=False, load_typo_dict=False)
            return self._kiwi


def _latin(word: str) -> list[str]:
    word = word.lower()
    if word[0].isdigit() and word.replace(",", "").replace(".", "").rstrip("%").isdigit():
        number = word.replace(",", "")
        return [number, number[:-1]] if number.endswith("%") else [number]
    if _PLAIN_WORD.fullmatch(word):
        return [] if word in _ENGLISH_STOPWORDS else [_stem(word)]
    # A code counts whole and by its parts, so that "gpt-4o mini" meets "GPT-4o-mini".
    parts = [part for part in re.split(r"[-_./+#%]+", word) if part and part not in _ENGLISH_STOPWORDS]
    return [word, *(_stem(part) for part in parts)] if len(parts) > 1 else [word]


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    if not _PLAIN_WORD.fullmatch(word):
        return word
    stemmer = getattr(_stemmers, "english", None)
    if stemmer is None:  # a stemmer keeps state while it works: one a thread
        stemmer = _stemmers.english = snowballstemmer.stemmer("english")
    return str(stemmer.stemWord(word))


_stemmers = threading.local()


def language_of(text: str) -> str:
    """ "ko" where at least a tenth of the letters are Hangul, else "en" where there are Latin letters, else "und"."""
    hangul = len(re.findall(r"[가-힣ㄱ-ㅎㅏ-ㅣ]", text))
    latin = len(re.findall(r"[A-Za-z]", text))
    if hangul * 9 >= latin and hangul:
        return "ko"
    return "en" if latin else "und"
