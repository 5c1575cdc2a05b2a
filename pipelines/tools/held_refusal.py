"""Holds back the beginning of an answer while it may still be the sentence "the documents do not tell".

A model's refusal is not shown before the tools were asked: a reader would see it and then an answer. Costs an answer
nothing but the few characters that it shares with that sentence. Knows nothing about tools.
"""

from __future__ import annotations

from pipelines.prompt import NO_ANSWER

_SENTENCES = tuple("".join(sentence.split()).casefold().rstrip(".") for sentence in NO_ANSWER.values())


class HeldRefusal:
    """`feed` what is to be shown; `close` gives what is held in the end. `is_refusal`: nothing but that sentence came."""

    def __init__(self) -> None:
        self._held = ""
        self._open = False

    @property
    def is_refusal(self) -> bool:
        return not self._open and self._folded() in _SENTENCES

    def feed(self, text: str) -> str:
        if self._open:
            return text
        self._held += text
        folded = self._folded()
        if any(sentence.startswith(folded) for sentence in _SENTENCES):
            return ""
        return self.close()

    def close(self) -> str:
        held, self._held, self._open = self._held, "", True
        return held

    def _folded(self) -> str:
        return "".join(self._held.split()).casefold().rstrip(".")
