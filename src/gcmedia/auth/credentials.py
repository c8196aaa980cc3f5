"""Who asks for tokens: an OAuth client, or a user who signed in for one."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote_plus

from ..errors import MissingCredentials
from ..regions import Region

__all__ = ["Credentials", "UserGrant", "basic_value", "secrets_of"]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """An OAuth client of one region.  The secret is in no repr.

    Attributes
    ----------
    client_id, client_secret : str
        As the platform's administration shows them.
    region : str or Region
        Anything that :func:`~gcmedia.regions.resolve_region` takes.

    Raises
    ------
    MissingCredentials
        If one of them is empty; the message names it.
    """

    client_id: str
    client_secret: str
    region: str | Region

    def __post_init__(self) -> None:
        missing = [name for name in ("client_id", "client_secret", "region") if not getattr(self, name)]
        if missing:
            raise MissingCredentials(f"{' and '.join(missing)} must not be empty")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``GENESYS_CLIENT_ID``, ``GENESYS_CLIENT_SECRET`` and ``GENESYS_REGION``.

        Parameters
        ----------
        environ : mapping of str to str, optional
            Read instead of the environment of the process.

        Raises
        ------
        MissingCredentials
            If a variable is unset or empty; the message names every such one.
        """
        environ = os.environ if environ is None else environ
        names = ("GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET", "GENESYS_REGION")
        values = [environ.get(name, "").strip() for name in names]
        missing = [name for name, value in zip(names, values, strict=True) if not value]
        if missing:
            raise MissingCredentials(f"set {', '.join(missing)} in the environment")
        return cls(*values)

    def __repr__(self) -> str:
        return f"Credentials({identity_of(self)}, client_secret='***')"


@dataclass(frozen=True, slots=True, repr=False)
class UserGrant:
    """What a user's sign-in gave: a code to redeem (RFC 6749 section 4.1, PKCE of RFC 7636), or a refresh token.

    Attributes
    ----------
    client_id : str
        The OAuth client for which the user signed in.
    region : str or Region
        Anything that :func:`~gcmedia.regions.resolve_region` takes.
    code, redirect_uri, code_verifier : str
        The code, the address to which it came, and the verifier of :func:`pkce_pair` if one was used.
    refresh_token : str
        Instead of a code, the token kept from an earlier sign-in.
    client_secret : str
        Empty for a public client, which proves itself by PKCE.

    Raises
    ------
    MissingCredentials
        If the client, the region, or both code and refresh token are empty, or a code has no ``redirect_uri``.
    """

    client_id: str
    region: str | Region
    code: str = ""
    redirect_uri: str = ""
    code_verifier: str = ""
    refresh_token: str = ""
    client_secret: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in ("client_id", "region") if not getattr(self, name)]
        if not (self.code or self.refresh_token):
            missing.append("code or refresh_token")
        if self.code and not self.redirect_uri:
            missing.append("redirect_uri")
        if missing:
            raise MissingCredentials(f"{' and '.join(missing)} must not be empty")

    def __repr__(self) -> str:
        return f"UserGrant({identity_of(self)}, {'code' if self.code else 'refresh_token'}='***')"


def basic_value(grant: Credentials | UserGrant) -> str:
    """Identity and secret as HTTP Basic puts them (RFC 7617), without the word before."""
    return base64.b64encode(f"{grant.client_id}:{grant.client_secret}".encode()).decode()


def secrets_of(grant: Credentials | UserGrant, *more: str) -> list[str]:
    """Every form of a secret that an answer might repeat."""
    plain = [grant.client_secret, *more]
    if isinstance(grant, UserGrant):
        plain += [grant.code, grant.code_verifier, grant.refresh_token]
    forms = [basic_value(grant)] if grant.client_secret else []
    for secret in filter(None, plain):
        forms += [secret, quote_plus(secret)]
    return forms


def identity_of(grant: Credentials | UserGrant) -> str:
    """Client and region, as a repr may show them."""
    shown = f"{grant.client_id[:4]}..." if len(grant.client_id) > 12 else "..."
    region = grant.region.domain if isinstance(grant.region, Region) else grant.region
    return f"client_id={shown!r}, region={region!r}"
