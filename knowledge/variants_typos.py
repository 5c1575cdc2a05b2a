"""Words that a slip of the fingers or of the spelling turns into a given one: what a question may have meant.

A word is looked at as the keys that type it (knowledge/hangul.py), one mistake at a time: a vowel or consonant mistaken for one
that sounds alike or lies beside it, a key struck twice, forgotten, or before the other. Knows nothing about which words exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from knowledge.hangul import VOWEL_KEYS, from_keys, to_keys

_ALIKE_VOWELS = (("o", "p", "O", "P"), ("hl", "ho", "np"), ("h", "j"), ("n", "m"), ("k", "o"), ("p", "l"), ("l", "m"))
_ALIKE_CONSONANTS = ("rRz", "eEx", "qQv", "tT", "wWc", "tw")
_ROWS = ("qwert", "asdfg", "zxcv")  # the left hand's keys type consonants, the right hand's vowels
_CONSONANTS = "rsefaqtdwczxvgRET"
_ALIKE_COST, _OTHER_COST = 0.5, 1.0


@lru_cache(maxsize=1)
def _neighbours() -> dict[str, str]:
    near: dict[str, set[str]] = {}
    for y, row in enumerate(_ROWS):
        for x, key in enumerate(row):
            around = [(y, x - 1), (y, x + 1), (y - 1, x), (y - 1, x + 1), (y + 1, x - 1), (y + 1, x)]
            near[key] = {_ROWS[b][a] for b, a in around if 0 <= b < len(_ROWS) and 0 <= a < len(_ROWS[b])}
    return {key: "".join(sorted(others)) for key, others in near.items()}


def misspellings(word: str, first: int, last: int) -> dict[str, float]:
    """Words of whole syllables one mistake away, none longer → what it costs, 0.5 or 1. Only syllables `first` to `last` change."""
    before, middle, after = word[:first], word[first : last + 1], word[last + 1 :]
    keys = to_keys(middle)
    if keys is None:
        return {}
    twice = [at for at in range(1, len(middle)) if middle[at] == middle[at - 1]]
    found = {before + middle[:at] + middle[at + 1 :] + after: _ALIKE_COST for at in twice}
    for changed, cost in _edits(keys):
        composed = from_keys(changed)
        if composed and composed != middle and len(composed) <= len(middle):
            candidate = before + composed + after
            found[candidate] = min(cost, found.get(candidate, cost))
    return found


def _edits(keys: str) -> Iterator[tuple[str, float]]:
    near = _neighbours()
    for at in range(len(keys)):
        before, after = keys[:at], keys[at + 1 :]
        yield before + after, _ALIKE_COST if keys[at : at + 1] in (keys[at - 1 : at], after[:1]) else _OTHER_COST
        if after:
            yield before + after[0] + keys[at] + after[1:], _OTHER_COST
        for group in _ALIKE_CONSONANTS:
            if keys[at] in group:
                yield from ((before + other + after, _ALIKE_COST) for other in group if other != keys[at])
        for other in near.get(keys[at].lower(), ""):
            yield before + other + after, _OTHER_COST
        for other in _CONSONANTS:
            yield before + other + keys[at:], _OTHER_COST
    for other in _CONSONANTS:
        yield keys + other, _OTHER_COST
    yield from _vowel_edits(keys)


def _vowel_edits(keys: str) -> Iterator[tuple[str, float]]:
    for at in range(len(keys)):
        for length in (2, 1):
            vowel = keys[at : at + length]
            if len(vowel) == length and vowel in VOWEL_KEYS:
                for other in VOWEL_KEYS:
                    if other != vowel:
                        alike = any(vowel in group and other in group for group in _ALIKE_VOWELS)
                        yield keys[:at] + other + keys[at + length :], _ALIKE_COST if alike else _OTHER_COST
