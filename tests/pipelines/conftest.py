"""A small real knowledge and a chat service over it, with whichever language model a test gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from llama_index.core.llms import LLM

from knowledge.search import Searcher
from knowledge.views import Views
from pipelines.chatlog import ChatLog
from pipelines.checking import RuleChecker
from pipelines.gate import Gate
from pipelines.instant import InstantAnswers
from pipelines.llm import Timeouts, VllmChat, connect
from pipelines.quote import QuoteLLM
from pipelines.retriever import EvidenceRetriever
from pipelines.service import ChatService, Parts
from tests.knowledge.test_store import make
from tests.knowledge.test_views import stored_table

FX = "환율이 떨어지면 같은 달러 가격의 옥수수 수입 원가가 원화로 내려간다."
FREIGHT = "해상 운임도 달러로 내므로 환율이 떨어지면 원화 운임이 내려간다."
LEAVE = "Employees are entitled to fifteen days of annual leave each year."


@pytest.fixture
def knowledge(store, embedding, analyzer):
    for path, text in {"fx.md": FX, "freight.md": FREIGHT, "leave.md": LEAVE}.items():
        store.replace(*make(path, [text], embedding=embedding, analyzer=analyzer), reading="1")
    return store


def llm_at(base_url: str, **timeouts: float) -> VllmChat:
    return connect(base_url=base_url, model="", api_key="", temperature=0, max_tokens=64, timeouts=Timeouts(**timeouts))


@pytest.fixture
def views(db):
    counting = Views(db)
    yield counting
    counting.close()


@pytest.fixture
def store_faq(store, analyzer) -> Callable[[str], None]:
    """Puts the text of a CSV file into the index as faq.csv."""
    return lambda text: stored_table(store, analyzer, text, path="faq.csv")


@pytest.fixture
def make_service(knowledge, db, embedding, analyzer, sessions, views, tmp_path: Path) -> Callable[..., ChatService]:
    """`make_service(llm=…, sessions=…)`; quote mode by default. The chat log is tmp_path/chat.jsonl."""

    def build(*, llm: LLM | None = None, memory=None, checker: bool = False, personas=None) -> ChatService:
        searcher = Searcher(db, knowledge.generation)
        parts = Parts(
            db=db,
            store=knowledge,
            retriever=EvidenceRetriever(searcher, embedding, analyzer, top_k=3),
            analyzer=analyzer,
            llm=llm or QuoteLLM(analyzer=analyzer, embedding=embedding, idf=searcher.idf),
            gate=Gate.load(embedding.spec.name),
            sessions=memory or sessions,
            chat_log=ChatLog(tmp_path / "chat.jsonl"),
            checker=RuleChecker(analyzer) if checker else None,
            personas=personas or {},
            instant=InstantAnswers(db, knowledge.generation, analyzer),
            views=views,
        )
        where = {"database": "test", "memory": "test", "embedding": "test"}
        return ChatService(parts, where=where, max_message_chars=8000)

    return build
