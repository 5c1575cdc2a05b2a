"""A chat service that follows the real one's protocol with a script instead of documents. For tests of the page only."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from knowledge.errors import MemoryUnavailable, SessionNotFound
from knowledge.types import Citation, Evidence, Place, Scores
from pipelines.checking.claim import Claim, Finding
from pipelines.events import Answered, Done, Event, Failed, Found, Searching, Started, Token, Turn

RELATED = ("반품은 며칠 안에 할 수 있나요?", "How long does delivery take?", "소모품도 보증되나요?")
CLAIMS = (
    Claim("보증 기간은 구매일로부터 24개월입니다.", 0, 10, (1,), "supported", score=0.97),
    Claim(
        "소모품은 12개월을 보증합니다 <b>굵게</b>.",
        10,
        20,
        (1,),
        "unsupported",
        (Finding("number", "12", "6개월만 보증합니다"), Finding("date", "2024-01-01"), Finding("similarity", "")),
    ),
    Claim(
        "개봉하지 않은 제품은 영수증이 없어도 모든 매장에서 언제든지 새 제품으로 바꿀 수 있습니다.",
        20,
        30,
        (),
        "uncited",
    ),
    Claim("배송은 평일 기준입니다.", 30, 40, (2,), "supported", score=0.2, soft=True),
)
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>{{constructor}}'
NOWHERE = Place()
# Images and links in the clothes of a footnote, each in a way that a reader of Markdown could fall for.
TRICKS = """첫째 [1]. 둘째 ![1][ref] 셋째 [2][ref] 넷째 [[3]](https://stranger.test/3) 다섯째 [\\[1\\]](https://stranger.test/1)

\\`![x](https://stranger.test/tick.png)\\` `a
b `![x](https://stranger.test/span.png)` c

> ```
![x](https://stranger.test/quote.png)

- ```
  code
  ```
  ![x](https://stranger.test/list.png)
  ```

- [1]: https://stranger.test/list

> [2]: https://stranger.test/quote

[ref]: https://stranger.test/ref.png
"""


def evidence(rank: int, *, title: str, path: str, text: str, place: Place = NOWHERE, heading=(), words=7.1) -> Evidence:
    return Evidence(
        chunk_id=f"chunk-{path}-{rank}",
        document_id=f"document-{path}",
        collection="default",
        path=path,
        title=title,
        heading=tuple(heading),
        place=place,
        start=0,
        end=len(text),
        text=text,
        language="ko",
        scores=Scores(meaning=0.83 - rank / 50, words=words, fused=0.9 - rank / 20),
        rank=rank,
    )


def passages(topic: str) -> tuple[Evidence, ...]:
    return (
        evidence(
            1,
            title="제품 보증 안내",
            path="policy/보증.pdf",
            text=f"👍 {topic}에 관한 안내입니다. 보증 기간은 구매일로부터 24개월입니다. 소모품은 6개월만 보증합니다.",
            place=Place(page=3),
            heading=("보증", "기간"),
        ),
        evidence(
            2,
            title="Returns and refunds",
            path="faq/returns.md",
            text="Unopened goods can be returned within 30 days.\nThe refund is paid within 5 working days.",
            heading=("FAQ", "Returns"),
        ),
        evidence(
            3,
            title=f"Hostile {HOSTILE}",
            path="evil/<b>name</b>.xlsx",
            text=f"Before {HOSTILE} after. javascript:alert(1) ![x](http://stranger.test/p.png)",
            place=Place(sheet="매출 <i>", rows=(4, 9)),
        ),
        evidence(4, title="배송 안내", path="policy/배송.docx", text="배송은 평일 기준 2~3일 걸립니다.", words=None),
    )


def span(text: str, part: str) -> tuple[int, int]:
    start = text.index(part)
    return start, start + len(part)


@dataclass(frozen=True)
class About:
    llm: str = "quote mode"
    is_quoting: bool = True
    documents: int = 12
    chunks: int = 345
    database: str = "PostgreSQL 18 (embedded)"
    memory: str = "Valkey 9 (embedded)"
    embedding: str = "multilingual-e5-small"


class FakeService:
    """`script` words in a question choose what happens: slow, endless, silent, boom, broken, hostile, tricks, follow,
    related, lingering,
    doubt."""

    def __init__(self, *, delay_s: float = 0.01) -> None:
        self.delay_s = delay_s
        self.sessions: dict[str, tuple[str, list[Turn]]] = {}
        self.asked: list[dict[str, str]] = []
        self.closed: list[str] = []
        self.memory_down = False
        self.history_last: list[int | None] = []
        self.about_value = About()

    async def turn(
        self, message: str, *, session_id: str = "", owner: str = "", request_id: str = ""
    ) -> AsyncIterator[Event]:
        self.asked.append({"message": message, "session_id": session_id, "owner": owner, "request_id": request_id})
        if not message.strip():
            yield Failed("invalid_message", "The message is empty.", "Type a question.", request_id)
            return
        if len(message) > 8_000:
            yield Failed(
                "invalid_message", f"The message has {len(message):,} characters.", "Send at most 8,000.", request_id
            )
            return
        if session_id and self.sessions.get(session_id, ("?",))[0] not in ("", owner):
            yield Failed("session_not_found", "There is no such conversation.", "Begin a new one.", request_id)
            return
        session_id = session_id or await self.new_session(owner=owner)
        turn = Turn(uuid.uuid4().hex, session_id, time.time(), message)
        try:
            async for event in self._play(turn, request_id):
                yield event
        finally:
            self.closed.append(message)

    async def _play(self, turn: Turn, request_id: str) -> AsyncIterator[Event]:
        message, turns = turn.question, self.sessions[turn.session_id][1]
        yield Started(turn.session_id, turn.turn_id)
        if "crash" in message:
            raise RuntimeError("secret detail")
        query = f"{turns[-1].question if turns else ''} {message}".strip() if "follow" in message else message
        yield Searching(query)
        await asyncio.sleep(self.delay_s * 3)
        if "boom" in message:
            failed = replace(turn, status="failed", error="database_unavailable")
            turns.append(failed)
            hint = "Check DATABASE_URL."
            yield Failed("database_unavailable", "PostgreSQL does not answer.", hint, request_id, True, failed)
            return
        found = passages(message)
        yield Found(found)
        if "silent" in message:
            await asyncio.sleep(60)
        text = ""
        for token in _answer(message):
            pace = 500 if "endless" in message else 20 if "slow" in message else 1
            await asyncio.sleep(self.delay_s * pace)
            text += token
            yield Token(token)
            if "broken" in message and len(text) > 20:
                partial = replace(turn, status="interrupted", error="llm_interrupted", answer=text, retrieved=found)
                turns.append(partial)
                yield Failed("llm_interrupted", "The stream broke.", "Ask again.", request_id, True, partial)
                return
        done = replace(
            turn,
            search_query=query,
            answer=text,
            status="complete",
            citations=_citations(found),
            retrieved=found,
            llm=self.about_value.llm,
            timings={"search_ms": 12.5, "first_token_ms": 40.0, "total_ms": 310.0},
        )
        if "doubt" in message:
            done = replace(done, claims=CLAIMS)
        if "related" in message:
            yield Answered(done)
            await asyncio.sleep(self.delay_s * (2_000 if "lingering" in message else 30))
            done = replace(done, related=RELATED)
        turns.append(done)
        yield Done(done, "history_off" if "notice" in message else "")

    async def history(self, session_id: str, *, owner: str, last: int | None = None) -> list[Turn]:
        self.history_last.append(last)
        if self.memory_down:
            raise MemoryUnavailable("Valkey does not answer.", hint="Start it.")
        known_owner, turns = self.sessions.get(session_id, ("?", []))
        if known_owner not in ("", owner):
            raise SessionNotFound("There is no such conversation.")
        return turns[-last:] if last is not None else list(turns)

    async def new_session(self, *, owner: str) -> str:
        session_id = uuid.uuid4().hex
        self.sessions[session_id] = (owner, [])
        return session_id

    async def about(self) -> About:
        return self.about_value

    async def health(self) -> dict:
        return {"status": "ok", "database": "ok", "memory": "ok", "llm": "quote mode"}


def _answer(message: str) -> list[str]:
    hostile = f" {HOSTILE} ![pixel](http://stranger.test/p.png?q=1) <form action=http://stranger.test><input></form>"
    if "tricks" in message:
        return [TRICKS[at : at + 40] for at in range(0, len(TRICKS), 40)]
    text = (
        f"**{message[:30]}** 에 대한 답입니다. 보증 기간은 구매일로부터 **24개월**입니다 [1]. "
        "개봉하지 않은 제품은 30일 안에 반품할 수 있습니다 [2][3].\n\n- 소모품: 6개월 [1]\n- 코드: `array[1]`\n"
    ) + (hostile if "hostile" in message else "")
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def _citations(found: tuple[Evidence, ...]) -> tuple[Citation, ...]:
    first, second, third = found[:3]
    return (
        Citation(1, first, (span(first.text, "보증 기간은 구매일로부터 24개월입니다."),)),
        Citation(2, second, (span(second.text, "Unopened goods can be returned within 30 days."),)),
        Citation(3, third, (span(third.text, "after"),)),
    )
