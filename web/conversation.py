"""One reader's conversation with the chat service, made safe for a page: who asks, the events, what was said before.

Knows nothing of Gradio's components or of HTML. Nothing here lets an exception through to the page.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from knowledge.errors import GakjuError
from pipelines.events import Event, Failed, Turn
from web.answer import stored_markdown, turn_dict
from web.identity import Owners
from web.inert import displayable
from web.texts import language_of

if TYPE_CHECKING:
    from pipelines.service import ChatService

log = logging.getLogger(__name__)

MAX_SHOWN_TURNS = 50  # of a reloaded conversation; the service keeps them all


class Caller:
    """What a request says about who asks. `question` decides the language where the headers do not."""

    def __init__(
        self, owners: Owners, *, headers: Mapping[str, str], cookies: Mapping[str, str], question: object = ""
    ) -> None:
        self.owner = owners.owner_of(cookies)
        self.request_id = headers.get("x-request-id", "")
        self.language = language_of(headers.get("accept-language", ""), question if isinstance(question, str) else "")


async def guarded_events(
    service: ChatService, message: object, session_id: object, caller: Caller
) -> AsyncIterator[Event]:
    """The service's events, and a Failed in place of anything that must not reach Gradio as an exception."""
    if not isinstance(message, str):
        kind = type(message).__name__
        yield Failed("invalid_message", f"The message is not text but {kind}.", "Send a string.", caller.request_id)
        return
    try:
        turn = service.turn(message, session_id=str(session_id or ""), owner=caller.owner, request_id=caller.request_id)
        async with aclosing(turn) as events:  # type: ignore[type-var]
            async for event in events:
                yield event
    except Exception:
        # A dead textbox or a traceback would be the alternative: Gradio re-enables its box only after a success.
        log.exception("request %s: the chat service raised", caller.request_id)
        yield Failed(
            "internal",
            "Something went wrong on the server.",
            "Try again; if it stays, tell the operator the request id.",
            caller.request_id,
        )


async def loaded_state(service: ChatService, session_id: str, caller: Caller) -> dict[str, Any]:
    """What a page that opens needs: who answers, and the conversation it had, if that is still there."""
    state: dict[str, Any] = {"session_id": session_id, "turns": [], "messages": [], "about": None, "problem": ""}
    try:
        state["about"] = asdict(await service.about())
    except Exception:
        log.exception("request %s: the service cannot say what it is", caller.request_id)
    if not session_id:
        return state
    try:
        turns = await service.history(session_id, owner=caller.owner, last=MAX_SHOWN_TURNS)
    except GakjuError as error:
        lost = error.code == "session_not_found"
        return {**state, "session_id": "" if lost else session_id, "problem": error.code}
    except Exception:
        log.exception("request %s: the history cannot be read", caller.request_id)
        return {**state, "problem": "internal"}
    state["turns"] = [{**turn_dict(turn), "question": turn.question} for turn in turns]
    state["messages"] = [message for turn in turns for message in _messages(turn, caller)]
    return state


def _messages(turn: Turn, caller: Caller) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": displayable(turn.question)},
        {"role": "assistant", "content": displayable(stored_markdown(turn, caller.language))},
    ]
