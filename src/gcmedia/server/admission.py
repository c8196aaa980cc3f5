"""Who may open a session: room first, then the signature, then room for its key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Mapping
from typing import Any

from ..dialects.audiohook import Identity, Keys, Nonces, SignatureConfig, SignatureVerifier, UpgradeRequest
from ..dialects.audiohook.keys import KeySource, lookup
from ..errors import SignatureRefused
from ..transport.accept import Accept, Reject, Verdict
from ..transport.accept import UpgradeRequest as Incoming
from .host import Host
from .session import HookSession, RefusedSession

__all__ = ["Admission"]

BUSY = (("Retry-After", "5"),)


class Admission:
    """Decides about upgrade requests; `sessions_of` counts the sessions of each API key."""

    def __init__(
        self, server: Host, keys: Keys | KeySource, signatures: SignatureConfig, nonces: Nonces | None
    ) -> None:
        self._server = server
        self._keys = keys
        self._verifier = SignatureVerifier(keys, signatures, nonces=nonces)
        self.sessions_of: Counter[str] = Counter()

    def __call__(self, request: Incoming) -> Verdict | Awaitable[Verdict]:
        """Decide; the answer for a callable that looks keys up comes later."""
        server = self._server
        if server.draining:
            return self._busy("draining")
        if server.n_sessions >= server.max_sessions:
            return self._busy("too many sessions")
        asked = UpgradeRequest.of(request.target, (_as_latin1(pair) for pair in request.headers), request.method)
        if isinstance(self._keys, Mapping):
            api_key = self._verifier.api_key_of(asked)
            found: Any = self._keys.get(api_key)
            return self._check(asked, found, server.now())
        return self._ask(asked)

    async def _ask(self, asked: UpgradeRequest) -> Verdict:
        server = self._server
        arrived = server.now()
        assert not isinstance(self._keys, Mapping)
        api_key = self._verifier.api_key_of(asked)
        secret: bytes | None = None
        try:
            if api_key:
                with server.clock.fail_after(server.config.key_timeout_s):
                    secret = await lookup(self._keys, api_key)
        except Exception as error:  # the user's code: whatever it raises, there is no answer
            server.log.warning("the source of API keys gave no answer: %s", type(error).__name__)
            return self._busy("no keys")
        if server.draining or server.n_sessions >= server.max_sessions:
            return self._busy("too many sessions")
        return self._check(asked, secret, arrived)

    def _check(self, asked: UpgradeRequest, secret: Any, arrived: float) -> Verdict:
        server = self._server
        try:
            identity = self._verifier.check(asked, secret, server.clock.wall())
        except SignatureRefused as refused:
            self._count(refused.outcome)
            delay_s = max(0.0, arrived + refused.delay_s - server.now())
            if server.config.unauthorized == "session" and refused.status == 401:
                if len(server.refused) >= server.config.max_waiting:
                    server.counters.upgrades["too many refused"] += 1  # the request itself has been counted
                    return Reject(503, headers=BUSY)
                return Accept(RefusedSession(server, server.now(), delay_s))
            return Reject(refused.status, delay_s=delay_s)
        return self._let_in(identity)

    def _let_in(self, identity: Identity) -> Verdict:
        server = self._server
        if self.sessions_of[identity.api_key] >= server.config.max_sessions_per_key:
            return self._busy("too many sessions of a key")
        server.counters.upgrades["verified" if identity.signed else "unsigned"] += 1
        session = HookSession(server, identity, server.now())
        self.sessions_of[identity.api_key] += 1
        server.sessions.add(session)
        return Accept(session)

    def forget(self, identity: Identity) -> None:
        """One of its sessions is over."""
        self.sessions_of[identity.api_key] -= 1
        if self.sessions_of[identity.api_key] <= 0:
            del self.sessions_of[identity.api_key]

    def _busy(self, outcome: str) -> Verdict:
        self._count(outcome)
        return Reject(503, headers=BUSY)

    def _count(self, outcome: str) -> None:
        """One more that is turned away."""
        self._server.counters.upgrades[outcome] += 1
        if self._server.live is not None:
            self._server.live.refuse(outcome)


def _as_latin1(pair: tuple[str, str]) -> tuple[str, str]:
    """Octets beyond ASCII, which the HTTP parser kept as surrogates, as Latin-1."""
    name, value = pair
    if value.isascii():
        return pair
    return name, value.encode("utf-8", "surrogateescape").decode("latin-1")
