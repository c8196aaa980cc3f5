"""Users who signed in: codes that are good once, and refresh tokens that change with every use (RFC 6749, RFC 7636)."""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["SignIn", "SignIns"]

LIMIT = 1000


@dataclass(frozen=True, slots=True)
class SignIn:
    """One user's consent for one client."""

    user_id: str
    scope: str
    redirect_uri: str
    challenge: str = ""  # of PKCE, S256; empty when the client proves itself by its secret


class SignIns:
    """What users' codes and refresh tokens stand for; the oldest of more than 1000 are forgotten."""

    def __init__(self) -> None:
        self._codes: OrderedDict[str, SignIn] = OrderedDict()
        self._refresh_tokens: OrderedDict[str, SignIn] = OrderedDict()

    def code(self, sign_in: SignIn) -> str:
        """A new code."""
        return _keep(self._codes, sign_in)

    def redeem(self, code: str, redirect_uri: str, verifier: str) -> SignIn | None:
        """What a code stands for, once; None when it is spent, unknown, or the proof does not fit."""
        sign_in = self._codes.pop(code, None)
        if sign_in is None or sign_in.redirect_uri != redirect_uri:
            return None
        if sign_in.challenge:
            digest = hashlib.sha256(verifier.encode()).digest()
            if not secrets.compare_digest(urlsafe_b64encode(digest).decode().rstrip("="), sign_in.challenge):
                return None
        return sign_in

    def refresh_token(self, sign_in: SignIn) -> str:
        """A new refresh token."""
        return _keep(self._refresh_tokens, sign_in)

    def refresh(self, refresh_token: str) -> SignIn | None:
        """What a refresh token stands for, once; None when it was used already or is unknown."""
        return self._refresh_tokens.pop(refresh_token, None)


def _keep(store: OrderedDict[str, SignIn], sign_in: SignIn) -> str:
    key = secrets.token_urlsafe(32)
    store[key] = sign_in
    while len(store) > LIMIT:
        store.popitem(last=False)
    return key
