"""Access tokens: asked for once, kept as long as they last, and never shown.

Anything with ``async token()`` and ``invalidate(token)`` is a source of tokens: :class:`TokenProvider` gets them
with client credentials or for a user who signed in, :class:`StaticToken` holds one, :class:`CallableToken` asks
the caller's own function.  :class:`BearerAuth` puts them on the requests of an httpx client.
"""

from .bearer import BearerAuth
from .choice import token_source
from .credentials import Credentials, UserGrant
from .provider import TokenProvider
from .sign_in import authorize_url, pkce_pair
from .sources import CallableToken, StaticToken, TokenSource

__all__ = [
    "BearerAuth",
    "CallableToken",
    "Credentials",
    "StaticToken",
    "TokenProvider",
    "TokenSource",
    "UserGrant",
    "authorize_url",
    "pkce_pair",
    "token_source",
]
