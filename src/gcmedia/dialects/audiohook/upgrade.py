"""The upgrade request: its headers, and who it says it is."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = ["Identity", "UpgradeRequest"]

ORGANIZATION_ID = "audiohook-organization-id"
SESSION_ID = "audiohook-session-id"
CORRELATION_ID = "audiohook-correlation-id"
RETRY_ATTEMPT = "audiohook-retry-attempt"
API_KEY = "x-api-key"


class Identity(msgspec.Struct, frozen=True):
    """Who the request says it is; the API key is in no repr.

    ``signed`` tells whether a signature has proved it; ``retry_attempt`` is None when the header is missing.
    """

    api_key: str
    organization_id: str
    session_id: str
    correlation_id: str = ""
    retry_attempt: int | None = None
    signed: bool = False

    def __repr__(self) -> str:
        return f"Identity(session_id={self.session_id!r}, signed={self.signed})"


class UpgradeRequest(msgspec.Struct, frozen=True):
    """An upgrade request as it came.

    Attributes
    ----------
    target : str
        Path and query exactly as on the request line.
    headers : tuple of (str, str)
        Names and values in the order of the wire, repeated ones apart; octets beyond ASCII as Latin-1.
    method : str
        ``"GET"``.
    """

    target: str
    headers: tuple[tuple[str, str], ...]
    method: str = "GET"

    @classmethod
    def of(cls, target: str, headers: Iterable[tuple[str, str]], method: str = "GET") -> UpgradeRequest:
        """From any iterable of pairs, such as ``websockets``' ``request.headers.raw_items()``."""
        return cls(target, tuple(headers), method)
