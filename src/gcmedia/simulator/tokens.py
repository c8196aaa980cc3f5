"""Access tokens: issued, checked, revoked.  Time is an argument."""

from __future__ import annotations

import secrets
from collections import OrderedDict

__all__ = ["TokenStore"]


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
        self._expiries: OrderedDict[str, float] = OrderedDict()
        self._users: dict[str, str] = {}

    def knows(self, client_id: str) -> bool:
        """Whether there is such a client."""
        return secrets.compare_digest(client_id.encode(), self._client_id.encode())

    def authenticates(self, client_id: str, client_secret: str) -> bool:
        """Whether id and secret are those of the client."""
        return self.knows(client_id) and secrets.compare_digest(client_secret.encode(), self._client_secret.encode())

    def issue(self, now: float, user_id: str | None = None) -> str:
        """A new token; of a user, or of client credentials, which are nobody."""
        token = secrets.token_urlsafe(48)
        self._expiries[token] = now + self.lifetime_s
        if user_id is not None:
            self._users[token] = user_id
        while len(self._expiries) > self._limit:
            self._users.pop(self._expiries.popitem(last=False)[0], None)
        return token

    def user_of(self, token: str) -> str | None:
        """The user for whom the token was issued."""
        return self._users.get(token)

    def revoke(self, token: str) -> None:
        """A token is worth nothing from now on."""
        self._expiries.pop(token, None)
        self._users.pop(token, None)

    def accepts(self, token: str, now: float) -> bool:
        """Whether the token was issued, is not revoked and has not expired."""
        expiry = self._expiries.get(token)
        return expiry is not None and now < expiry

    def revoke_all(self) -> None:
        """Every token issued so far is worth nothing."""
        self._expiries.clear()
        self._users.clear()
