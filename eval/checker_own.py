"""Claims that ship, over the documents that ship: written by hand as a model would answer, true and false.

Each stands against the section of its document that it would cite. Unlike derived claims they are paraphrases.
Knows nothing about the checker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from eval.checker_sets import Case, make_evidence
from knowledge.lexemes import language_of

DOCS = Path(__file__).parent.parent / "knowledge" / "docs"

_FX, _BASIS = "grain/exchange-rate.ko.md", "grain/basis.ko.md"
_DUTY, _FREIGHT = "grain/tariffs-customs.en.md", "grain/ocean-freight.en.md"
_EXAMPLE, _PASSED = "환율이 1,400원에서 1,300원으로", "사료 원가의 80%"
_LAG, _HEDGED = "3~6개월", "선물환으로 환율을 미리"
_TRQ, _FTA, _VALUE = "40 percentage points", "15 March 2012", "customs exchange rate of 1,400"
_PAID, _SHARE = "paid in dollars too", "freight is 20 %"

# document, words that its section holds, kind, claim
_CLAIMS = [
    (_FX, _EXAMPLE, "true", "환율이 1300원으로 내려가면 옥수수 1톤의 CIF 원가는 35만 원에서 32만 5천 원이 됩니다."),
    (_FX, _EXAMPLE, "true", "옥수수 CIF 원가는 약 7.1퍼센트, 곧 톤당 2만 5천 원 내려간다."),
    (_FX, _EXAMPLE, "true", "배 한 척에 6만 톤을 실었다면 15억원이 차이 난다."),
    (_FX, _EXAMPLE, "number", "옥수수 1톤의 CIF 원가는 350,000원에서 335,000원으로 내려갑니다."),
    (_FX, _EXAMPLE, "number", "6만 톤을 실은 배 한 척이라면 차이는 25억 원입니다."),
    (_FX, _EXAMPLE, "unit", "옥수수 1톤의 CIF 원가는 25,000달러 내려갑니다."),
    (_FX, _PASSED, "true", "원료비의 45퍼센트가 옥수수이면 옥수수 원가가 7.1% 내릴 때 사료 원가는 2.6퍼센트쯤 내린다."),
    (_FX, _PASSED, "number", "옥수수 원가가 7.1% 내려갈 때 사료 원가는 약 4.6% 내려갑니다."),
    (_FX, _PASSED, "unit", "옥수수 원가가 7.1%p 내려갈 때 사료 원가는 약 2.6% 내려갑니다."),
    (_FX, _LAG, "true", "환율 변화는 보통 3개월에서 6개월 뒤에 국내 가격에 반영됩니다."),
    (_FX, _LAG, "number", "환율 변화가 국내 가격에 반영되기까지 9개월이 걸립니다."),
    (_FX, _HEDGED, "true", "과세환율은 관세법 제18조에 따라 관세청이 정합니다."),
    (_FX, _HEDGED, "name", "과세환율은 관세법 제18조에 따라 한국은행이 정해 알립니다."),
    (_FX, _HEDGED, "negation", "선물환으로 고정한 물량은 이후 환율이 떨어지면 그 이득을 봅니다."),
    (_FX, _HEDGED, "true", "선물환으로 고정해 두면 환율이 올라도 손해를 보지 않습니다."),
    (_FX, _HEDGED, "negation", "결제일의 환율은 실제로 지급하는 원화를 정하지 않습니다."),
    (_FX, "원화 강세", "true", "원화가 강세가 되어 환율이 떨어지면 옥수수의 원화 수입 가격은 내려갑니다."),
    (_FX, "원화 강세", "opposite", "환율이 떨어지면 달러 가격이 같은 옥수수의 수입 가격은 원화로 올라갑니다."),
    (_FX, "원화 강세", "other topic", "연차 휴가는 1년에 열다섯 날이며 남은 날은 다음 해로 넘어가지 않습니다."),
    (_BASIS, "현물 가격에서 선물", "true", "베이시스란 현물 가격에서 선물 가격을 뺀 값을 말합니다."),
    (_BASIS, "현물 가격에서 선물", "true", "80센트는 1톤에 약 31.49달러이다."),
    (_BASIS, "현물 가격에서 선물", "number", "80센트는 톤당 약 35.49달러입니다."),
    (_BASIS, "5월물 선물을", "true", "예시에서 실제 매입가는 540센트로, 예상한 530센트보다 10센트 높았습니다."),
    (_BASIS, "5월물 선물을", "date", "예시에서 매수인은 4월에 베이시스를 +80센트로 예상했습니다."),
    (_BASIS, "없어지지 않고", "negation", "환율 위험은 선물이나 베이시스 헤지로 없어집니다."),
    (_DUTY, _TRQ, "true", "Under Article 71 a quota tariff may lower the base rate by as much as 40 percentage points."),
    (_DUTY, _TRQ, "unit", "Under Article 71 a quota tariff may take up to 40 percent off the base rate."),
    (_DUTY, _TRQ, "number", "Under Article 17 a quota tariff may take up to 40 percentage points off the base rate."),
    (_DUTY, _TRQ, "opposite", "A tariff-rate quota applies a high duty up to a volume promised in an agreement."),
    (_DUTY, _FTA, "true", "The Korea–US Free Trade Agreement has been in force since March 15, 2012."),
    (_DUTY, _FTA, "date", "The Korea–US Free Trade Agreement entered into force on 15 May 2012."),
    (_DUTY, _FTA, "date", "The Korea–US Free Trade Agreement entered into force in 2011."),
    (_DUTY, _FTA, "name", "The Korea–Chile Free Trade Agreement entered into force on 15 March 2012."),
    (_DUTY, _FTA, "negation", "The FTA rate is always the lowest."),
    (_DUTY, _VALUE, "true", "With a customs exchange rate of 1,300 won, the duty in the example is 9,750 won per tonne."),
    (_DUTY, _VALUE, "number", "At 1,300 won the duty is 9,570 won a tonne."),
    (_FREIGHT, _PAID, "true", "Because freight is paid in dollars, a stronger won lowers its cost in won."),
    (_FREIGHT, _PAID, "name", "Ocean freight for maize is paid in euros, says the Baltic Exchange."),
    (_FREIGHT, _PAID, "opposite", "When the won-dollar exchange rate falls, the cost of freight in won rises."),
    (_FREIGHT, _SHARE, "true", "If freight gets 10 percent dearer, the delivered price rises by 2 percent."),
    (_FREIGHT, _SHARE, "number", "Freight that is 10 % dearer raises the delivered price by 5 %."),
    (_FREIGHT, _SHARE, "invented detail", "A rise in freight raises the CIF price, and insurers refund half of it to farmers."),
]  # fmt: skip


def own_cases() -> Iterator[Case]:
    """Raises: ValueError, where a document no longer has the section that a claim stands against."""
    for path, words, kind, claim in _CLAIMS:
        text = (DOCS / path).read_text(encoding="utf-8")
        title = text.partition("\n")[0].lstrip("# ")
        section = next((part for part in re.split(r"(?m)^(?=## )", text) if words in part), None)
        if section is None:
            raise ValueError(f"{path} has no section with {words!r}: change eval/checker_own.py with it.")
        evidence = make_evidence(section.strip(), title=title, language=language_of(section))
        yield Case("own", kind, claim, evidence, evidence.language, path)
