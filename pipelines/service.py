"""The conversation as every face sees it: questions in, events out; sessions with their owners; what runs and how it is.

The page, the API and the terminal all come through here, so that each message is checked and each turn logged once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from knowledge.database import Database
from knowledge.errors import GakjuError, InvalidMessage, MemoryUnavailable
from knowledge.filters import Filters
from knowledge.instant_mining import Kind
from knowledge.store import IndexStore
from knowledge.views import Entry
from pipelines.chatlog import ChatLog
from pipelines.engine import FootnoteChatEngine
from pipelines.events import Done, Event, Failed, Turn
from pipelines.export import Format, export
from pipelines.llm import VllmChat
from pipelines.memory import SessionMemory
from pipelines.memory_directory import Session
from pipelines.personas import NOBODY, Persona, chosen
from pipelines.sampling import Sampling
from pipelines.turn_parts import WAIT_S, TurnOptions, TurnParts

_HEALTH_TIMEOUT_S = 0.6


@dataclass(frozen=True, slots=True)
class About:
    """What the app runs on and knows. The last three are sentences for people."""

    llm: str
    is_quoting: bool
    documents: int
    chunks: int
    database: str
    memory: str
    embedding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts(TurnParts):
    """What a conversation is made of; built by wiring.py, anew when the index was switched to another generation."""

    db: Database
    store: IndexStore
    sessions: SessionMemory
    chat_log: ChatLog
    personas: Mapping[str, Persona] = field(default_factory=dict)


class ChatService:
    """`where`: sentences saying where database, memory and embedding run (keys as in `About`)."""

    def __init__(self, parts: Parts, *, where: dict[str, str], max_message_chars: int) -> None:
        self._parts = parts
        self._where = where
        self._max_message_chars = max_message_chars
        self._asking: dict[str, asyncio.Task[Any]] = {}  # health checks under way, by what they ask

    @property
    def parts(self) -> Parts:
        return self._parts

    def use(self, parts: Parts, *, embedding: str) -> None:
        """Go on with other parts; turns that began keep theirs. `embedding`: as in `About`."""
        self._parts = parts
        self._where = {**self._where, "embedding": embedding}

    async def turn(
        self,
        message: str,
        *,
        session_id: str = "",
        owner: str = "",
        request_id: str = "",
        options: Mapping[str, Any] | None = None,
        wait_s: float = WAIT_S,
    ) -> AsyncGenerator[Event, None]:
        """The events of one turn; `session_id` "" starts a session. What goes wrong comes as `Failed`.

        `options`: how the model writes, as pipelines/sampling.py offers it. `wait_s`: for the session's turn before, if it
        still runs.

        Closing the generator stops the answer; what was streamed is kept as interrupted.
        """
        request_id = request_id or secrets.token_hex(8)
        parts = self._parts
        try:
            question = self._checked(message)
            sampling = Sampling.checked(options or {})
            session_id, sessions, persona = await self._session(session_id, owner)
        except GakjuError as exc:
            reason = getattr(exc, "reason", "")
            yield Failed(exc.code, str(exc), exc.hint, request_id, exc.retryable, reason=reason)
            return
        engine = FootnoteChatEngine(
            parts,
            sessions=sessions,
            session_id=session_id,
            options=TurnOptions(sampling=sampling, wait_s=wait_s, persona=persona),
        )
        last: Turn | None = None
        try:
            async with aclosing(engine.events(question, request_id=request_id)) as events:
                async for event in events:
                    if isinstance(event, Done | Failed):
                        last = event.turn
                    yield event
        finally:
            last = last or engine.last_turn
            if last:
                await asyncio.shield(asyncio.to_thread(parts.chat_log.write, last))

    async def new_session(self, *, owner: str, persona: str = "") -> str:
        """Raises: InvalidMessage: there is no such persona. MemoryUnavailable."""
        chosen(self._parts.personas, persona)
        return await asyncio.to_thread(self._parts.sessions.create, owner, persona=persona)

    def personas(self) -> list[Persona]:
        return list(self._parts.personas.values())

    async def sessions(self, *, owner: str, limit: int = 50, before: float | None = None) -> list[Session]:
        """The owner's conversations, the latest first; `before`: those last changed before that moment."""
        return await asyncio.to_thread(self._parts.sessions.sessions, owner, limit=limit, before=before)

    async def rename_session(self, session_id: str, title: str, *, owner: str) -> Session:
        """Raises: SessionNotFound, MemoryUnavailable; InvalidMessage for a title that is no text."""
        return await asyncio.to_thread(self._parts.sessions.rename, session_id, owner, self._checked(title))

    async def delete_session(self, session_id: str, *, owner: str) -> None:
        """It can be brought back for a minute. Raises: SessionNotFound, MemoryUnavailable."""
        await asyncio.to_thread(self._parts.sessions.delete, session_id, owner)

    async def restore_session(self, session_id: str, *, owner: str) -> Session:
        """Raises: SessionNotFound: it was not deleted just now. MemoryUnavailable."""
        return await asyncio.to_thread(self._parts.sessions.restore, session_id, owner)

    async def history(
        self, session_id: str, *, owner: str, last: int | None = None, before: str | None = None
    ) -> list[Turn]:
        """Turns oldest first: all, or the `last` ones; `before`: of those before the turn with this id.

        Raises:
            SessionNotFound: unknown, expired or another owner's.
            MemoryUnavailable: Redis does not answer.
        """
        await asyncio.to_thread(self._parts.sessions.check, session_id, owner)
        return await asyncio.to_thread(self._parts.sessions.turns, session_id, last=last, before=before)

    async def faq(self, k: int = 10, *, language: str = "", session_id: str = "", owner: str = "") -> list[Entry]:
        """The FAQ's questions with their answers, the most viewed first; of a session, those that its persona may see.

        Raises: DatabaseUnavailable; ValueError (k); SessionNotFound, MemoryUnavailable.
        """
        return await self._top("faq", k, language, await self._scope(session_id, owner))

    async def terms(self, k: int = 10, *, language: str = "", session_id: str = "", owner: str = "") -> list[Entry]:
        """The glossary's terms with their definitions, the most viewed first. As `faq`."""
        return await self._top("term", k, language, await self._scope(session_id, owner))

    async def _scope(self, session_id: str, owner: str) -> Filters | None:
        return (await self._session(session_id, owner))[2].scope if session_id else None

    async def _top(self, kind: Kind, k: int, language: str, scope: Filters | None) -> list[Entry]:
        parts = self._parts
        if parts.views is None:
            return []
        generation = parts.store.generation
        return await asyncio.to_thread(
            parts.views.top, kind, k, generation=generation, filters=scope, language=language
        )

    async def export(self, session_id: str, *, owner: str, file_format: Format, language: str = "en") -> str:
        """The conversation as Markdown or JSON. Raises as `history`."""
        session = await asyncio.to_thread(self._parts.sessions.session, session_id, owner)
        turns = await self.history(session_id, owner=owner)
        return export(session, turns, file_format=file_format, language=language)

    async def about(self) -> About:
        """Raises:
        DatabaseUnavailable: the counts are not to be had.
        """
        counts = await asyncio.to_thread(self._parts.store.counts)
        llm = self._parts.llm
        return About(
            llm=llm.metadata.model_name,
            is_quoting=not isinstance(llm, VllmChat),
            documents=counts.documents,
            chunks=counts.chunks,
            **self._where,
        )

    async def health(self) -> dict[str, Any]:
        """Each part's state, asked now. `status` is "ok" only if all of them are."""
        database, memory, llm = await asyncio.gather(
            self._state("database", lambda: asyncio.to_thread(self._parts.db.ping)),
            self._state("memory", lambda: asyncio.to_thread(self._parts.sessions.ping)),
            self._state("llm", self._ask_llm),
        )
        states = {"database": database, "memory": memory, "llm": llm}
        return {"status": "ok" if set(states.values()) == {"ok"} else "degraded", **states}

    async def _state(self, name: str, check: Callable[[], Awaitable[Any]]) -> str:
        """One check of a part at a time: of a part that hangs, each poll would take one more thread."""
        task = self._asking.get(name)
        if task is None or task.done():
            task = self._asking[name] = asyncio.ensure_future(check())  # type: ignore[arg-type]
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # though nobody waits for it
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                await asyncio.shield(task)
        except (GakjuError, TimeoutError):
            return "down"
        return "ok"

    async def _ask_llm(self) -> None:
        if isinstance(self._parts.llm, VllmChat):
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):  # a request, unlike a thread, can be given up
                await self._parts.llm.describe(refresh=True)

    def _checked(self, message: object) -> str:
        if not isinstance(message, str):
            raise InvalidMessage("The message is not text.", reason="not_text", hint="Send it as a string.")
        # Lone surrogates cannot be stored or sent; NUL ends a text in PostgreSQL.
        text = message.encode("utf-8", "replace").decode("utf-8").replace("\0", "").strip()
        if not text:
            raise InvalidMessage("The message is empty.", reason="empty", hint="Write a question.")
        if len(text) > self._max_message_chars:
            raise InvalidMessage(
                f"The message has {len(text):,} characters; at most {self._max_message_chars:,} are taken.",
                reason="too_long",
                hint="Shorten it; long texts belong into a document (gakju ingest add).",
            )
        return text

    async def _session(self, session_id: str, owner: str) -> tuple[str, SessionMemory | None, Persona]:
        sessions = self._parts.sessions
        try:
            if not session_id:
                return await self.new_session(owner=owner), sessions, NOBODY
            session = await asyncio.to_thread(sessions.session, session_id, owner)
            # A persona that the operator took away must not leave a session that searches everything.
            return session_id, sessions, chosen(self._parts.personas, session.persona)
        except MemoryUnavailable:
            if session_id and any(persona.collections is not None for persona in self._parts.personas.values()):
                raise  # nobody can tell what this session may search
            return session_id, None, NOBODY  # answer all the same; the page says that history is off
