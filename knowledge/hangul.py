"""Hangul as the keys that type it on the usual Korean keyboard (두벌식), and back.

A key is the Latin letter on it: `r` types ㄱ, `R` (with shift) ㄲ. Compound vowels and final consonants take two keys.
Knows nothing about words.
"""

from __future__ import annotations

import re

_BASE, _LAST = 0xAC00, 0xD7A3
_CHO = "r R s e E f a q Q t T d w W c z x v g".split()
_JUNG = "k o i O j p u P h hk ho hl y n nj np nl b m ml l".split()
_JONG = ["", *"r R rt s sw sg e f fr fa fq ft fx fv fg a q qt t T d w c z x v g".split()]
_CHO_AT = {keys: at for at, keys in enumerate(_CHO)}
_JUNG_AT = {keys: at for at, keys in enumerate(_JUNG)}
_JONG_AT = {keys: at for at, keys in enumerate(_JONG)}
_VOWELS = frozenset("koiOjpuPhynbml")
# A letter that stands alone, as it is typed when its syllable is not finished.
_ALONE = dict(zip("ㄱㄲㄳㄴㄵㄶㄷㄸㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅃㅄㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ",
                  "r R rt s sw sg e E f fr fa fq ft fx fv fg a q Q qt t T d w W c z x v g".split(), strict=True))  # fmt: skip
_ALONE |= dict(zip("ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ", _JUNG, strict=True))
STRAY = re.compile(r"[ㄱ-ㅎㅏ-ㅣ]")
# Shift changes only these keys: any other capital types what the small letter types.
_SHIFTED = frozenset("RETQWOP")

SYLLABLES = re.compile(r"[가-힣]+")
VOWEL_KEYS = tuple(_JUNG)


def is_syllable(char: str) -> bool:
    return _BASE <= ord(char) <= _LAST


def to_keys(text: str) -> str | None:
    """The keys that type `text`; None where it has anything but Hangul."""
    keys = []
    for char in text:
        number = ord(char)
        if _BASE <= number <= _LAST:
            number -= _BASE
            keys.append(_CHO[number // 588] + _JUNG[number // 28 % 21] + _JONG[number % 28])
        elif char in _ALONE:
            keys.append(_ALONE[char])
        else:
            return None
    return "".join(keys)


def from_keys(keys: str) -> str | None:
    """What the keys type, if that is whole syllables alone; else None. Each key as in `to_keys`; case as it was pressed."""
    keys = "".join(key if key in _SHIFTED else key.lower() for key in keys)
    syllables: list[str] = []
    at = 0
    while at < len(keys):
        end = _syllable_end(keys, at)
        if end is None:
            return None
        syllables.append(_syllable(keys[at:end]))
        at = end
    return "".join(syllables)


def _syllable_end(keys: str, at: int) -> int | None:
    """Where the syllable that begins at `at` ends; None if none begins there."""
    if keys[at] not in _CHO_AT:
        return None
    vowel = at + 1
    if keys[vowel : vowel + 2] in _JUNG_AT and len(keys[vowel : vowel + 2]) == 2:
        end = vowel + 2
    elif keys[vowel : vowel + 1] in _JUNG_AT:
        end = vowel + 1
    else:
        return None
    # A consonant closes the syllable unless a vowel follows it, which makes it the next one's first.
    for length in (2, 1):
        final = keys[end : end + length]
        if len(final) == length and final in _JONG_AT and keys[end + length : end + length + 1] not in _VOWELS:
            return end + length
    return end


def _syllable(keys: str) -> str:
    vowel = keys[1:3] if keys[1:3] in _JUNG_AT and len(keys) > 2 else keys[1]
    return chr(_BASE + _CHO_AT[keys[0]] * 588 + _JUNG_AT[vowel] * 28 + _JONG_AT[keys[1 + len(vowel) :]])
