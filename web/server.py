"""The HTTP server's app: health, the Gradio page with its API, and the shell of middleware around both.

Knows nothing of what a chat service does inside; starts nothing, `app.py` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import FastAPI

from web.gradio_setup import gr
from web.identity import Owners
from web.middleware import HostCheck, Shell
from web.page import build_page

if TYPE_CHECKING:
    from pipelines.service import ChatService

log = logging.getLogger(__name__)

# The page sends its whole conversation back with each question (Gradio's way), so this is far above one message.
MAX_BODY_BYTES = 4_000_000
HEALTH_TIMEOUT_S = 1.5  # more than the service waits for its own parts, so that it can name the one that is down


def build_app(
    service: ChatService,
    *,
    secret: str,
    examples: Sequence[tuple[str, str]] = (),
    allowed_hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """The app to hand to uvicorn.

    `secret` signs the owner's cookie: keep it over restarts, share it between processes. `allowed_hosts`: the names
    this server answers to in the Host header ("*": any, "*.example.org": any below); name them where strangers' pages
    could reach it (DNS rebinding).
    """
    owners = Owners(secret)
    app = FastAPI(title="Gakju", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict:
        """Always 200 while the process lives; what it stands on is in the fields."""
        try:
            return await asyncio.wait_for(service.health(), HEALTH_TIMEOUT_S)
        except TimeoutError:
            return {"status": "degraded", "reason": f"no answer from the components in {HEALTH_TIMEOUT_S} s"}
        except Exception:
            log.exception("health check failed")
            return {"status": "degraded", "reason": "the health check itself failed"}

    page = build_page(service, owners=owners, examples=examples)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        show_error=False,  # the default shows exceptions to readers
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        max_file_size=1,  # bytes: nothing here takes files, and the shell closes the route as well
        footer_links=["api"],
        i18n=page.i18n_instance,
        theme=_theme(),
        head=page.page_head,  # type: ignore[attr-defined]
    )
    app.add_middleware(HostCheck, allowed_hosts=allowed_hosts)
    app.add_middleware(Shell, owners=owners, max_body_bytes=MAX_BODY_BYTES)
    return app


def _theme() -> gr.themes.Base:
    """Fonts of the reader's system only: nothing is fetched from anywhere."""
    sans = [
        "system-ui",
        "-apple-system",
        "Segoe UI",
        "Apple SD Gothic Neo",
        "Malgun Gothic",
        "Noto Sans CJK KR",
        "sans-serif",
    ]
    return gr.themes.Soft(
        primary_hue="teal", neutral_hue="slate", font=sans, font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"]
    )
