"""Every error that a user may see, as one tree.

    GakjuError
    ├── IndexMismatch          the index was built with another embedding or chunker
    ├── DatabaseUnavailable    PostgreSQL does not answer
    ├── DatabaseRefused        PostgreSQL answers with an error: rights, disk, limits
    ├── MemoryUnavailable      Redis/Valkey does not answer
    ├── EmbeddingUnavailable   the embedding endpoint does not answer or answers nonsense
    ├── RerankUnavailable      the rerank endpoint does not; a search goes on without it and says so
    ├── ServerStartFailed      an embedded server does not start
    ├── ReadFailed             one document cannot be read (encrypted, damaged, no text, …)
    ├── LLMError
    │   ├── LLMUnavailable     no connection, refused, overloaded: nothing was generated
    │   ├── LLMRejected        the server refused the request (context too long, wrong key, unknown model)
    │   └── LLMInterrupted     the stream broke after it began; what came is kept
    ├── ToolsFileInvalid       the file of tools cannot be used (pipelines/tools/types.py)
    ├── ToolFailed             a tool did not answer, or with an error (there, too)
    ├── InvalidMessage         empty, too long or not text
    ├── InvalidFilter          a filter that is not offered, or a value that it cannot have
    ├── SessionBusy            another question of the session is being answered
    └── SessionNotFound        unknown session id, or someone else's

`str(error)` says what failed, on what; `hint` says what to do. Both are safe to show: no secrets, no stack.
`code` is stable, for programs and for the texts of the page.
"""

from __future__ import annotations

from typing import ClassVar


class GakjuError(Exception):
    """Base class. `hint`: what to do, one sentence. `retryable`: the same request may work in a moment."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def sentence(self) -> str:
        """Message and hint in one line."""
        return f"{self} {self.hint}".strip()


class IndexMismatch(GakjuError):
    code = "index_mismatch"


class DatabaseUnavailable(GakjuError):
    code = "database_unavailable"
    retryable = True


class DatabaseRefused(GakjuError):
    code = "database_error"


class MemoryUnavailable(GakjuError):
    code = "memory_unavailable"
    retryable = True


class EmbeddingUnavailable(GakjuError):
    code = "embedding_unavailable"
    retryable = True


class RerankUnavailable(GakjuError):
    code = "rerank_unavailable"
    retryable = True


class ServerStartFailed(GakjuError):
    code = "server_start_failed"


class ReadFailed(GakjuError):
    """`reason` is one of: encrypted, no_text, damaged, empty, unsupported, too_large, encoding, unreadable, path_taken.

    `content_hash`: of the bytes that cannot be read, where that is known, so that they need not be tried again.
    """

    code = "read_failed"

    def __init__(self, message: str, *, reason: str, hint: str = "", content_hash: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.content_hash = content_hash


class LLMError(GakjuError):
    code = "llm_error"


class LLMUnavailable(LLMError):
    code = "llm_unavailable"
    retryable = True


class LLMRejected(LLMError):
    """`reason` is one of: context_length, auth, unknown_model, bad_request."""

    code = "llm_rejected"

    def __init__(self, message: str, *, reason: str = "bad_request", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class LLMInterrupted(LLMError):
    code = "llm_interrupted"
    retryable = True


class InvalidMessage(GakjuError):
    """`reason` is one of: empty, too_long, not_text, unknown_option, bad_option, unknown_persona."""

    code = "invalid_message"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class InvalidFilter(GakjuError):
    code = "invalid_filter"


class SessionBusy(GakjuError):
    """`running`: the question that is being answered."""

    code = "session_busy"
    retryable = True

    def __init__(self, message: str, *, hint: str = "", running: str = "") -> None:
        super().__init__(message, hint=hint)
        self.running = running


class SessionNotFound(GakjuError):
    code = "session_not_found"
