"""HTTP message signatures (RFC 9421) as AudioHook uses them: hmac-sha256 over six components, in the order received.

Parsing, the signature base and the comparison are those of ``http-message-signatures`` (the extra ``server``); the
rules on top, and everything that has to do with time, are here.  Whatever is wrong with a request becomes one error,
`SignatureRefused`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ...errors import ConfigError, SignatureRefused
from .envelope import is_uuid
from .keys import MAX_API_KEY, KeyLookup, Keys, KeySource, decode_secret, lookup
from .nonces import MemoryFull, NonceMemory, Nonces
from .settings import SignatureConfig
from .upgrade import (
    API_KEY,
    CORRELATION_ID,
    ORGANIZATION_ID,
    RETRY_ATTEMPT,
    SESSION_ID,
    Identity,
    UpgradeRequest,
)

__all__ = ["COMPONENTS", "PARAMETERS", "SignatureVerifier", "sign"]

#: Components that have to be covered, in the order in which the published client lists them.
COMPONENTS = ("@request-target", "@authority", ORGANIZATION_ID, SESSION_ID, CORRELATION_ID, API_KEY)

#: Parameters, likewise.
PARAMETERS = ("keyid", "nonce", "alg", "created", "expires")

LIFETIME_S = 30
MAX_HEADERS = 100
MAX_HEADER_OCTETS = 32_768
MAX_NONCE = 1024

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)


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
        try:
            from . import rfc9421
        except ImportError as error:
            raise ConfigError(
                f"signatures cannot be verified without {error.name}: pip install 'gcmedia[server]'"
            ) from error
        self._rfc9421 = rfc9421
        self._config = config or SignatureConfig()
        self._keys: Keys | KeyLookup
        if isinstance(keys, Mapping) and not isinstance(keys, Keys):
            self._keys = Keys(keys)
        else:
            self._keys = keys
        self._nonces = NonceMemory(self._config.max_nonces) if nonces is None else nonces
        self._decoy = os.urandom(32)
        self.outcomes: dict[str, int] = {}

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
        api_key = self.api_key_of(request)
        try:
            secret = await lookup(self._keys, api_key) if api_key else None
        except Exception as error:
            self._refuse("overloaded", f"the source of keys failed: {type(error).__name__}", error, status=503)
        return self.check(request, secret, unix_now)

    def api_key_of(self, request: UpgradeRequest) -> str:
        """First step of `verify` for those who look keys up themselves: the API key, ``""`` when there is none."""
        found = [value for name, value in request.headers if name.lower() == API_KEY]
        api_key = _unfolded(found[0]) if len(found) == 1 else ""
        return api_key if _is_key(api_key) else ""

    def check(self, request: UpgradeRequest, secret: bytes | None, unix_now: float) -> Identity:
        """Second step: verify with what is known of the key, None for an unknown one.

        Raises
        ------
        SignatureRefused
            As by `verify`.
        """
        fields = self._fields_of(request)
        identity = self._identity_of(fields)
        signed = "signature-input" in fields or "signature" in fields
        if not signed:
            if secret != b"":
                self._refuse("unsigned", "no signature, and the key is not one that goes without")
            return self._let_in("unsigned", identity)
        if not ("signature-input" in fields and "signature" in fields):
            self._refuse("invalid", "one of the two headers of a signature is missing")
        try:
            found, signature = self._rfc9421.find_input(
                fields.pop("signature-input"), fields.pop("signature"), identity.api_key
            )
        except Exception as error:
            self._refuse("invalid", f"the signature's headers cannot be read: {type(error).__name__}", error)
        until = self._check_rules(found, identity, int(unix_now))
        self._check_hmac(request, fields, found, signature, secret)
        nonce = hashlib.blake2b(f"{identity.api_key}\n{found.parameters['nonce']}".encode(), digest_size=16).digest()
        try:
            fresh = self._nonces.add(nonce, until, int(unix_now))
        except MemoryFull as error:
            self._refuse("overloaded", f"no room for a nonce: {error}", status=503)
        if not fresh:
            self._refuse("replayed", "the nonce has been used before")
        return self._let_in("verified", identity)

    def _fields_of(self, request: UpgradeRequest) -> dict[str, str]:
        """Header fields by name in lower case: unfolded, stripped, repeated ones joined."""
        size = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
        if len(request.headers) > MAX_HEADERS or size > MAX_HEADER_OCTETS:
            self._refuse(
                "invalid",
                f"{len(request.headers)} headers of {size} octets, more than {MAX_HEADERS} of {MAX_HEADER_OCTETS}",
            )
        fields: dict[str, str] = {}
        for name, value in request.headers:
            if _NAME.fullmatch(name):
                name, value = name.lower(), _unfolded(value)
                fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return fields

    def _identity_of(self, fields: Mapping[str, str]) -> Identity:
        session_id = fields.get(SESSION_ID, "")
        organization_id = fields.get(ORGANIZATION_ID, "")
        api_key = fields.get(API_KEY, "")
        if not is_uuid(session_id):
            self._refuse("precondition", "the id of the session is missing or no UUID", status=400)
        if not is_uuid(organization_id):
            self._refuse("precondition", "the id of the organization is missing or no UUID")
        if not _is_key(api_key):
            self._refuse("precondition", "the API key is missing, there twice, or no key")
        attempt = fields.get(RETRY_ATTEMPT, "")
        return Identity(
            api_key,
            organization_id,
            session_id,
            correlation_id=fields.get(CORRELATION_ID, "")[:MAX_API_KEY],
            retry_attempt=int(attempt) if attempt.isascii() and attempt.isdigit() and len(attempt) < 10 else None,
            signed="signature" in fields,
        )

    def _check_rules(self, found: Any, identity: Identity, now: int) -> int:
        """The rules of AudioHook on top of the RFC; returns how long the nonce is to be remembered."""
        config, parameters = self._config, found.parameters
        unknown = parameters.keys() - set(PARAMETERS)
        if unknown:
            self._refuse("invalid", f"{len(unknown)} parameters that nobody knows")
        missing = [name for name in COMPONENTS if name not in found.bare]
        if missing:
            self._refuse("precondition", f"not covered: {', '.join(missing)}")
        for name in ("keyid", "nonce", "alg"):
            if name in parameters and type(parameters[name]) is not str:
                self._refuse("invalid", f"{name} is no string")
        for name in ("created", "expires"):
            if name in parameters and not (type(parameters[name]) is int and parameters[name] >= 0):
                self._refuse("invalid", f"{name} is no integer of 0 or more")
        if parameters.get("alg", "hmac-sha256") != "hmac-sha256":
            self._refuse("unsupported", "alg is not hmac-sha256")
        if parameters.get("keyid") != identity.api_key:
            self._refuse("precondition", "keyid is not the API key")
        if not config.min_nonce <= len(parameters.get("nonce", "")) <= MAX_NONCE:
            self._refuse("precondition", f"nonce is missing, or not of {config.min_nonce} to {MAX_NONCE} characters")
        if "created" not in parameters:
            self._refuse("precondition", "created is missing")
        created, expires = parameters["created"], parameters.get("expires")
        until: int = created + config.max_age_s + config.skew_s
        if created > now + config.skew_s:
            self._refuse("precondition", f"created {created - now} s from now, more than {config.skew_s}")
        if now > until:
            self._refuse("expired", f"created {now - created} s ago, more than {config.max_age_s + config.skew_s}")
        if expires is not None and now > expires + config.skew_s:
            self._refuse("expired", f"expired {now - expires} s ago, more than {config.skew_s}")
        return until

    def _check_hmac(
        self, request: UpgradeRequest, fields: Mapping[str, str], found: Any, signature: str, secret: bytes | None
    ) -> None:
        path, _, query = request.target.partition("?")
        values = {
            **fields,
            "@method": request.method,
            "@request-target": request.target,
            "@authority": self._authority(fields),
            "@path": path,
            "@query": f"?{query}",
        }
        try:
            self._rfc9421.check_hmac(self._decoy if secret is None else secret, found, signature, values)
        except self._rfc9421.Mismatch as error:
            self._refuse("failed", "the signature is wrong, or the key not known", error)
        except Exception as error:
            self._refuse("invalid", f"the signature cannot be checked: {type(error).__name__}", error)
        if secret is None:  # nobody can have signed with the decoy
            self._refuse("failed", "the signature is wrong, or the key not known")

    def _authority(self, fields: Mapping[str, str]) -> str:
        """``@authority`` (RFC 9421 section 2.2.3): lower case, without the default port."""
        authority = (self._config.authority or fields.get("host", "")).lower()
        return authority.removesuffix(":443" if self._config.tls else ":80")

    def _let_in(self, outcome: str, identity: Identity) -> Identity:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        return identity

    def _refuse(self, outcome: str, what: str, cause: BaseException | None = None, *, status: int = 401) -> NoReturn:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        raise SignatureRefused(
            f"upgrade request is not let in: {what}",
            outcome=outcome,
            status=status,
            delay_s=self._config.failure_delay_s,
        ) from cause


def _unfolded(value: str) -> str:
    """Without line folding and the space around it (RFC 9421 section 2.1)."""
    if "\r" in value:
        first, *more = value.split("\r\n")
        if all(line.startswith((" ", "\t")) for line in more):
            value = " ".join(line.strip(" \t") for line in (first, *more))
    return value.strip(" \t")


def _is_key(text: str) -> bool:
    return 0 < len(text) <= MAX_API_KEY and text.isascii() and text.isprintable() and not set(text) & set(' ,"\\')


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
    components: Sequence[str] = COMPONENTS,
    parameters: Sequence[str] = PARAMETERS,
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
    components, parameters : sequence of str
        What is covered and told, in this order.

    Returns
    -------
    dict of str to str
        ``Signature-Input`` and ``Signature``, to be added to the headers.

    Raises
    ------
    ConfigError
        If a header is missing, something is no printable ASCII, or the secret is not base64.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    values = {
        "keyid": _quoted(fields.get(API_KEY, "")),
        "nonce": _quoted(base64.b64encode(os.urandom(18)).decode() if nonce is None else nonce),
        "alg": '"hmac-sha256"',
        "created": str(created),
        "expires": str(created + LIFETIME_S if expires is None else expires),
    }
    fields |= {"@request-target": target, "@authority": authority}
    missing = [name for name in components if name not in fields]
    if missing:
        raise ConfigError(f"cannot be signed, missing: {', '.join(missing)}")
    covered = " ".join(_quoted(name) for name in components)
    told = "".join(f";{name}={values[name]}" for name in parameters)
    lines = [f"{_quoted(name)}: {fields[name]}" for name in components]
    lines.append(f'"@signature-params": ({covered}){told}')
    try:
        base = "\n".join(lines).encode("ascii")
    except UnicodeEncodeError:
        raise ConfigError("what is to be signed is not ASCII throughout") from None
    digest = hmac.digest(decode_secret(secret), base, "sha256")
    return {
        "Signature-Input": f"{label}=({covered}){told}",
        "Signature": f"{label}=:{base64.b64encode(digest).decode()}:",
    }


def _quoted(text: str) -> str:
    """A structured field's string (RFC 8941 section 3.3.3)."""
    if not (text.isascii() and text.isprintable()):
        raise ConfigError(f"text of {len(text)} characters is not printable ASCII")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
