"""How a user signs in, up to the code that a `UserGrant` redeems."""

from __future__ import annotations

import base64
import hashlib
import secrets
from urllib.parse import urlencode

from ..regions import Region, resolve_region

__all__ = ["authorize_url", "pkce_pair"]


def pkce_pair() -> tuple[str, str]:
    """Make a code verifier and its ``S256`` challenge (RFC 7636 section 4): keep the first, send the second."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).decode().rstrip("=")


def authorize_url(
    region: str | Region, client_id: str, redirect_uri: str, *, challenge: str, state: str, scope: str | None = None
) -> str:
    """Address at which a user signs in; the code comes back to ``redirect_uri`` together with ``state``."""
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": state,
    }
    if scope is not None:
        query["scope"] = scope
    return f"{resolve_region(region).login_url}/oauth/authorize?{urlencode(query)}"
