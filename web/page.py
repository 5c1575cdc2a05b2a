"""The Gradio page and, with it, the automatic API `/chat`: a chat on the left, the sources of an answer on the right.

Draws what a chat service tells; keeps no truth of its own. The look is in page.css, what moves in the browser in
page.js (footnotes, the panel of sources, progress, examples), every sentence in texts.py.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knowledge.errors import GakjuError
from pipelines.events import Event, Failed, Turn
from web.answer import Answer, stored_markdown, turn_dict
from web.gradio_setup import Dependency, gr
from web.identity import Owners
from web.inert import displayable
from web.stream import in_batches
from web.texts import PAGE, language_of

if TYPE_CHECKING:
    from pipelines.service import ChatService

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
MAX_SHOWN_TURNS = 50  # of a reloaded conversation; the service keeps them all
# An event that only the page uses, answered at once instead of through the queue.
_DIRECT: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}


class _SafeChatInterface(gr.ChatInterface):
    """Shows raw HTML as text and loads no images. What the API answers stays as the model wrote it.

    A subclass of gr.Chatbot would be the plain way, but Gradio takes it for a custom component with files of its own.
    """

    def _append_message_to_history(self, message: Any, history: list, role: Any = "user") -> list:
        shown = displayable(message if isinstance(message, str) else str(message))
        return super()._append_message_to_history(shown, history, role)


def build_page(service: ChatService, *, owners: Owners, examples: Sequence[tuple[str, str]] = ()) -> gr.Blocks:
    """The page. `examples`: (language, question) pairs, "ko" or "en"; a reader sees those of their language first."""
    translations = gr.I18n(**PAGE)  # type: ignore[arg-type]
    with gr.Blocks(title="Gakju · 각주", analytics_enabled=False, fill_height=True, fill_width=True) as page:
        with gr.Row(elem_id="top"):
            gr.HTML('<div id="brand"></div>', elem_id="brand-box", apply_default_css=False)
            new_button = gr.Button(translations("new"), elem_id="new", size="sm", scale=0, min_width=140)
        gr.HTML('<div id="banner" role="status"></div>', elem_id="banner-box", apply_default_css=False)
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="left", scale=3, min_width=0):
                gr.HTML('<div id="welcome"></div>', elem_id="welcome-box", apply_default_css=False)
                session_id = gr.Textbox("", visible=False, render=False, label="session_id")
                turn = gr.JSON(visible=False, render=False, label="turn")
                # Rendered before the chat, or ChatInterface would draw a drawer of "additional inputs" around it.
                session_id.render()
                chat = _chat_interface(service, owners, session_id, turn, translations)
                gr.HTML('<div id="progress" role="status"></div>', elem_id="progress-box", apply_default_css=False)
            with gr.Column(elem_id="right", scale=2, min_width=0):
                gr.HTML('<section id="sources"></section>', elem_id="sources-box", apply_default_css=False)
        turn.render()
        loaded = gr.JSON(visible=False, label="loaded")
        _wire(page, chat, service, owners, session_id=session_id, turn=turn, loaded=loaded, new_button=new_button)
    page.i18n_instance = translations
    page.queue(default_concurrency_limit=None)
    page.max_threads = 256  # the default of 40 delays the first words of the 41st reader by seconds
    page.state_session_capacity = 500  # of 10,000: each costs 50 KiB
    page.page_head = _head(examples)  # type: ignore[attr-defined]
    return page


def _chat_interface(
    service: ChatService, owners: Owners, session_id: gr.Textbox, turn: gr.JSON, translations: gr.I18n
) -> gr.ChatInterface:
    async def chat(
        message: str, history: list, session_id: str = "", request: gr.Request | None = None
    ) -> AsyncIterator[tuple[str, dict]]:
        """Ask the documents. Streams the answer and a JSON object with its session, citations and retrieved passages.

        Args:
            message: the question
            session_id: `session_id` of an earlier answer continues that conversation; empty begins a new one
        """
        caller = _Caller(owners, request, message)
        answer = Answer(question=message if isinstance(message, str) else "", session_id=session_id or "")
        yield answer.markdown(caller.language), answer.to_dict()
        async with aclosing(in_batches(_events(service, message, session_id, caller))) as batches:
            async for batch in batches:
                for event in batch:
                    answer = answer.after(event)
                yield answer.markdown(caller.language), answer.to_dict()

    textbox = gr.Textbox(
        elem_id="ask",
        label=translations("question"),
        placeholder=translations("placeholder"),
        submit_btn=True,
        stop_btn=True,
        lines=1,
        max_lines=8,
    )
    # Gradio would make "5" of 5 and "['a']" of ["a"]; a program that sends the wrong type should hear of it.
    textbox.preprocess = lambda payload: payload  # type: ignore[method-assign]
    return _SafeChatInterface(
        chat,
        additional_inputs=[session_id],
        additional_outputs=[turn],
        api_name="chat",
        concurrency_limit=None,
        show_progress="hidden",
        chatbot=gr.Chatbot(
            elem_id="chat", label=translations("conversation"), show_label=False, buttons=["copy"], height="100%"
        ),
        textbox=textbox,
    )


class _Caller:
    """What a request says about who asks."""

    def __init__(self, owners: Owners, request: gr.Request | None, question: object = "") -> None:
        headers = dict(request.headers) if request is not None else {}
        self.owner = owners.owner_of(dict(request.cookies)) if request is not None else ""
        self.request_id = headers.get("x-request-id", "")
        self.language = language_of(headers.get("accept-language", ""), question if isinstance(question, str) else "")


async def _events(service: ChatService, message: object, session_id: object, caller: _Caller) -> AsyncIterator[Event]:
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


def _wire(
    page: gr.Blocks,
    chat: gr.ChatInterface,
    service: ChatService,
    owners: Owners,
    *,
    session_id: gr.Textbox,
    turn: gr.JSON,
    loaded: gr.JSON,
    new_button: gr.Button,
) -> None:
    async def load(saved_session_id: str, request: gr.Request) -> tuple[list, list, dict, str]:
        state = await _loaded_state(service, str(saved_session_id or ""), _Caller(owners, request))
        messages = state.pop("messages")
        return messages, messages, state, state["session_id"]

    shown = [chat.chatbot, chat.chatbot_state]
    page.load(load, session_id, [*shown, loaded, session_id], js="() => window.gakju.savedSession()", **_DIRECT).then(
        None, loaded, None, js="(state) => { window.gakju.loaded(state); }", **_DIRECT
    )
    turn.change(None, turn, session_id, js="(turn) => window.gakju.turn(turn)", **_DIRECT)
    chat.textbox.submit(None, None, None, js="() => { window.gakju.asked(); }", **_DIRECT)
    chat.textbox.stop(None, None, None, js="() => { window.gakju.stopped(); }", **_DIRECT)

    submits = [fn for fn in page.fns.values() if getattr(fn.fn, "__name__", "") == "_submit_fn"]
    running = [Dependency(chat.textbox, fn.get_config(), fn._id, fn.fn) for fn in submits]

    def enabled_box() -> gr.Textbox:
        return gr.Textbox(interactive=True, submit_btn=True, stop_btn=False)

    for event in running:
        # Gradio 6 runs .then() only after a success, so ChatInterface never re-enables its box after a failed event.
        event.failure(enabled_box, None, chat.textbox, js="() => { window.gakju.failed(); }", **_DIRECT)
    new_button.click(lambda: ([], [], ""), None, [*shown, session_id], **_DIRECT).then(
        None, None, None, js="() => { window.gakju.reset(); }", **_DIRECT
    )
    # Undo and retry would change what the page shows and not what the service remembers.
    chat.chatbot._undoable = chat.chatbot._retryable = False  # type: ignore[attr-defined]


async def _loaded_state(service: ChatService, session_id: str, caller: _Caller) -> dict[str, Any]:
    """What a page that opens needs: who answers, and the conversation it had, if that is still there."""
    state: dict[str, Any] = {"session_id": session_id, "turns": [], "messages": [], "about": None, "problem": ""}
    try:
        state["about"] = asdict(await service.about())
    except Exception:
        log.exception("request %s: the service cannot say what it is", caller.request_id)
    if not session_id:
        return state
    try:
        turns = (await service.history(session_id, owner=caller.owner))[-MAX_SHOWN_TURNS:]
    except GakjuError as error:
        lost = error.code == "session_not_found"
        return {**state, "session_id": "" if lost else session_id, "problem": error.code}
    except Exception:
        log.exception("request %s: the history cannot be read", caller.request_id)
        return {**state, "problem": "internal"}
    state["turns"] = [{**turn_dict(turn), "question": turn.question} for turn in turns]
    state["messages"] = [message for turn in turns for message in _messages(turn, caller)]
    return state


def _messages(turn: Turn, caller: _Caller) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": displayable(turn.question)},
        {"role": "assistant", "content": displayable(stored_markdown(turn, caller.language))},
    ]


def _head(examples: Sequence[tuple[str, str]]) -> str:
    """The page's own style, script and texts, inline. As `css=` Gradio would put its own selectors before each rule."""
    data = {"texts": PAGE, "examples": [{"language": language, "question": text} for language, text in examples]}
    safe_json = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{style}</style>\n<script>window.gakjuData = {safe_json};\n{script}</script>"
    )
