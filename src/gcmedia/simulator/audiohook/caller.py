"""Who calls: the headers of an AudioHook upgrade request, signed when there is a secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import uuid4

from ...dialects.audiohook import sign
from ...errors import ConfigError

__all__ = ["Caller"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}


def _new_id() -> str:
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class Caller:
    """What an upgrade request says of its sender; every session has one of its own.

    Attributes
    ----------
    api_key, secret : str
        Of the integration; the secret in base64.  Without a secret the request is not signed.
    organization_id, session_id, correlation_id : str
        UUIDs; new ones by default.
    retry_attempt : int or None
        Told when not None.
    """

    api_key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    organization_id: str = field(default_factory=_new_id)
    session_id: str = field(default_factory=_new_id)
    correlation_id: str = field(default_factory=_new_id)
    retry_attempt: int | None = None

    def headers(self, url: str, unix_now: float) -> dict[str, str]:
        """The headers for a request to ``url``, signed as of ``unix_now``.

        Raises
        ------
        ConfigError
            If the URL is not one of a WebSocket server, or the secret is not base64.
        """
        authority, target = _split(url)
        headers = {
            "Audiohook-Organization-Id": self.organization_id,
            "Audiohook-Session-Id": self.session_id,
            "Audiohook-Correlation-Id": self.correlation_id,
            "X-API-KEY": self.api_key,
        }
        if self.retry_attempt is not None:
            headers["Audiohook-Retry-Attempt"] = str(self.retry_attempt)
        if self.secret:
            headers |= sign(target, headers, self.secret, authority=authority, created=int(unix_now))
        return headers


def _split(url: str) -> tuple[str, str]:
    """Authority and request target, as they are signed."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ConfigError("the URL of the AudioHook server cannot be read") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ConfigError(f"{parts.scheme}://{host or ''} is not a URL of a WebSocket server (ws:// or wss://)")
    if ":" in host:
        host = f"[{host}]"
    authority = host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
    return authority, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
