"""Claims of an answer, each held against the passages it cites: `RuleChecker` by rules, `Judge` by a language model."""

from pipelines.checking.checker import RuleChecker
from pipelines.checking.claim import Aligned, Claim, Finding, Verdict
from pipelines.checking.judge import Judge, Judged

__all__ = ["Aligned", "Claim", "Finding", "Judge", "Judged", "RuleChecker", "Verdict"]
