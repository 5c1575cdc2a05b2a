"""How many tokens a text takes in a model whose tokenizer is not here."""

from __future__ import annotations

import re

_WIDE = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_TOKENS_PER_WIDE = 0.8  # Qwen 2.5 takes 0.6 to 0.75 a Hangul syllable
_TOKENS_PER_OTHER = 0.3
_TOKENS_PER_MESSAGE = 8  # role and marks of the chat template


def estimate_tokens(text: str) -> int:
    """Rather too many than too few: what is estimated to fit must fit."""
    wide = len(_WIDE.findall(text))
    return round(wide * _TOKENS_PER_WIDE + (len(text) - wide) * _TOKENS_PER_OTHER) + _TOKENS_PER_MESSAGE
