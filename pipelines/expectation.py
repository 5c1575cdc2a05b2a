"""What kind of answer a question expects: a date, a number, a definition or steps. By rules, in Korean and English.

Persons and places are left out: on KorQuAD and SQuAD expecting them made the choice of sentences no better.
"""

from __future__ import annotations

import re

_ASKS_DATE = re.compile(
    r"언제|며칠|날짜|몇\s?(?:년|월|일|시)|(?:연도|년도|시기|날은|날짜는|일자)|\bwhen\b|\bwhat (?:year|date|day|month|time)\b|\bwhich year\b",
    re.IGNORECASE,
)
_ASKS_NUMBER = re.compile(
    r"몇|얼마|퍼센트|비율은|개수|수량|금액|\bhow (?:many|much|long|far|old|often|big|large|high|tall)\b|\bwhat (?:percent|number|amount)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\d{1,4}\s?(?:년|월|일|시|세기)|\b\d{4}\b|\d{1,2}:\d{2}|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b|centur(?:y|ies)"
)
_NUMBER = re.compile(
    r"\d|[한두세네]\s(?:개|명|번|가지|배)|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|hundred|thousand|million|half)\b",
    re.IGNORECASE,
)
_ASKS_DEFINITION = re.compile(
    r"^\W*(.{1,40}?)(?:이란|란|은|는|이|가)?\s*(?:무엇|뭐|뭔|무슨 뜻|무슨 의미|어떤 뜻)|^\W*(.{1,40}?)(?:의)? (?:뜻|의미|정의)(?:은|는|이|가)?\s*(?:\?|$|무엇|뭐)"
    r"|^\W*what(?:'s|’s| is| are)(?: an?| the)? ([\w\s/().-]{1,40}?)\W*$|^\W*what does (?:an? |the )?(.{1,40}?) mean"
    r"|^\W*define (?:an? |the )?(.{1,40}?)\W*$",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^\W*(?:an? |the )?")
# "베이시스는 …", "베이시스(basis)란 …", "베이시스: …", "A forward is …", "FOB (free on board) means …"
_DEFINES = re.compile(
    r"(?:\s?\([^)]*\)|,[^,]{1,60},)?(?:\s?:|이란|란|은|는| (?:is|are|means?|refers? to|stands? for)\b)"
)
_ASKS_HOW = re.compile(
    r"어떻게|방법|절차|순서|단계|과정|하려면|\bhow (?:do|can|to|should|is|are)\b|\bsteps?\b", re.IGNORECASE
)


class Expectation:
    """`steps`: the question asks how something is done."""

    def __init__(self, question: str) -> None:
        kinds = ((_ASKS_DATE, _DATE), (_ASKS_NUMBER, _NUMBER))
        self._patterns = [found for asks, found in kinds if asks.search(question)]
        asked = _ASKS_DEFINITION.search(question)
        self._defined = next((term for term in asked.groups() if term), "").strip().casefold() if asked else ""
        self.steps = bool(_ASKS_HOW.search(question))

    def fits(self, text: str) -> bool:
        """Whether a date or number is asked for and `text` holds one."""
        return any(pattern.search(text) for pattern in self._patterns)

    def defined_by(self, text: str) -> bool:
        """Whether the meaning of a term is asked for, and `text` begins with that term and says what it is."""
        if not self._defined:
            return False
        start = _ARTICLE.sub("", text.casefold(), count=1)
        return start.startswith(self._defined) and bool(_DEFINES.match(start[len(self._defined) :]))
