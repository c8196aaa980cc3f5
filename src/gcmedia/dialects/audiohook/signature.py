"""HTTP message signatures (RFC 9421) as AudioHook uses them: hmac-sha256 over six components, in the order received.

Parsing, the signature base and the comparison are those of ``http-message-signatures`` (the extra ``server``); the
rules on top, and everything that has to do with time, are here.  Whatever is wrong with a request becomes one error,
`SignatureRefused`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import SignatureRefused
from .keys import Keys, KeySource
from .nonces import Nonces
from .settings import SignatureConfig
from .upgrade import Identity, UpgradeRequest

__all__ = ["COMPONENTS", "SignatureVerifier", "sign"]

#: Components that have to be covered, in the order in which the published client lists them.
COMPONENTS = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)


class SignatureVerifier:
    """Decide whether an upgrade request is let in.

    Parameters
    ----------
    keys : Keys, mapping, or async callable
        Who answers for an API key; see `KeySource`.
    config : SignatureConfig, optional
        Settings.
    nonces : Nonces, optional
        Memory of nonces; one of this process by default.

    Attributes
    ----------
    outcomes : dict of str to int
        Requests by outcome: ``"verified"``, ``"unsigned"`` and those of `SignatureRefused`.

    Raises
    ------
    ConfigError
        If the extra ``server`` is not installed.

    Notes
    -----
    ::

        try:
            identity = await verifier.verify(request, unix_now=time.time())
        except SignatureRefused as refused:
            ...  # wait until refused.delay_s after the request came, then answer with refused.status and no detail

    A request with an unknown key takes the same steps as one with a known key: the same parsing, an HMAC with a
    secret nobody knows, the same comparison.  What differs is hidden by the fixed delay, counted from the arrival.
    """

    def __init__(
        self,
        keys: KeySource | Keys,
        config: SignatureConfig | None = None,
        *,
        nonces: Nonces | None = None,
    ) -> None:
        raise NotImplementedError

    async def verify(self, request: UpgradeRequest, unix_now: float) -> Identity:
        """Verify a request; waits for nothing but the source of keys.

        Parameters
        ----------
        request : UpgradeRequest
            As it came.
        unix_now : float
            Seconds since the epoch: the signature's times are wall time.

        Raises
        ------
        SignatureRefused
            With the outcome, the status to answer with, and how long to wait before.
        """
        raise NotImplementedError

    def api_key_of(self, request: UpgradeRequest) -> str:
        """First step of `verify` for those who look keys up themselves: the API key, ``""`` when there is none."""
        raise NotImplementedError

    def check(self, request: UpgradeRequest, secret: bytes | None, unix_now: float) -> Identity:
        """Second step: verify with what is known of the key, None for an unknown one."""
        raise NotImplementedError


def sign(
    target: str,
    headers: Mapping[str, str],
    secret: str | bytes,
    *,
    authority: str,
    created: int,
    nonce: str | None = None,
    expires: int | None = None,
    label: str = "sig1",
) -> dict[str, str]:
    """Sign an upgrade request, as a client does.

    Parameters
    ----------
    target : str
        Path and query as they will stand on the request line.
    headers : mapping of str to str
        Has the three ids and ``X-API-KEY``, in any case.
    secret : str or bytes
        Client secret in base64, or its octets.
    authority : str
        Host, and port unless it is the default, in lower case.
    created, expires : int
        UNIX seconds; 30 s lie between when ``expires`` is None.
    nonce : str, optional
        22 characters or more; 18 random octets in base64 when None.
    label : str
        Of the signature in its two headers.

    Returns
    -------
    dict of str to str
        ``Signature-Input`` and ``Signature``, to be added to the headers.

    Raises
    ------
    ConfigError
        If a header is missing, or the secret is not base64.
    """
    raise NotImplementedError


_ = SignatureRefused
