"""Access tokens: issued, checked, revoked.  Time is an argument."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["Issued", "TokenStore"]


@dataclass(frozen=True, slots=True)
class Issued:
    """What is known of a token.

    Attributes
    ----------
    expiry : float
        Clock seconds at which it ends.
    user_id : str
        Whose it is; empty for a client's own, which has no user context.
    scope : str
        What was asked for, space-separated.
    """

    expiry: float
    user_id: str = ""
    scope: str = ""


class TokenStore:
    """Tokens that are out.

    Parameters
    ----------
    client_id, client_secret : str
        The credentials that are accepted.
    lifetime_s : float
        Of every token.
    limit : int
        Tokens remembered; the oldest is forgotten, and so no longer accepted, when there would be more.
    """

    def __init__(self, client_id: str, client_secret: str, lifetime_s: float, limit: int = 10_000) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self.lifetime_s = lifetime_s
        self._limit = limit
        self._issued: OrderedDict[str, Issued] = OrderedDict()

    def knows(self, client_id: str) -> bool:
        """Whether there is such a client."""
        return secrets.compare_digest(client_id.encode(), self._client_id.encode())

    def authenticates(self, client_id: str, client_secret: str) -> bool:
        """Whether id and secret are those of the client."""
        return self.knows(client_id) and secrets.compare_digest(client_secret.encode(), self._client_secret.encode())

    def issue(self, now: float, user_id: str = "", scope: str = "") -> str:
        """A new token, of the client itself or of a user."""
        token = secrets.token_urlsafe(48)
        self._issued[token] = Issued(now + self.lifetime_s, user_id, scope)
        while len(self._issued) > self._limit:
            self._issued.popitem(last=False)
        return token

    def find(self, token: str, now: float) -> Issued | None:
        """What is known of a token that was issued, is not revoked and has not expired; else None."""
        issued = self._issued.get(token)
        return issued if issued is not None and now < issued.expiry else None

    def accepts(self, token: str, now: float) -> bool:
        """Whether the token was issued, is not revoked and has not expired."""
        return self.find(token, now) is not None

    def revoke(self, token: str) -> None:
        """This token is worth nothing."""
        self._issued.pop(token, None)

    def revoke_all(self) -> None:
        """Every token issued so far is worth nothing."""
        self._issued.clear()
