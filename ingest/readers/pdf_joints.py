"""What stands between the end of a wrapped line and the next line: a space, or nothing inside a Korean word. No PDF.

Korean is wrapped at words or between any two syllables, and a PDF does not say which. Lines that keep the space they
were wrapped at tell it. Justified lines keep none; there a line that begins with a particle ("에서는") shows that
words are broken, and the words of the document and the shape of the halves decide.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ingest.readers.pdf_model import Line

_MIN_WRAPPED = 5
_SPACED_SHARE, _MAX_SPACED_SHARE = 0.1, 0.85
_MIN_BROKEN, _MIN_BROKEN_SHARE = 2, 0.05
_WRAPPED_REACH = 0.8
_MAX_WORDS = 200_000
_HYPHENATED = re.compile(r"(?<![-\d])\b[A-Za-z]{2,30}-$")
_MARKS = "\"'“”‘’「」『』《》〈〉()[]{}.,;:!?…·"
# Particles and endings that no word consists of or begins with: "다" of "한다", but not "이" (this) or "만" (10,000).
_BOUND = re.compile(
    r"(?:은|는|을|를|에|에서|에게|에는|에서는|에서의|에도|으로|으로서|으로써|로|로서|로써|로는|으로는|의|와의|과의|들은|들을|들의|들이"
    r"|서는|지는|까지|부터|보다|마다|처럼|조차|밖에|라는|라고|이라는|이라고|이므로|이며|이고|이나|이다|며|고|거나|지만|면서|므로"
    r"|습니다|입니다|합니다|됩니다|니다|다)"
)
_AFTER_LATIN = re.compile(rf"(?:{_BOUND.pattern}|이|가|도|만|와|과)")
_WHOLE_END = re.compile(
    r".[은는을를의에와과도로면]$|(?:에서|에게|으로|까지|부터|보다|처럼|하여|하고|하며|하지|되어|되고|되며|되지|있는|없는|한다|된다|하는|되는"
    r"|대한|따라|위해|통해|해야|지만|않은|않고|라고|그리고|또는|이상|이하|동안|짜리|모두|및|등)$"
)
_PARTICLE_END = re.compile(r"[이가만당]$")


class Joints:
    """Joins wrapped lines of one document, judging by all its `pages`."""

    def __init__(self, pages: Sequence[Sequence[Line]]) -> None:
        wrapped = list(_wrapped_pairs(pages))
        spaced = sum(line[-1].isspace() for line, _ in wrapped)
        enough = len(wrapped) >= _MIN_WRAPPED
        self._words: Counter[str] = Counter()
        self._stems: set[str] = set()
        self.keeps_spaces = enough and _SPACED_SHARE * len(wrapped) < spaced < _MAX_SPACED_SHARE * len(wrapped)
        if not enough or spaced >= _MAX_SPACED_SHARE * len(wrapped):
            self.breaks_words = False
            return
        self._words = _words(pages)
        self._stems = {stem for word in self._words for stem in (word, word[:-1]) if len(stem) > 1}
        broken = sum(self._is_surely_broken(line, following) for line, following in wrapped)
        self.breaks_words = self.keeps_spaces or broken >= max(_MIN_BROKEN, _MIN_BROKEN_SHARE * len(wrapped))

    def joined(self, text: str, line: str) -> str:
        """`text` and the `line` that goes on with it."""
        if _HYPHENATED.search(text[-40:]) and line.lstrip()[:1].islower():
            return text[:-1] + line.lstrip()
        apart = text[-1:].isspace() or line[:1].isspace() or not self._is_inside_word(text, line)
        return f"{text.rstrip()} {line.lstrip()}" if apart else text + line

    def _is_inside_word(self, text: str, line: str) -> bool:
        before, after = text[-1:], line[:1]
        if not self.breaks_words or not (is_cjk(before) or before.isalnum() or before in ")%"):
            return False
        if after == "(":
            return is_cjk(before)
        if not is_cjk(after):
            return False
        first, second = _halves(text, line)
        if not is_cjk(before):
            return before.isdigit() or bool(_AFTER_LATIN.fullmatch(second))  # "15|일", "CSV|와"
        if self._words[first + second] or (_BOUND.fullmatch(second) and not _WHOLE_END.search(first)):
            return True
        first_is_word = self._words[first] > 0 and len(first) > 1
        second_is_word = self._words[second] > 0 and len(second) > 1
        if self.keeps_spaces:  # LibreOffice loses the space of one line in thirty
            return not (first_is_word and second_is_word)
        return not (
            first_is_word
            or (second_is_word and len(second) > 2)
            or _WHOLE_END.search(first)
            or self._is_with_particle(first, second_is_word)
        )

    def _is_with_particle(self, word: str, next_is_word: bool) -> bool:
        """True for "사람이" where "사람" or "사람은" stand elsewhere, or a word follows."""
        if len(word) < 3 or not _PARTICLE_END.search(word):
            return False
        return next_is_word or word[:-1] in self._stems

    def _is_surely_broken(self, line: str, following: str) -> bool:
        if line[-1].isspace():
            return False
        first, second = _halves(line, following)
        return bool(_BOUND.fullmatch(second)) or bool(self._words[first + second] and not self._words[second])


def _wrapped_pairs(pages: Sequence[Sequence[Line]]) -> Iterator[tuple[str, str]]:
    for lines in pages:
        for line, following in pairwise(lines):
            last = line.text.rstrip()[-1:]
            if last and is_cjk(last) and is_cjk(following.text[:1] or " ") and line.reach > _WRAPPED_REACH:
                yield line.text, following.text


def _words(pages: Sequence[Sequence[Line]]) -> Counter[str]:
    """Words that stand inside lines, where nothing is broken."""
    words: Counter[str] = Counter()
    for lines in pages:
        for line in lines:
            words.update(word.strip(_MARKS) for word in line.text.split()[1:-1])
            if len(words) > _MAX_WORDS:
                return words
    return words


def _halves(text: str, line: str) -> tuple[str, str]:
    return text[-40:].split()[-1].lstrip(_MARKS), line[:40].split()[0].rstrip(_MARKS)


def is_cjk(char: str) -> bool:
    return "가" <= char <= "힣" or "一" <= char <= "鿿"
