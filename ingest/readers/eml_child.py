"""Headers, text and attachments' names of an e-mail, for `sandbox`. Knows the standard library's `email`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.errors import MessageError
from email.header import decode_header
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from typing import Any

from ingest.readers.parsing import Refused

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_TELLING = frozenset({"from", "to", "subject", "date", "received", "message-id", "mime-version"})
# What Korean programs call CP949, which has 8,822 syllables more than the EUC-KR that Python takes the names for.
_KOREAN_NAMES = frozenset({"ks_c_5601-1987", "ks_c_5601", "ksc5601", "euc-kr", "euc_kr"})
_MAX_HEADER_CHARS = 20_000
_MAX_ATTACHMENTS = 200


def _decoded(data: bytes, charset: str | None) -> str:
    charset = (charset or "utf-8").lower()
    for encoding in ("cp949" if charset in _KOREAN_NAMES else charset, "utf-8", "cp949"):
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError, ValueError):
            continue
    return data.decode("utf-8", "replace")


def _header(value: str) -> str:
    """A header's words: encoded words decoded; bytes that were not encoded at all as UTF-8 or CP949."""
    value = value[:_MAX_HEADER_CHARS].replace("\r", "").replace("\n", "")
    if not value.isascii():
        return _decoded(value.encode("utf-8", "surrogateescape"), None)
    try:
        # Not `make_header`: it takes any Korean charset for EUC-KR.
        parts = decode_header(value)
        return "".join(part if isinstance(part, str) else _decoded(part, charset) for part, charset in parts)
    except (MessageError, UnicodeError, LookupError, ValueError):
        return value


def _date(value: str) -> str:
    try:
        return f"{parsedate_to_datetime(value):%Y-%m-%d %H:%M %z}".strip()
    except (ValueError, TypeError, OverflowError):
        return value


def _headers(message: EmailMessage) -> dict[str, str]:
    found: dict[str, str] = {}
    wanted = {name.lower(): name for name in _HEADERS}
    for key, value in message.raw_items():
        name = wanted.get(key.lower())
        if name and name not in found:
            words = _header(str(value))
            found[name] = _date(words) if name == "Date" else words
    return found


def _text(part: MIMEPart | None) -> str:
    if part is None:
        return ""
    data = part.get_payload(decode=True)
    text = _decoded(data, part.get_content_charset()) if isinstance(data, bytes) else ""
    if str(part.get_param("format", "")).lower() == "flowed":
        text = re.sub(r"(?<!-) \r?\n(?!>)", " ", text)
    return text


def _attachments(message: EmailMessage, body: list[MIMEPart | None]) -> Iterator[str]:
    for part in message.walk():
        if part.is_multipart() or any(part is shown for shown in body):
            continue
        name = part.get_param("filename", None, "content-disposition") or part.get_param("name")
        if isinstance(name, tuple):  # RFC 2231: charset, language, words
            name = _decoded(name[2].encode("latin-1", "replace"), name[0])
        if name:
            yield _header(str(name))


def _is_encrypted(message: EmailMessage) -> bool:
    kind = message.get_content_type()
    sealed = str(message.get_param("smime-type", "enveloped-data")).lower() == "enveloped-data"
    return kind == "multipart/encrypted" or (kind in ("application/pkcs7-mime", "application/x-pkcs7-mime") and sealed)


def records(data: bytes) -> Iterator[dict[str, Any]]:
    """One object with all there is. Raises: Refused ("encrypted")."""
    message = message_from_bytes(data, policy=policy.default)
    if _is_encrypted(message):
        raise Refused("encrypted")
    plain = message.get_body(("plain",))
    page = message.get_body(("html",))
    text = _text(plain)
    html = "" if text.strip() else _text(page)
    attachments = [name for name, _ in zip(_attachments(message, [plain, page]), range(_MAX_ATTACHMENTS), strict=False)]
    telling = any(key.lower() in _TELLING for key in message)
    yield {"is_message": telling, "headers": _headers(message), "text": text, "html": html, "attachments": attachments}
