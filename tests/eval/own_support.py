"""A small organisation's documents in a real index, and a model that asks about them well or badly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from knowledge.store import IndexStore
from knowledge.types import Block
from tests.knowledge.test_store import make

KO = {
    "휴가.md": [
        "연차 휴가는 입사 후 1년이 지난 직원에게 해마다 열다섯 날을 준다. 신청은 휴가를 가기 사흘 전까지 인사팀에 낸다.",
        "병가는 의사의 진단서가 있으면 한 해에 예순 날까지 쓸 수 있고, 그동안의 급여는 통상 임금의 칠할을 지급한다.",
    ],
    "출장.md": [
        "국내 출장의 숙박비는 하룻밤에 십이만 원까지 실비로 지급하며, 영수증을 돌아온 뒤 닷새 안에 총무팀에 제출한다.",
        "해외 출장은 본부장의 승인을 받아야 하고, 항공권은 이코노미석으로 회사가 지정한 여행사에서 예매한다.",
    ],
    "보안.md": [
        "회사 노트북을 잃어버리면 한 시간 안에 정보보안팀에 전화로 알려야 하며, 담당자는 원격으로 저장 장치를 지운다.",
    ],
}
EN = {
    "parking.md": [
        "Employees park in the east garage free of charge; visitors pay two dollars an hour at the machine near gate four.",
        "Electric cars may use the charging posts on level two for at most four hours, after which the bay must be cleared.",
    ],
    "library.md": [
        "Books from the company library are lent for three weeks, and can be renewed twice by writing to the librarian.",
    ],
}
TABLE = "| 등급 | 숙박비 | 식비 |\n| --- | --- | --- |\n| 임원 | 이십만 원 | 오만 원 |\n| 직원 | 십이만 원 | 삼만 원 |"


def fill(store: IndexStore, embedding: Any, analyzer: Any, *, collection: str = "default") -> None:
    for path, texts in {**KO, **EN}.items():
        put(store, path, texts, embedding, analyzer, collection=collection)
    put(store, "여비표.md", [TABLE], embedding, analyzer, collection=collection, kind="table")


def put(
    store: IndexStore, path: str, texts: list[str], embedding: Any, analyzer: Any, *,
    collection: str = "default", kind: str = "paragraph",
) -> None:  # fmt: skip
    document, chunks = make(path, texts, embedding=embedding, analyzer=analyzer, collection=collection)
    language = "ko" if re.search("[가-힣]", texts[0]) else "en"
    blocks = tuple(Block(item.chunk.start, item.chunk.end, kind=kind) for item in chunks)
    document = replace(document, language=language, blocks=blocks)
    store.replace(document, [replace(item, language=language) for item in chunks], reading="1")


def passage_in(body: dict[str, Any]) -> str:
    """The text of the one passage that a prompt shows."""
    user = str(body["messages"][-1]["content"])
    return user.split("\n", 3)[2].split("\n</passage")[0] + _rest(user)


def _rest(user: str) -> str:
    parts = user.split("\n</passage")[0].split("\n", 3)
    return f"\n{parts[3]}" if len(parts) > 3 else ""


def kind_of(body: dict[str, Any]) -> str:
    """What is asked of the model: "write", "check" or "judge"."""
    system = str(body["messages"][0]["content"])
    return "judge" if '"answers"' in system else "check" if "self_contained" in system else "write"


def good_question(passage: str, *, korean: bool) -> str:
    words = re.findall(r"[가-힣]{2,}" if korean else r"[A-Za-z]{3,}", passage)
    other = "" if words else "사규" if korean else "company rules"
    said = " ".join([*words[1:5:2], *words[6:8], other]).strip()
    return f"{said} 규정은 무엇인가요?" if korean else f"How does {said} work here?"


def good_model(
    *,
    write: Callable[[str, bool], str] | None = None,
    check: Callable[[str], dict[str, Any]] | None = None,
    judge: Callable[[str], list[Any]] = lambda _: [],
) -> Callable[[dict[str, Any]], str]:
    """Answers as a good model would; parts of it may be bad."""

    def answer(body: dict[str, Any]) -> str:
        if kind_of(body) == "judge":
            return json.dumps({"answers": judge(str(body["messages"][-1]["content"]))}, ensure_ascii=False)
        passage = passage_in(body)
        if kind_of(body) == "check":
            found = check(passage) if check else {}
            verdict = {"self_contained": True, "answerable": True, "quote": passage.splitlines()[-1][:60], **found}
            return json.dumps(verdict, ensure_ascii=False)
        korean = "한국어로 씁니다" in str(body["messages"][0]["content"])
        if write:
            return write(passage, korean)
        return json.dumps({"question": good_question(passage, korean=korean)}, ensure_ascii=False)

    return answer
