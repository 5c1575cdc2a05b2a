"""What people ask most, for programs: the automatic API `/faq` and `/terms`. Must be called inside a `gr.Blocks`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from knowledge.errors import GakjuError
from web.conversation import Caller
from web.gradio_setup import gr
from web.identity import Owners

if TYPE_CHECKING:
    from knowledge.views import Entry
    from pipelines.service import ChatService

log = logging.getLogger(__name__)

Ask = Callable[..., Awaitable[list["Entry"]]]


def add_lists(service: ChatService, owners: Owners) -> None:
    async def faq(
        k: int = 10, language: str = "", session_id: str = "", request: gr.Request | None = None
    ) -> list[dict[str, Any]]:
        """The questions of the FAQs that ingestion found, with their answers, the most viewed first.

        Args:
            k: how many, 1 to 100
            language: "ko" or "en"; empty is all
            session_id: of a conversation: only what its persona may see
        """
        return await _listed(service.faq, k, language, session_id, request)

    async def terms(
        k: int = 10, language: str = "", session_id: str = "", request: gr.Request | None = None
    ) -> list[dict[str, Any]]:
        """The terms of the glossaries that ingestion found, with their definitions, the most viewed first.

        Args:
            k: how many, 1 to 100
            language: "ko" or "en"; empty is all
            session_id: of a conversation: only what its persona may see
        """
        return await _listed(service.terms, k, language, session_id, request)

    async def _listed(
        ask: Ask, k: object, language: object, session_id: object, request: gr.Request | None
    ) -> list[dict[str, Any]]:
        headers, cookies = (dict(request.headers), dict(request.cookies)) if request else ({}, {})
        caller = Caller(owners, headers=headers, cookies=cookies)
        if not isinstance(k, int) or isinstance(k, bool):
            raise gr.Error(f"k is {k!r}, not a whole number.")
        try:
            found = await ask(k, language=str(language or ""), session_id=str(session_id or ""), owner=caller.owner)
        except GakjuError as exc:
            raise gr.Error(exc.sentence()) from exc
        except ValueError as exc:
            raise gr.Error(f"{exc}.") from exc
        except Exception as exc:
            log.exception("request %s: a list could not be made", caller.request_id)
            raise gr.Error("Something went wrong on the server. Try again.") from exc
        return [entry.to_dict() for entry in found]

    gr.api(faq, api_name="faq", concurrency_limit=None)
    gr.api(terms, api_name="terms", concurrency_limit=None)
