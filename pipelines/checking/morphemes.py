"""Morphemes of Korean text, as (form, tag, start, end) in the text as given, and a memory of what was read lately.

Knows nothing about claims.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from knowledge.lexemes import Analyzer

_HANGUL = re.compile("[가-힣]")
_KEPT = 4000  # sentences; a turn has some dozens, and its passages come again in follow-ups


class Morpheme(NamedTuple):
    form: str
    tag: str  # Sejong tags; "VV-R" is given as "VV"
    start: int
    end: int


class MorphemeReader:
    """Safe to call from several threads at once."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._known: OrderedDict[str, tuple[Morpheme, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, texts: Sequence[str]) -> list[tuple[Morpheme, ...]]:
        """Of each text; () for one without Hangul. New texts are read together, on two processors where there are two."""
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        korean = [text for text in new if _HANGUL.search(text)]
        found.update((text, ()) for text in new)
        if korean:
            for text, tokens in zip(korean, self._analyzer.morphemes_of_each(korean), strict=True):
                found[text] = tuple(Morpheme(t.form, t.tag.partition("-")[0], t.start, t.end) for t in tokens)
        with self._lock:
            for text in texts:
                self._known[text] = found[text]
                self._known.move_to_end(text)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return [found[text] for text in texts]
