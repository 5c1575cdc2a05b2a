"""Who a browser is: a random name in a signed cookie, so that a conversation belongs to the browser that began it.

Knows nothing of sessions, logins or people. A program without the cookie has no name (""); for it the unguessable
conversation id alone is the key.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import cookie_parser

COOKIE_NAME = "gakju_owner"
MAX_AGE_S = 365 * 24 * 3600


class Owners:
    """Reads and writes the signed cookie. `secret` must stay the same over restarts and app processes."""

    def __init__(self, secret: str) -> None:
        if len(secret) < 16:
            raise ValueError(f"The cookie secret has {len(secret)} characters, at least 16 are needed")
        self._serializer = URLSafeTimedSerializer(secret, salt="gakju-owner")

    def owner_of(self, cookies: Mapping[str, str]) -> str:
        """The owner a request's cookies name; "" where there is none or it was not signed by us."""
        try:
            owner = self._serializer.loads(cookies.get(COOKIE_NAME, ""), max_age=MAX_AGE_S)
        except BadData:
            return ""
        return owner if isinstance(owner, str) else ""

    def owner_of_header(self, cookie_header: str) -> str:
        # Not http.cookies: it drops every cookie after one that it cannot read, such as another app's `prefs={"a":1}`.
        return self.owner_of(cookie_parser(cookie_header))

    def set_cookie(self, owner: str = "", *, secure: bool = False) -> str:
        """A Set-Cookie value that keeps `owner`, or names a new one, for a year from now."""
        value = self._serializer.dumps(owner or secrets.token_urlsafe(18))
        attributes = f"Path=/; Max-Age={MAX_AGE_S}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        return f"{COOKIE_NAME}={value}; {attributes}"
