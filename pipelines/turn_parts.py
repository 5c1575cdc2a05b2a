"""What a turn is made with, and what one request may choose. Built by wiring.py and the service; does nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from llama_index.core.llms import LLM

from knowledge.lexemes import Analyzer
from knowledge.views import Views
from pipelines.checking import Judge, RuleChecker
from pipelines.gate import Gate
from pipelines.instant import InstantAnswers
from pipelines.personas import NOBODY, Persona
from pipelines.related import RelatedQuestions
from pipelines.retriever import EvidenceRetriever
from pipelines.sampling import Sampling
from pipelines.tools.toolbox import Toolbox

HISTORY_TURNS = 6
WAIT_S = 3.0  # for the turn before: someone who stops an answer and asks anew must not be refused


@dataclass(frozen=True, slots=True)
class TurnParts:
    """`instant`: answers of FAQ and glossary, `views`: counts them. `checker`: holds each sentence against what it cites,
    `judge`: asks a language model about them, too. `related`: finds questions to ask next. None: not done.
    """

    retriever: EvidenceRetriever
    llm: LLM
    analyzer: Analyzer
    gate: Gate
    checker: RuleChecker | None = None
    judge: Judge | None = None
    instant: InstantAnswers | None = None
    views: Views | None = None
    toolbox: Toolbox | None = None
    related: RelatedQuestions | None = None


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """`wait_s`: how long a question waits for the answer to the one before, after which it is refused as `session_busy`.

    `persona`: how it answers and what it may search. `history_turns`: those that the model reads whole.
    """

    sampling: Sampling = field(default_factory=Sampling)
    wait_s: float = WAIT_S
    persona: Persona = NOBODY
    history_turns: int = HISTORY_TURNS
