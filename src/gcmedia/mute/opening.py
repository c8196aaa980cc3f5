"""From names and settings to a `MuteControl` that is connected."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from ..auth import BearerAuth, Credentials, TokenProvider, TokenSource, token_source
from ..clock import Clock
from ..config import ConversationsConfig, InteractiveSessionsConfig, MuteConfig, ReconnectConfig, WebchatEdgeConfig
from ..errors import ConfigError, MissingCredentials
from ..record import AuditLog
from ..regions import Region, resolve_region
from ..transport.api import ApiClient
from .control import MuteControl
from .conversations import ConversationsStrategy
from .interactive_sessions import InteractiveSessions
from .strategy import MuteStrategy
from .webchat_edge import WebchatEdge, edge_url

P = TypeVar("P")

DEFAULT_MARGIN_S = 60.0  # before its end a token is renewed

__all__ = ["STRATEGIES", "MuteTarget", "default_config", "open_mute"]


@dataclass(frozen=True, slots=True)
class MuteTarget:
    """Whom to mute, where, and what a way to mute may need for it.

    Attributes
    ----------
    conversation_id, user_id : str
        The call and the agent; empty where the strategy does without.
    region : Region
        The hosts.
    tokens : TokenSource
        Where tokens come from.
    environment : str
        Of the web chat edge; by default the name of the region.
    url : str or None
        Of the web chat edge, without its query, instead of a published one.
    profile : WebchatEdgeConfig, InteractiveSessionsConfig, ConversationsConfig or None
        Settings of the strategy.
    reconnect : ReconnectConfig or None
        Of connections.
    allow_custom_host : bool
        Whether tokens may go to a host that is neither the platform's, over TLS, nor this machine.
    clock, rng : Clock, random.Random
        Sources of time and jitter.
    """

    conversation_id: str
    user_id: str
    region: Region
    tokens: TokenSource
    environment: str
    url: str | None
    profile: object
    reconnect: ReconnectConfig | None
    allow_custom_host: bool
    clock: Clock
    rng: random.Random


async def _webchat_edge(target: MuteTarget, stack: AsyncExitStack) -> MuteStrategy:
    base = target.url
    if base is None and not target.region.known:  # one origin that answers everything
        base = f"{target.region.media_url}/ws"
    return WebchatEdge(
        edge_url(target.environment, base=base),
        target.tokens,
        target.conversation_id,
        _profile(target, WebchatEdgeConfig),
        reconnect=target.reconnect,
        allow_custom_host=target.allow_custom_host,
        clock=target.clock,
        rng=target.rng,
    )


async def _interactive_sessions(target: MuteTarget, stack: AsyncExitStack) -> MuteStrategy:
    profile = _profile(target, InteractiveSessionsConfig)
    return InteractiveSessions(await _api(target, stack), target.user_id, profile, clock=target.clock)


async def _conversations(target: MuteTarget, stack: AsyncExitStack) -> MuteStrategy:
    return ConversationsStrategy(
        await _api(target, stack),
        _profile(target, ConversationsConfig),
        user_id=target.user_id,
        conversation_id=target.conversation_id,
        clock=target.clock,
        rng=target.rng,
    )


async def _api(target: MuteTarget, stack: AsyncExitStack) -> ApiClient:
    return await stack.enter_async_context(
        ApiClient(
            target.region.api_url,
            BearerAuth(target.tokens),
            allow_custom_host=target.allow_custom_host,
            clock=target.clock,
        )
    )


def _profile(target: MuteTarget, kind: type[P]) -> P:
    if target.profile is None:
        return kind()
    if not isinstance(target.profile, kind):
        raise ConfigError(f"profile is a {type(target.profile).__name__}, but this strategy takes a {kind.__name__}")
    return target.profile


#: The ways to mute, by name; the first is the default of the commands.
STRATEGIES: dict[str, Callable[[MuteTarget, AsyncExitStack], Awaitable[MuteStrategy]]] = {
    "conversations": _conversations,
    "interactive-sessions": _interactive_sessions,
    "webchat-edge": _webchat_edge,
}


def default_config(strategy: str) -> MuteConfig:
    """Times and limits as they were published for a strategy, where they were."""
    return MuteConfig.interactive_sessions() if strategy == "interactive-sessions" else MuteConfig()


@asynccontextmanager
async def open_mute(
    strategy: str = "conversations",
    *,
    conversation_id: str = "",
    user_id: str = "",
    credentials: Credentials | None = None,
    token: str | TokenSource | Callable[[], str | Awaitable[str]] | None = None,
    region: str | Region | None = None,
    config: MuteConfig | None = None,
    profile: WebchatEdgeConfig | InteractiveSessionsConfig | ConversationsConfig | None = None,
    environment: str | None = None,
    url: str | None = None,
    reconnect: ReconnectConfig | None = None,
    allow_custom_host: bool = False,
    audit: AuditLog | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[MuteControl]:
    """Control the microphone of an agent.

    Parameters
    ----------
    strategy : str
        One of `STRATEGIES`.
    conversation_id, user_id : str
        The call and the agent, as far as the strategy needs them.
    credentials : Credentials, optional
        OAuth client; by default from ``GENESYS_CLIENT_ID``, ``GENESYS_CLIENT_SECRET`` and ``GENESYS_REGION``.
    token : str, token source or callable, optional
        Instead of credentials; needs ``region``.
    region : str or Region, optional
        Instead of the credentials' own.
    config : MuteConfig, optional
        Times and limits; those that were published for the strategy by default.
    profile : optional
        Settings of the strategy.
    environment, url : str, optional
        Of the web chat edge, see `edge_url`.
    reconnect : ReconnectConfig, optional
        When and how often a lost connection is made again.
    allow_custom_host : bool
        Whether credentials and tokens may go to a host that is neither the platform's, over TLS, nor this machine.
    audit : AuditLog, optional
        Where each wish, with how it ended, and each change by somebody else is put down.
    clock, rng : Clock, random.Random, optional
        Sources of time and jitter.

    Yields
    ------
    MuteControl
        Connected, and closed on leaving.

    Raises
    ------
    ConfigError
        If there is no such strategy, or something that it needs is missing.
    GcmediaError
        If it could not connect.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"strategy is {strategy!r}, not one of {', '.join(STRATEGIES)}")
    clock, rng = clock or Clock(), rng or random.Random()
    config = config or default_config(strategy)
    async with AsyncExitStack() as stack:
        if token is not None:
            if credentials is not None:
                raise ConfigError("give either token or credentials, not both")
            if region is None:
                raise MissingCredentials("region is needed with token: an AWS id, a domain or a URL")
            tokens, hosts = token_source(token), resolve_region(region)
        else:
            credentials = credentials or Credentials.from_env()
            if region is not None:
                credentials = replace(credentials, region=region)
            margin = getattr(profile, "refresh_margin_s", DEFAULT_MARGIN_S)
            provider = TokenProvider(
                credentials, refresh_margin_s=margin, allow_custom_host=allow_custom_host, clock=clock
            )
            tokens, hosts = await stack.enter_async_context(provider), provider.region
        target = MuteTarget(
            conversation_id=conversation_id,
            user_id=user_id,
            region=hosts,
            tokens=tokens,
            environment=environment or hosts.aws or hosts.domain,
            url=url,
            profile=profile,
            reconnect=reconnect,
            allow_custom_host=allow_custom_host,
            clock=clock,
            rng=rng,
        )
        way = await STRATEGIES[strategy](target, stack)
        yield await stack.enter_async_context(
            MuteControl(way, config, clock=clock, rng=rng, audit=audit, interaction_id=conversation_id)
        )
