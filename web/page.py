"""The Gradio page and, with it, the automatic API `/chat`: a chat on the left, the sources of an answer on the right.

Draws what a chat service tells; keeps no truth of its own. The look is in page.css, what moves in the browser in
page.js (footnotes, the panel of sources, progress, examples), every sentence in texts.py.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from web.answer import Answer
from web.conversation import Caller, guarded_events, loaded_state
from web.gradio_setup import Dependency, gr
from web.identity import Owners
from web.inert import displayable
from web.lists import add_lists
from web.stream import in_batches
from web.texts import PAGE

if TYPE_CHECKING:
    from pipelines.service import ChatService

HERE = Path(__file__).parent
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
        add_lists(service, owners)
        _wire(
            page,
            chat,
            service,
            owners,
            session_id=session_id,
            turn=turn,
            loaded=gr.JSON(visible=False, label="loaded"),
            new_button=new_button,
            reload_button=gr.Button("reload", elem_id="reload", visible="hidden"),
        )
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
        caller = _caller(owners, request, message)
        answer = Answer(question=message if isinstance(message, str) else "", session_id=session_id or "")
        yield answer.markdown(caller.language), answer.to_dict()
        async with aclosing(in_batches(guarded_events(service, message, session_id, caller))) as batches:
            async for batch in batches:
                for event in batch:
                    answer = answer.after(event)
                yield answer.markdown(caller.language), answer.to_dict()

    textbox = gr.Textbox(
        elem_id="ask",
        label="message",  # what the API's description calls it; page.js gives readers a name in their language
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


def _caller(owners: Owners, request: gr.Request | None, question: object = "") -> Caller:
    if request is None:
        return Caller(owners, headers={}, cookies={}, question=question)
    return Caller(owners, headers=dict(request.headers), cookies=dict(request.cookies), question=question)


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
    reload_button: gr.Button,
) -> None:
    async def load(saved_session_id: str, request: gr.Request) -> tuple[list, list, dict, str]:
        state = await loaded_state(service, str(saved_session_id or ""), _caller(owners, request))
        messages = state.pop("messages")
        return messages, messages, state, state["session_id"]

    shown = [chat.chatbot, chat.chatbot_state]
    # page.js presses the reload button where the page shows less than was said: Gradio forgets with its process.
    for event in (page.load, reload_button.click):
        saved = "() => window.gakju.savedSession()"
        event(load, session_id, [*shown, loaded, session_id], js=saved, **_DIRECT).then(
            None, loaded, None, js="(state) => { window.gakju.loaded(state); }", **_DIRECT
        )
    turn.change(None, turn, session_id, js="(turn) => window.gakju.turn(turn)", **_DIRECT)
    chat.textbox.submit(None, None, None, js="() => { window.gakju.asked(); }", **_DIRECT)
    chat.textbox.stop(None, None, None, js="() => { window.gakju.stopped(); }", **_DIRECT)

    submits = [fn for fn in page.fns.values() if getattr(fn.fn, "__name__", "") == "_submit_fn"]
    running = [Dependency(chat.textbox, fn.get_config(), fn._id, fn.fn) for fn in submits]

    for submit in running:
        # Gradio 6 runs .then() only after a success, so ChatInterface never re-enables its box after a failed event.
        submit.failure(None, None, chat.textbox, js="() => window.gakju.failed()", **_DIRECT)
    new_button.click(lambda: ([], [], ""), None, [*shown, session_id], **_DIRECT).then(
        None, None, None, js="() => { window.gakju.reset(); }", **_DIRECT
    )
    # Undo and retry would change what the page shows and not what the service remembers.
    chat.chatbot._undoable = chat.chatbot._retryable = False  # type: ignore[attr-defined]


def _head(examples: Sequence[tuple[str, str]]) -> str:
    """The page's own style, script and texts, inline. As `css=` Gradio would put its own selectors before each rule."""
    data = {"texts": PAGE, "examples": [{"language": language, "question": text} for language, text in examples]}
    safe_json = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{style}</style>\n<script>window.gakjuData = {safe_json};\n{script}</script>"
    )
