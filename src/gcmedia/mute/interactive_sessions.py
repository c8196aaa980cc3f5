"""Muting over interactive sessions: a session is looked up, changed by PATCH, and read until it shows the change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import anyio

from ..clock import Clock
from ..config import InteractiveSessionsConfig
from ..dialects import interactive_sessions as dialect
from ..errors import CallEnded, ConfigError, NoActiveCall, NotFound, RemoteProtocolError
from ..regions import Region, resolve_region
from ..transport.api import ApiClient, api_path
from .strategy import CallState, Observation

__all__ = ["InteractiveSessions", "organization_region"]

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def organization_region(organization: str) -> Region:
    """The hosts of an organisation as the published tutorial has them: ``ORGANISATION.mygen.com`` for all.

    Raises
    ------
    ConfigError
        If the name is no label of a host name, and so might lead elsewhere.
    """
    name = organization.strip().lower()
    if not _LABEL.fullmatch(name):
        raise ConfigError(
            f"the organisation {organization[:80]!r} is no label of a host name (letters, digits, hyphens)"
        )
    host = f"{name}.mygen.com"
    return replace(resolve_region(f"https://{host}"), domain=host)


class InteractiveSessions:
    """The way to mute called ``interactive-sessions``.

    A session's id is good for one connection, so it is looked up anew when it is older than ``lookup_ttl_s``, and once
    more when the server does not know it any longer.

    Parameters
    ----------
    api : ApiClient
        Where the sessions are; the caller closes it.
    user_id : str
        The agent.
    config : InteractiveSessionsConfig, optional
        Which session, and how it is searched.
    clock : Clock, optional
        Source of time.
    """

    name = "interactive-sessions"
    confirmed_by = "read"
    readable = True

    def __init__(
        self,
        api: ApiClient,
        user_id: str,
        config: InteractiveSessionsConfig | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._config = config or InteractiveSessionsConfig()
        if not user_id and self._config.session_id is None:
            raise ConfigError("user_id is empty, and no session_id is given: whom to mute?")
        self._api = api
        self._user_id = user_id
        self._clock = clock or Clock()
        self._found: tuple[str, float] | None = None  # the session, and when it was found

    async def run(self, observe: Callable[[Observation], None], ready: Callable[[], None]) -> None:
        """Be ready: there is no connection to hold, and the server tells nothing by itself."""
        ready()
        await anyio.sleep_forever()

    async def request(self, muted: bool) -> None:
        """Change the session; a session that has gone is looked up once more."""
        session = await self._session()
        try:
            await self._api.request("PATCH", self._path(session), dialect.mute_body(muted))
        except NotFound as gone:
            session = await self._session_after(gone)
            try:
                await self._api.request("PATCH", self._path(session), dialect.mute_body(muted))
            except NotFound as again:
                raise _ended(session, again) from again

    async def read(self) -> Observation:
        """Read the session; a session that has gone is looked up once more."""
        session = await self._session()
        try:
            body = await self._api.get(self._path(session))
        except NotFound as gone:
            session = await self._session_after(gone)
            try:
                body = await self._api.get(self._path(session))
            except NotFound as again:
                raise _ended(session, again) from again
        found = dialect.read_session(body)
        return Observation(_call_state(found), found.muted, "read")

    async def _session(self) -> str:
        config = self._config
        if config.session_id is not None:
            return config.session_id
        now = self._clock.now()
        if self._found is not None and now - self._found[1] <= config.lookup_ttl_s:
            return self._found[0]
        body = dialect.search_body(self._user_id, config.page_size)
        answer = await self._api.request(config.search_method, dialect.SEARCH_PATH, body)
        try:
            found = answer.json()
        except (ValueError, RecursionError):
            raise RemoteProtocolError("the search for sessions was answered with no JSON") from None
        sessions = dialect.read_search(found)
        session = dialect.choose(sessions, self._user_id, config.policy)
        self._found = (session.id, now)
        return session.id

    async def _session_after(self, gone: NotFound) -> str:
        """The session to try instead of one that has gone."""
        if self._config.session_id is not None:
            raise _ended(self._config.session_id, gone) from gone
        before = self._found[0] if self._found else ""
        self._found = None
        try:
            return await self._session()
        except NoActiveCall:
            raise _ended(before, gone) from gone

    def _path(self, session: str) -> str:
        return api_path("interactive", "sessions", session)


def _call_state(session: dialect.Session) -> CallState:
    if session.state is not None:
        return CallState(session.state) if session.state in set(CallState) else CallState.UNKNOWN
    if session.status is None:
        return CallState.UNKNOWN
    return CallState.CONNECTED if session.status == "active" else CallState.DISCONNECTED


def _ended(session: str, gone: NotFound) -> CallEnded:
    return CallEnded(
        f"session {session} not found or ended",
        status=gone.status,
        code=gone.code,
        params=gone.params,
        context_id=gone.context_id,
        correlation_id=gone.correlation_id,
    )
