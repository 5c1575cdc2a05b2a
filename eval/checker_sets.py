"""Claims with their evidence and what is known about them: from NLI pairs, and derived from answer sets by seed.

True claims are sentences of a passage, rewritten in ways that change no fact; false ones carry one error of a known
kind. Names come from the sets' own answers, not from the tagger that the checker uses. Knows nothing about the checker.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval import checker_errors as errors
from eval.beir import json_rows, judgements
from knowledge.lexemes import language_of
from knowledge.sentences import sentence_spans
from knowledge.types import Evidence, Place, Scores
from pipelines.checking.statements import plain

ANSWER_SETS = ("korquad", "squad2", "clapnq", "financebench", "mtrag_un")
_CHARS = (25, 320)  # of a sentence that is worth a claim
_ASKS_NAME = re.compile(
    r"누구|인물|사람은|이름|어디|나라|도시|지역|국가|회사|단체|학교|팀은|\b(?:who|whom|where|which (?:country|city|company|team|person))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Case:
    """`kind`: "true", or of an error; "entailment", "neutral", "contradiction" of NLI. `group`: halves are split by it."""

    data: str
    kind: str
    claim: str
    evidence: Evidence
    language: str
    group: str

    @property
    def is_true(self) -> bool:
        return self.kind in ("true", "entailment", "human")

    @property
    def fits(self) -> bool:
        """Whether it is of the half that fits; the other half is reported."""
        return hashlib.sha256(self.group.encode()).digest()[0] % 2 == 0


def nli_cases(file: Path) -> list[Case]:
    cases = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        evidence = make_evidence(row["evidence"], title="", language="ko")
        cases.append(Case("klue_nli", row["label"], row["claim"], evidence, "ko", row["evidence"]))
    return cases


def answer_cases(folder: Path, *, seed: int, passages: int) -> list[Case]:
    """From a set in BEIR's layout: for up to `passages` of its passages, each true and false claims."""
    rng = random.Random(f"{seed}-{folder.name}")  # noqa: S311 - reproducible, not secret
    corpus = [row for _, row in json_rows(folder / "corpus.jsonl")]
    names, targets = _names(folder)
    every_name = sorted({name for found in names.values() for name in found})
    chosen = rng.sample(corpus, min(passages, len(corpus)))
    sentences = {row["_id"]: _sentences(row["text"]) for row in chosen}
    elsewhere = [(row["title"], s) for row in chosen for s in sentences[row["_id"]]]
    cases: list[Case] = []
    for row in chosen:
        evidence = make_evidence(row["text"], title=row["title"], language=language_of(row["text"]))
        for kind, claim in _claims(row, sentences[row["_id"]], names[row["_id"]], every_name, elsewhere, rng):
            cases.append(Case(folder.name, kind, claim, evidence, evidence.language, row["title"] or row["_id"]))
        for target in targets[row["_id"]][:2]:
            for sentence in _sentences(target)[:3]:
                cases.append(
                    Case(folder.name, "human", sentence, evidence, evidence.language, row["title"] or row["_id"])
                )
    return cases


def _claims(
    row: dict[str, str],
    sentences: Sequence[str],
    names: Sequence[str],
    every_name: Sequence[str],
    elsewhere: Sequence[tuple[str, str]],
    rng: random.Random,
) -> Iterator[tuple[str, str]]:
    if not sentences:
        return
    for sentence in rng.sample(sentences, min(3, len(sentences))):
        yield "true", errors.rewritten(sentence, rng)
    others = [s for title, s in elsewhere if title != row["title"]] or [s for _, s in elsewhere if s not in sentences]
    sentence = rng.choice(sentences)
    if others:
        yield "other topic", rng.choice(others)
        yield "invented detail", errors.with_detail(sentence, rng.choice(others))
    for kind, change in (("number", errors.wrong_number), ("date", errors.wrong_date), ("negation", errors.negated)):
        for sentence in rng.sample(sentences, len(sentences)):
            changed = change(sentence, rng)
            if changed and changed != sentence:
                yield kind, changed
                break
    named = [(s, name) for s in sentences for name in names if name in s]
    if named:
        sentence, name = rng.choice(named)
        same = [other for other in names if other not in sentence and name not in other and _alike(name, other)]
        if same:
            yield "name of the passage", sentence.replace(name, rng.choice(same))
        foreign = [other for other in every_name if other not in row["text"] and _alike(name, other)]
        if foreign:
            yield "name", sentence.replace(name, rng.choice(foreign))


def _alike(a: str, b: str) -> bool:
    return abs(len(a) - len(b)) <= 8 and (a[:1].isascii() == b[:1].isascii())


def _names(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """By passage: names that answer its questions, and whole answers that people wrote from it."""
    queries = {row["_id"]: row for _, row in json_rows(folder / "queries.jsonl")}
    passages = {query: list(found) for query, found in judgements(folder).items()}
    names: dict[str, list[str]] = defaultdict(list)
    targets: dict[str, list[str]] = defaultdict(list)
    for query, found in passages.items():
        row = queries.get(query)
        if row is None or row["meta"].get("answerable") is False:
            continue
        for answer in row["meta"].get("answers") or []:
            if _ASKS_NAME.search(row["text"]) and _is_name(answer):
                for passage in found:
                    names[passage].append(answer)
            elif len(answer) > 60 and len(found) == 1:
                targets[found[0]].append(answer)
        target = row["meta"].get("target")
        if target and row["meta"].get("answerability") == ["ANSWERABLE"] and len(found) == 1:
            targets[found[0]].append(target)
    return defaultdict(list, {key: list(dict.fromkeys(value)) for key, value in names.items()}), targets


def _is_name(answer: str) -> bool:
    if re.search(r"\d", answer) or not 2 <= len(answer) <= 30:
        return False
    if answer[0].isascii():
        words = answer.split()
        return len(words) <= 4 and all(word[0].isupper() for word in words if word not in ("of", "the", "de", "and"))
    return bool(re.fullmatch(r"[가-힣]{2,7}(?: [가-힣]{2,6})?", answer)) and not re.search(r"[은는을를의에]$", answer)


def _sentences(text: str) -> list[str]:
    found = [plain(re.sub(r"^(?:\d{1,3}[.)]|[-*•·])\s+", "", text[a:b])) for a, b in sentence_spans(text)]
    return [s for s in found if _CHARS[0] <= len(s) <= _CHARS[1] and re.search(r"[.!?다]$", s.strip())]


def make_evidence(text: str, *, title: str, language: str) -> Evidence:
    chunk_id = hashlib.sha256((title + text).encode()).hexdigest()[:16]
    return Evidence(chunk_id, chunk_id, "eval", "eval", title, (), Place(), 0, len(text), text, language, Scores(), 1)
