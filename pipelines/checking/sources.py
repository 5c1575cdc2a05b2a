"""The sentences of a cited passage, and which of them a claim is to be held against.

The best sentence alone, by the words it shares with the claim; a further one joins only if it covers what the first
leaves uncovered, and never for the sake of a number or a name: else every year of a passage would support every other
(with whole passages as evidence nine of ten wrong years went unseen, with the best two sentences half of them).
Knows nothing about what makes a claim right.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from knowledge.sentences import sentence_spans
from knowledge.types import Evidence
from pipelines.checking.names import Naming
from pipelines.checking.quantities import Figures, figures, scales_of
from pipelines.checking.statements import plain
from pipelines.checking.words import _STOP, stem
from pipelines.quotable import quotables

_TOKEN = re.compile(r"[가-힣]+|[a-zA-ZÀ-ÿ]+|\d[\d,]*(?:\.\d+)?")
_TABLE_ROW = re.compile(r"[ \t]*\|.*\|", re.DOTALL)
_TABLE_RULE = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}[-:| \t]*$", re.MULTILINE)
_HEADING = re.compile(r"[ \t]{0,3}#{1,6} ")
_FORMATTING = re.compile(r"[\s*_`|#>]+")
_FORMATTED = re.compile(r"[|*`\[<_\\]|^[^\s:][^:\n]{0,40}: ?\S", re.MULTILINE)
_BOUNDARY = ".!?。…:·|\n"
_JOIN_GAIN = 0.15  # of the claim's words that a further sentence must cover anew
_MAX_JOINED = 2
_MAX_CHARS = 2000  # of one sentence
_CONTEXT_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Sentence:
    """`source.evidence.text[start:end]`; `context`: title, headings and table header it stands under."""

    text: str
    start: int
    end: int
    context: str
    tokens: frozenset[str]
    context_tokens: frozenset[str]


class Source:
    """A passage, prepared once for all claims that cite it."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.sentences = _sentences(evidence)
        self._naming: Naming | None = None
        self._figures: Figures | None = None
        self._quotable: list[str] | None = None

    @property
    def naming(self) -> Naming:
        if self._naming is None:
            self._naming = Naming(self.evidence.title, *self.evidence.heading, self.evidence.readable)
        return self._naming

    @property
    def figures(self) -> Figures:
        """Of the whole passage with its headings."""
        if self._figures is None:
            item = self.evidence
            self._figures = figures(" \n ".join([item.title, *item.heading, item.readable]))
        return self._figures

    @property
    def scales(self) -> tuple[float, ...]:
        return scales_of(" ".join([*self.evidence.heading, self.evidence.readable]))

    def quoted(self, claim: str) -> bool:
        """Whether the claim stands in the passage word for word, from the start to the end of a sentence, cell or field."""
        wanted = _formless(claim)
        if len(wanted) < 4:
            return False
        if self._quotable is None:
            self._quotable = [_formless(self.evidence.readable), _formless(self.evidence.title)]
            if _FORMATTED.search(self.evidence.text):  # quote mode writes it without its form
                self._quotable += [_formless(item.text) for item in quotables([self.evidence])]
        return any(_whole(wanted, text) for text in self._quotable)


@dataclass(frozen=True, slots=True)
class Window:
    """The sentences that a claim is held against; the first is the best. `covered`: share of the claim's words, 0..1."""

    parts: tuple[tuple[Source, Sentence], ...]
    covered: float

    @property
    def text(self) -> str:
        return " \n ".join(sentence.text[:_MAX_CHARS] for _, sentence in self.parts)

    @property
    def context(self) -> str:
        return " \n ".join(dict.fromkeys(sentence.context for _, sentence in self.parts))


def best_window(
    claim: str, sources: Sequence[Source], *, names: Iterable[str], idf: Mapping[str, float] | None = None
) -> Window | None:
    """None where the passages have no sentence at all. `idf`: weight of tokens; else by their rarity in the passages."""
    candidates = [(source, sentence) for source in sources for sentence in source.sentences]
    if not candidates:
        return None
    wanted = tokens_of(claim)
    weights = _weights(wanted, [sentence.tokens for _, sentence in candidates], idf or {})
    total = sum(weights.values()) or 1.0

    def score(sentence: Sentence) -> float:
        shared = sum(weights[token] for token in wanted & sentence.tokens)
        beside = sum(weights[token] for token in (wanted & sentence.context_tokens) - sentence.tokens)
        common = len(wanted & sentence.tokens) / max(len(sentence.tokens), 1)
        return (shared + _CONTEXT_WEIGHT * beside) / total + 0.2 * common

    best = max(candidates, key=lambda pair: score(pair[1]))
    named = frozenset().union(*[tokens_of(name) for name in names])
    plain_words = {token for token in wanted - named if not token[0].isdigit()}
    parts = [best, *_with_the_figures(wanted, best, candidates)]
    covered = set(best[1].tokens | best[1].context_tokens)
    plain_total = sum(weights[token] for token in plain_words) or 1.0
    while len(parts) <= _MAX_JOINED:
        gains = [
            (sum(weights[t] for t in (plain_words - covered) & pair[1].tokens), i) for i, pair in enumerate(candidates)
        ]
        gain, i = max(gains, key=lambda pair: (pair[0], -pair[1]))
        if gain < _JOIN_GAIN * plain_total or len((plain_words - covered) & candidates[i][1].tokens) < 3:
            break
        parts.append(candidates[i])
        covered |= candidates[i][1].tokens
    share = sum(weights[token] for token in wanted & covered) / total
    return Window(tuple(parts), share)


def _with_the_figures(
    wanted: frozenset[str], best: tuple[Source, Sentence], candidates: Sequence[tuple[Source, Sentence]]
) -> list[tuple[Source, Sentence]]:
    """The neighbour that has all of two or more figures that the best sentence lacks ("…10,500 won. At 1,300 it is 9,750.")."""
    missing = {token for token in wanted - best[1].tokens if token[0].isdigit()}
    if len(missing) < 2:
        return []
    at = candidates.index(best)
    beside = [candidates[i] for i in (at - 1, at + 1) if 0 <= i < len(candidates) and candidates[i][0] is best[0]]
    return [pair for pair in beside if missing <= pair[1].tokens][:1]


def tokens_of(text: str) -> frozenset[str]:
    """Pairs of Hangul syllables, rough stems of Latin words, numbers: cheap, and close enough to find the sentence."""
    found: set[str] = set()
    for word in _TOKEN.findall(unicodedata.normalize("NFKC", text)):
        if "가" <= word[0] <= "힣":
            found.update(word[i : i + 2] for i in range(max(len(word) - 1, 1)))
        elif word[0].isdigit():
            found.add(word.replace(",", ""))
        elif word.casefold() not in _STOP:
            found.add(stem(word))
    return frozenset(found)


def _weights(wanted: Iterable[str], texts: Sequence[frozenset[str]], idf: Mapping[str, float]) -> dict[str, float]:
    seen = Counter(token for text in texts for token in text)
    return {token: idf.get(token, math.log(1 + (len(texts) + 1) / (seen[token] + 0.5))) for token in wanted}


def _sentences(item: Evidence) -> list[Sentence]:
    base = [item.title, *item.heading]
    header, local = item.table_header, ""
    found = []
    for start, end in sentence_spans(item.text):
        raw = item.text[start:end]
        if _HEADING.match(raw):
            local = plain(raw)
        if _TABLE_ROW.match(raw) and _TABLE_RULE.search(raw):
            header = raw.partition("\n")[0]
        is_row = _TABLE_ROW.match(raw) is not None or bool(item.table_header)
        context = " › ".join(
            dict.fromkeys(part for part in [*base, local, plain(header) if is_row and header else ""] if part)
        )
        text = plain(raw) or raw
        found.append(Sentence(text, start, end, context, tokens_of(text), tokens_of(context)))
    return found


def _formless(text: str) -> str:
    return unicodedata.normalize("NFC", _FORMATTING.sub("", re.sub(r"\[\d{1,2}\]", "", text))).casefold()


def _whole(wanted: str, text: str) -> bool:
    bare = wanted.rstrip(".!?…。")
    at = text.find(bare)
    while at >= 0:
        end = at + len(bare)
        starts = at == 0 or text[at - 1] in _BOUNDARY or text[at - 1] in "\"'”’)]-*•"
        if starts and (end == len(text) or text[end] in _BOUNDARY or wanted.endswith("…")):
            return True
        at = text.find(bare, at + 1)
    return False
