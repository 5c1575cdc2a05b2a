"""How many tokens a text takes in a model whose tokenizer is not here."""

from __future__ import annotations

import re

_WIDE = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_TOKENS_PER_WIDE = 0.8  # Qwen 2.5 takes 0.6 to 0.75 a Hangul syllable
_DIGIT = re.compile(r"[0-9]")  # Qwen's tokenizer takes each digit by itself
_SIGN = re.compile(r"[!-/:-@\[-`{-~\n]")
_TOKENS_PER_SIGN = 0.6  # of a table's or a program's, which come in twos and threes
_FOREIGN = re.compile(r"[^\x00-\x7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_TOKENS_PER_FOREIGN = 1.0  # Cyrillic half of that, an emoji up to three
_TOKENS_PER_OTHER = 0.3  # English text: a token for four to five letters
_TOKENS_PER_MESSAGE = 8  # role and marks of the chat template


def estimate_tokens(text: str) -> int:
    """Rather too many than too few: what is estimated to fit must fit."""
    wide, digits, signs, foreign = (len(kind.findall(text)) for kind in (_WIDE, _DIGIT, _SIGN, _FOREIGN))
    other = len(text) - wide - digits - signs - foreign
    tokens = wide * _TOKENS_PER_WIDE + digits + signs * _TOKENS_PER_SIGN + foreign * _TOKENS_PER_FOREIGN
    return round(tokens + other * _TOKENS_PER_OTHER) + _TOKENS_PER_MESSAGE
