"""Words that exclude each other (증가/감소, at least/at most), and words of quantity (모든/일부, all/some).

A short list on purpose: only pairs where one in a claim and the other in its source is nearly always a contradiction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.checking.words import Words, stem

# Korean by dictionary form of noun or stem, English by stem; several words of one side are separated by commas.
_PAIRS = """
증가,늘,늘어나,상승,오르,올라가,급증,급등 : 감소,줄,줄어들,하락,내리,내려가,떨어지,급감,급락
확대 : 축소
강화 : 약화,완화
높,높이,높아지 : 낮,낮추,낮아지
많,많아지 : 적,적어지
크,커지 : 작,작아지
길,길어지 : 짧,짧아지
빠르,빨라지 : 느리,느려지
이상 : 이하,미만
초과 : 미만,이하
최대 : 최소
최고 : 최저,최악
이전 : 이후
찬성 : 반대
허용,가능,허가 : 금지
포함 : 제외
성공 : 실패
승리,이기 : 패배,지,패하
수입 : 수출
매수,사 : 매도,팔
흑자 : 적자
이익 : 손실
장점 : 단점
유료 : 무료
공개 : 비공개
합법 : 불법
안전 : 위험
시작 : 종료,끝나
열 : 닫
켜 : 끄
입학 : 졸업
출생,태어나 : 사망,죽
동의 : 거부
인정 : 부인
유지 : 폐지,폐기
좋 : 나쁘
쉽 : 어렵
맞 : 틀리
남자,남성 : 여자,여성
긍정 : 부정
국내 : 해외,국외
직접 : 간접
필수 : 선택
의무 : 자유,선택
동쪽 : 서쪽
내부,안쪽 : 외부,바깥
전면 : 부분
넓,넓어지 : 좁,좁아지
깨끗 : 더럽
밝 : 어둡
두껍 : 얇
무겁 : 가볍
비싸 : 싸,저렴
젊 : 늙
가깝 : 멀
뜨겁,덥 : 차갑,춥
새 : 헌,옛
여름 : 겨울
오른쪽 : 왼쪽
상반기 : 하반기
위쪽 : 아래쪽
더 : 덜
편리,편하 : 불편
친절 : 불친절
충분 : 부족
강하 : 약하
과거 : 미래
전진 : 후퇴
수동 : 자동
남쪽 : 북쪽
전부,모두 : 일부
increase,rise,grow,gain : decrease,fall,decline,drop,shrink
raise : lower,reduce
higher,high : lower,low
more : less,fewer
larger,bigger,large,big : smaller,small
before,prior : after
above : below
maximum : minimum
allow,permit : forbid,prohibit,ban
include : exclude
success,succeed : fail,failure
win : lose
accept : reject
support : oppose
import : export
buy : sell
profit : loss
strong,stronger : weak,weaker
dearer,expensive : cheap,cheaper
longer,long : shorter,short
first : last
early,earlier : late,later
start,begin : end
open : close
male : female
east,eastern : west,western
north,northern : south,southern
public : private
legal : illegal
possible : impossible
always : never
""".strip()

_UNIVERSAL = re.compile(
    r"모든|모두|전부|항상|언제나|반드시|오직|유일|절대|전혀|누구나|어떤 .{1,12}도|[가-힣]만(?= |이 |을 |은 )|뿐(?:이다|입니다)"
    r"|\b(?:all|every|always|only|entirely|exclusively|must|everyone|solely|completely|any)\b",
    re.IGNORECASE,
)
_PARTIAL = re.compile(
    r"일부|몇몇|대부분|때때로|종종|가끔|보통|대체로|주로|\b(?:some|most|mostly|several|many|usually|often|sometimes|partly|mainly)\b",
    re.IGNORECASE,
)


def _sides() -> dict[str, set[str]]:
    opposite: dict[str, set[str]] = {}
    for line in _PAIRS.splitlines():
        left, right = ([_key(word.strip()) for word in side.split(",")] for side in line.split(":"))
        for a in left:
            opposite.setdefault(a, set()).update(right)
        for b in right:
            opposite.setdefault(b, set()).update(left)
    return opposite


def _key(word: str) -> str:
    return stem(word) if word.isascii() else word


_OPPOSITE = _sides()
# In these the list's words are stopwords elsewhere, so they are looked for in the text itself.
_IN_TEXT = re.compile(
    r"\b(?:before|after|more|less|fewer|above|below|first|last|always|never|over|under)\b", re.IGNORECASE
)


def all_told(text: str, words: Words) -> dict[str, set[bool]]:
    """`words.told`, with the English words of this list that are stopwords elsewhere."""
    told = dict(words.told)
    for match in _IN_TEXT.findall(text):
        told.setdefault(_key(match), {True})
    return told


def opposites(claim: dict[str, set[bool]], told: dict[str, set[bool]]) -> Iterator[tuple[str, str]]:
    """(word of the claim, opposite in the source), both negated or neither, and the claim's word not in the source."""
    for word, polarities in claim.items():
        against = _OPPOSITE.get(word)
        if not against or word in told:
            continue
        same_side = {other for opponent in against for other in _OPPOSITE.get(opponent, ())}
        if same_side & told.keys():
            continue
        for opponent in against & told.keys():
            if opponent not in claim and polarities & told[opponent]:
                yield word, opponent
                break


def said_by_opposite(word: str, told: dict[str, set[bool]]) -> bool:
    """True where the source says a negated claim by the opposite word: 늘지 않았다, 줄었다."""
    return any(True in told.get(opponent, ()) for opponent in _OPPOSITE.get(word, ()))


def overstated(claim: str, source: str) -> str:
    """The word with which `claim` says of all what `source` says of some, or ""."""
    word = _UNIVERSAL.search(claim)
    return word.group().strip() if word and _PARTIAL.search(source) and not _UNIVERSAL.search(source) else ""


def absolute_words(claim: str, source: str) -> int:
    """How many words like "all" and "only" the claim has more than its source."""
    return max(0, len(_UNIVERSAL.findall(claim)) - len(_UNIVERSAL.findall(source)))
