"""What every HTTP exchange gets: a request id, the owner's cookie, safe headers, a body limit, errors without a trace.

Pure ASGI, because `BaseHTTPMiddleware` wraps the streams of answers. Knows nothing of Gradio but the routes it closes.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.identity import Owners

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")

# Gradio needs inline scripts and eval (its templates). Everything else comes from this server or not at all.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "style-src 'self' 'unsafe-inline'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "worker-src 'self' blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
        "base-uri 'self'",
        "object-src 'none'",
    )
)
_SAFE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

# Routes of Gradio that nothing here uses: files in, other servers' files out, monitoring, code editing.
_CLOSED = re.compile(
    r"/(gradio_api/)?(upload|proxy=|monitoring|process_recording|(undo-)?vibe-|deep_link|run-history|runs)"
)


class _BodyTooLarge(Exception):
    """The request's body is larger than the limit."""


class Shell:
    """The outermost layer of the app. `max_body_bytes` also holds for bodies that do not say their length."""

    def __init__(self, app: ASGIApp, *, owners: Owners, max_body_bytes: int) -> None:
        self._app = app
        self._owners = owners
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id", ""))
        scope = {**scope, "headers": _with_request_id(scope["headers"], request_id)}
        exchange = _Exchange(scope, receive, send, request_id=request_id, max_body_bytes=self._max_body_bytes)
        await exchange.run(self._app, set_cookie=self._cookie_for(scope))

    def _cookie_for(self, scope: Scope) -> str:
        """Only a browser that opens a page gets a cookie; programs stay without."""
        headers = Headers(scope=scope)
        if scope["method"] != "GET" or "text/html" not in headers.get("accept", ""):
            return ""
        owner = self._owners.owner_of_header(headers.get("cookie", ""))
        return self._owners.set_cookie(owner, secure=scope.get("scheme") == "https")


class HostCheck:
    """Answers only to requests whose Host header has a name out of `allowed_hosts`; runs inside the `Shell`.

    Not Starlette's TrustedHostMiddleware: it cuts the name at the first colon, so that "[::1]:7860" never fits.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.strip().strip("[]").lower() for name in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        name = _host_name(headers.get("host", ""))
        if self._is_allowed(name):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "wrong host"})
        else:
            message = f"This server does not answer to the host name {name[:100]!r}: it is not in ALLOWED_HOSTS."
            hint = "Open it under a name that it knows, or add this one to ALLOWED_HOSTS."
            request_id = _request_id(headers.get("x-request-id", ""))
            body = _error_body("wrong_host", message, hint=hint, request_id=request_id)
            await JSONResponse(body, status_code=400)(scope, receive, send)

    def _is_allowed(self, name: str) -> bool:
        parents = (f"*.{name[dot + 1 :]}" for dot, character in enumerate(name) if character == ".")
        return "*" in self._allowed or (name != "" and not self._allowed.isdisjoint([name, *parents]))


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, lower case; "" where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not close
        return ""


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, request_id: str, max_body_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._max_body_bytes = max_body_bytes
        self._seen_bytes = 0
        self._set_cookie = ""
        self._started = False
        self._finished = False
        self._replaced = False

    async def run(self, app: ASGIApp, *, set_cookie: str) -> None:
        self._set_cookie = set_cookie
        declared = Headers(scope=self._scope).get("content-length", "")
        if _CLOSED.match(self._scope["path"]):
            await self._refuse(404, "not_found", "There is nothing at this address.")
        elif declared.isdigit() and int(declared) > self._max_body_bytes:
            await self._refuse_body()
        else:
            await self._run(app)

    async def _run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._take, self._pass_on)
        except _BodyTooLarge:
            await self._refuse_body()
        except asyncio.CancelledError:
            # The server stops while a page listens. Ended like any other answer; uvicorn would print the whole stack.
            if not self._started:
                raise
            if self._finished:
                return
            await self._send({"type": "http.response.body", "body": b""})
        except Exception:
            # The one place that catches everything: the log gets the trace, the client an id to quote.
            log.exception("request %s failed: %s %s", self._request_id, self._scope["method"], self._scope["path"])
            await self._refuse(500, "internal", "Something went wrong on the server.")

    async def _take(self) -> Message:
        message = await self._receive()
        self._seen_bytes += len(message.get("body", b""))
        if self._seen_bytes > self._max_body_bytes:
            raise _BodyTooLarge
        return message

    async def _pass_on(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            if self._seen_bytes > self._max_body_bytes:  # FastAPI answers 400 to any error while it reads a body
                await self._refuse_body()
                return
            if message["status"] == 500:
                hint = "If you call the API, compare the endpoint's name and parameters with GET /gradio_api/info."
                await self._refuse(500, "internal", "The request could not be handled.", hint=hint)
                return
            self._started = True
            self._add_headers(MutableHeaders(scope=message))
        elif message["type"] == "http.response.body":
            self._finished = not message.get("more_body", False)
        await self._send(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in _SAFE_HEADERS.items():
            headers[name] = value
        headers["x-request-id"] = self._request_id
        if self._set_cookie:
            headers.append("set-cookie", self._set_cookie)

    async def _refuse_body(self) -> None:
        await self._refuse(413, "body_too_large", f"The request is larger than {self._max_body_bytes:,} bytes.")

    async def _refuse(self, status: int, code: str, message: str, *, hint: str = "") -> None:
        """Answer with an error instead of what the app would say; nothing where the app's answer is on its way."""
        if self._started or self._replaced:
            return
        self._replaced = True
        body = _error_body(code, message, hint=hint, request_id=self._request_id)
        response = JSONResponse(body, status_code=status)
        self._add_headers(response.headers)
        await response(self._scope, self._receive, self._send)


def _error_body(code: str, message: str, *, hint: str, request_id: str) -> dict[str, dict[str, str]]:
    return {"error": {"code": code, "message": message, "hint": hint, "request_id": request_id}}


def _request_id(given: str) -> str:
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _with_request_id(headers: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in headers if name != b"x-request-id"]
    return [*others, (b"x-request-id", request_id.encode())]
