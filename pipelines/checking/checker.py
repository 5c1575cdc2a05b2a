"""Holds every sentence of a finished answer against the passages it cites, by rules, without a language model.

Verdict: unsupported if a number, unit, date, time, name, negation or opposite stands against it, or if it shares too
little with any sentence of the cited passages; quotations are supported. What it cannot see: false claims in the
source's own words (who did what to whom, cause and effect, which of two figures belongs to which of two nouns), true
ones in quite other words (free paraphrases and synonyms alarm on about 9 of 100), sums, and names or negation across
languages, where figures are held against whole passages. So "supported" means "nothing found against it", not "proven".
Knows nothing about turns, pages or models; `judge` asks one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from knowledge.embedding.base import GakjuEmbedding
from knowledge.lexemes import Analyzer, language_of
from knowledge.types import Citation, Evidence
from pipelines.checking.claim import Aligned, Claim, Finding, Verdict
from pipelines.checking.likeness import gives_token_states, likeness, token_states
from pipelines.checking.morphemes import Morpheme, MorphemeReader
from pipelines.checking.names import names_in
from pipelines.checking.quantities import Figures, figures
from pipelines.checking.rules import Reading, findings
from pipelines.checking.scoring import Models, features_of
from pipelines.checking.sources import Source, Window, best_window
from pipelines.checking.statements import Statement, statements
from pipelines.checking.words import words_of

DECISIVE = frozenset({"number", "unit", "date", "time", "name", "word", "negation", "opposite", "roles"})
_SOURCES_KEPT = 500
_MAX_CHARS = 2000  # of a claim or a sentence that are compared; longer ones are no sentences


@dataclass(frozen=True, slots=True)
class Examined:
    """A claim with what was measured on it; `features` is empty for quotations. For fitting and for `RuleChecker`."""

    window: Window | None
    quoted: bool
    found: tuple[Finding, ...]
    features: Mapping[str, float]


class RuleChecker:
    """Safe to call from several threads at once. `embedding`: adds how well tokens are met, about 10 ms a claim."""

    def __init__(
        self, analyzer: Analyzer, embedding: GakjuEmbedding | None = None, *, models: Models | None = None
    ) -> None:
        self._reader = MorphemeReader(analyzer)
        self._models = models or Models.load()
        # Another embedding's similarities mean something else.
        fits = embedding is not None and gives_token_states(embedding) and embedding.spec.name == self._models.embedding
        self._embedding = embedding if fits else None
        self._sources: OrderedDict[tuple[str, str], Source] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, answer: str, evidence: Sequence[Evidence], citations: Sequence[Citation]) -> tuple[Claim, ...]:
        """One claim for each sentence of `answer`, in order. `evidence`: all that was retrieved; a sentence without a
        footnote is shown with the closest of it. Computes, some milliseconds: call it in a thread where a loop runs."""
        cited = {citation.n: citation.evidence for citation in citations}
        said = statements(answer)
        footnotes = {citation.evidence.chunk_id: citation.n for citation in citations}
        sources = [[self.source(cited[n]) for n in statement.cited if n in cited] for statement in said]
        checked = [i for i, statement in enumerate(said) if sources[i] and not statement.smalltalk]
        examined = dict(zip(checked, self.examine([(said[i].text, sources[i]) for i in checked]), strict=True))
        similar = self._likenesses(said, examined)
        claims = []
        for i, statement in enumerate(said):
            if i in examined:
                claim = self._judged(statement, examined[i], similar.get(i))
                claims.append(replace(claim, aligned=_aligned(examined[i].window, footnotes)))
            else:
                claims.append(self._unjudged(statement, evidence))
        return tuple(claims)

    def examine(self, pairs: Sequence[tuple[str, Sequence[Source]]]) -> list[Examined]:
        """Of each claim and its sources what stands in them. Morphemes are read for all claims at once."""
        pairs = [(text[:_MAX_CHARS], sources) for text, sources in pairs]
        quoted = [any(source.quoted(text) for source in sources) for text, sources in pairs]
        morphemes = self._reader.read(["" if quote else text for (text, _), quote in zip(pairs, quoted, strict=True)])
        names = [
            names_in(text, read, source=sources[0].naming) if sources and not quote else []
            for (text, sources), read, quote in zip(pairs, morphemes, quoted, strict=True)
        ]
        windows = [best_window(text, sources, names=named) for (text, sources), named in zip(pairs, names, strict=True)]
        told = self._reader.read(
            [window.text if window and not quote else "" for window, quote in zip(windows, quoted, strict=True)]
        )
        examined = []
        for i, ((text, sources), window) in enumerate(zip(pairs, windows, strict=True)):
            if quoted[i] or window is None:
                examined.append(Examined(window, quoted[i], (), {}))
                continue
            claim = _reading(text, morphemes[i])
            source = _reading(window.text, told[i], context=window.context)
            if claim.language != source.language:  # no words to find the sentence by: figures may stand anywhere
                source = replace(source, figures=_all_figures(sources))
            found = findings(claim, source, window, sources, names[i])
            examined.append(Examined(window, False, tuple(found), features_of(claim, source, window, found)))
        return examined

    def source(self, evidence: Evidence) -> Source:
        """The passage as it is compared with; kept for follow-ups."""
        key = (evidence.chunk_id, evidence.text)
        with self._lock:
            source = self._sources.get(key)
            if source is not None:
                self._sources.move_to_end(key)
        if source is None:
            source = Source(evidence)
            with self._lock:
                self._sources[key] = source
                while len(self._sources) > _SOURCES_KEPT:
                    self._sources.popitem(last=False)
        return source

    def likenesses(self, pairs: Sequence[tuple[str, Window]]) -> list[Mapping[str, float]]:
        """How well each claim's tokens are met by its window's; all texts in one batch. [] without an embedding."""
        if self._embedding is None or not pairs:
            return []
        texts = list(dict.fromkeys(text for claim, window in pairs for text in (claim, window.text)))
        states = dict(zip(texts, token_states(self._embedding, texts), strict=True))
        return [likeness(states[claim], states[window.text]) for claim, window in pairs]

    def _likenesses(
        self, said: Sequence[Statement], examined: Mapping[int, Examined]
    ) -> dict[int, Mapping[str, float]]:
        wanted = [(i, item.window) for i, item in examined.items() if item.window and not item.quoted]
        measured = self.likenesses([(said[i].text, window) for i, window in wanted])
        return {i: features for (i, _), features in zip(wanted, measured, strict=False)}

    def _judged(self, statement: Statement, item: Examined, like: Mapping[str, float] | None) -> Claim:
        claim = Claim(statement.text, statement.start, statement.end, statement.cited, "supported", score=1.0)
        if item.quoted:
            return claim
        if item.window is None:
            return replace(
                claim, verdict="unsupported", reasons=(Finding("similarity", statement.text[:80]),), score=0.0
            )
        model = self._models.words if like is None else self._models.meaning
        features = {**item.features, **(like or {})}
        score = round(model.score(features), 4)
        against = any(finding.kind in DECISIVE for finding in item.found)
        foreign = bool(features["other_language"])  # shares no words with its source however true it is
        far = score < model.unsupported and not foreign
        reasons = item.found if against or not far else (*item.found, Finding("similarity", statement.text[:80]))
        verdict: Verdict = "unsupported" if against or far else "supported"
        return replace(
            claim,
            verdict=verdict,
            reasons=tuple(reasons),
            score=score,
            soft=verdict == "supported" and (foreign or score < model.soft),
        )

    def _unjudged(self, statement: Statement, evidence: Sequence[Evidence]) -> Claim:
        verdict: Verdict = "smalltalk" if statement.smalltalk else "uncited"
        aligned = None
        if verdict == "uncited" and evidence:
            window = best_window(statement.text, [self.source(item) for item in evidence], names=())
            aligned = _aligned(window, {}) if window and window.covered >= 0.5 else None
        return Claim(statement.text, statement.start, statement.end, statement.cited, verdict, aligned=aligned)


def _reading(text: str, morphemes: tuple[Morpheme, ...], *, context: str = "") -> Reading:
    """`context`: headings and the like, whose figures and letters count too."""
    whole = f"{text} \n {context}" if context else text
    return Reading(whole, morphemes, words_of(text, morphemes), figures(whole), language_of(text))


def _all_figures(sources: Sequence[Source]) -> Figures:
    found = [source.figures for source in sources]
    return Figures(
        tuple(quantity for item in found for quantity in item.quantities),
        tuple(date for item in found for date in item.dates),
        tuple(clock for item in found for clock in item.clocks),
    )


def _aligned(window: Window | None, footnotes: Mapping[str, int]) -> Aligned | None:
    if window is None:
        return None
    source, sentence = window.parts[0]
    chunk_id = source.evidence.chunk_id
    return Aligned(chunk_id, footnotes.get(chunk_id, 0), sentence.start, sentence.end)
