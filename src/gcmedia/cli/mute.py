"""``gcmedia mute``, ``unmute`` and ``status``: an agent's microphone from the shell."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import anyio
import typer
from rich.markup import escape

from ..config import ConversationsConfig, InteractiveSessionsConfig, WebchatEdgeConfig
from ..errors import (
    AmbiguousCall,
    ApiError,
    AuthError,
    CallEnded,
    ConfigError,
    Forbidden,
    GcmediaError,
    HandshakeError,
    InvalidAudioStateError,
    NoActiveCall,
    RetryExhausted,
    StreamNotFound,
    TransportError,
)
from ..mute import STRATEGIES, MuteControl, MuteResult, MuteState, MuteStatus, default_config, open_mute
from .run import run_async
from .show import console

__all__ = ["EXIT_CODES", "mute_command", "status_command", "unmute_command"]

#: What a command ends with; 2, 3 and 4 are those of all commands.
EXIT_CODES = {"ok": 0, "failed": 1, "usage": 2, "auth": 3, "connection": 4, "rejected": 5, "timeout": 6, "no_call": 7}

_OF_STATUS = {
    MuteStatus.CONFIRMED: "ok",
    MuteStatus.ALREADY: "ok",
    MuteStatus.REJECTED: "rejected",
    MuteStatus.TIMEOUT: "timeout",
    MuteStatus.CALL_ENDED: "no_call",
}

StrategyOption = Annotated[str, typer.Option(help="conversations, webchat-edge or interactive-sessions.")]
ConversationOption = Annotated[str, typer.Option(help="Id of the conversation, for ways that need it.")]
UserOption = Annotated[str, typer.Option(help="Id of the agent, for ways that need it; else AGENT_USER_ID.")]
TimeoutOption = Annotated[float, typer.Option(help="Seconds to wait for the server's confirmation.")]
RegionOption = Annotated[str | None, typer.Option(help="AWS id, domain, short code or URL; else GENESYS_REGION.")]
UrlOption = Annotated[str | None, typer.Option(help="The web chat edge, instead of a published one.")]
StreamOption = Annotated[str | None, typer.Option(help="Stream of the web chat edge, where there are several.")]
SessionOption = Annotated[str | None, typer.Option(help="Interactive session, instead of a search for the agent's.")]
PolicyOption = Annotated[str | None, typer.Option(help="Which of several calls: newest or connected.")]
EndpointOption = Annotated[
    str, typer.Option(help="Of conversations: on_behalf (client credentials), self (the agent's token) or generic.")
]
CustomHostOption = Annotated[
    bool, typer.Option("--allow-custom-host", help="Send secrets to a host that is not the platform's.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The outcome as JSON on standard output.")]
BackendOption = Annotated[str, typer.Option(help="asyncio or trio.")]

DEFAULT_STRATEGY = next(iter(STRATEGIES))
STATUS_TIMEOUT_S = 2.0


def mute_command(
    strategy: StrategyOption = DEFAULT_STRATEGY,
    conversation: ConversationOption = "",
    user: UserOption = "",
    timeout: TimeoutOption = 5.0,
    region: RegionOption = None,
    url: UrlOption = None,
    stream: StreamOption = None,
    session: SessionOption = None,
    policy: PolicyOption = None,
    endpoint: EndpointOption = "on_behalf",
    allow_custom_host: CustomHostOption = False,
    as_json: JsonOption = False,
    backend: BackendOption = "asyncio",
) -> None:
    """Mute an agent, and return when the server has confirmed it.

    Credentials come from GENESYS_CLIENT_ID, GENESYS_CLIENT_SECRET and GENESYS_REGION.  Exit code 0: confirmed, or so
    already; 1: failed; 2: settings missing or wrong; 3: not authorised; 4: no connection; 5: the server refused; 6: not
    confirmed in time, or state unknown; 7: no call that could be muted.
    """
    options = _options(strategy, conversation, user, region, url, stream, session, policy, endpoint, allow_custom_host)
    _run(True, options, timeout, as_json, backend)


def unmute_command(
    strategy: StrategyOption = DEFAULT_STRATEGY,
    conversation: ConversationOption = "",
    user: UserOption = "",
    timeout: TimeoutOption = 5.0,
    region: RegionOption = None,
    url: UrlOption = None,
    stream: StreamOption = None,
    session: SessionOption = None,
    policy: PolicyOption = None,
    endpoint: EndpointOption = "on_behalf",
    allow_custom_host: CustomHostOption = False,
    as_json: JsonOption = False,
    backend: BackendOption = "asyncio",
) -> None:
    """Unmute an agent, and return when the server has confirmed it; exit codes as of mute."""
    options = _options(strategy, conversation, user, region, url, stream, session, policy, endpoint, allow_custom_host)
    _run(False, options, timeout, as_json, backend)


def status_command(
    strategy: StrategyOption = DEFAULT_STRATEGY,
    conversation: ConversationOption = "",
    user: UserOption = "",
    timeout: TimeoutOption = STATUS_TIMEOUT_S,
    region: RegionOption = None,
    url: UrlOption = None,
    stream: StreamOption = None,
    session: SessionOption = None,
    policy: PolicyOption = None,
    endpoint: EndpointOption = "on_behalf",
    allow_custom_host: CustomHostOption = False,
    as_json: JsonOption = False,
    backend: BackendOption = "asyncio",
) -> None:
    """Tell whether an agent is muted, and where the call stands; exit codes as of mute."""
    options = _options(strategy, conversation, user, region, url, stream, session, policy, endpoint, allow_custom_host)
    _run(None, options, timeout, as_json, backend)


def _options(
    strategy: str,
    conversation: str,
    user: str,
    region: str | None,
    url: str | None,
    stream: str | None,
    session: str | None,
    policy: str | None,
    endpoint: str,
    allow_custom_host: bool,
) -> dict[str, Any]:
    profile: WebchatEdgeConfig | InteractiveSessionsConfig | ConversationsConfig | None = None
    if strategy == "webchat-edge":
        profile = WebchatEdgeConfig(stream_id=stream)
    elif strategy == "interactive-sessions":
        profile = InteractiveSessionsConfig(session_id=session, policy=policy)
    elif strategy == "conversations":
        profile = ConversationsConfig(policy=policy, endpoint=endpoint)
    return {
        "strategy": strategy,
        "conversation_id": conversation,
        "user_id": user or os.environ.get("AGENT_USER_ID", "").strip(),
        "region": region,
        "url": url,
        "profile": profile,
        "allow_custom_host": allow_custom_host,
    }


def _run(muted: bool | None, options: dict[str, Any], timeout: float, as_json: bool, backend: str) -> None:
    failure: GcmediaError | None = None
    try:
        result, state = run_async(partial(_act, muted, options, timeout), backend)
    except* GcmediaError as group:
        failure = _first(group)
    if failure is not None:
        code, advice = _code(failure), _advice(failure)
        if as_json:
            print(json.dumps({"ok": False, "exit_code": code, **_told(failure), "advice": advice}))
        console.print(escape(f"gcmedia: {failure}"), soft_wrap=True)
        if advice:
            console.print(escape(advice), soft_wrap=True)
        raise typer.Exit(code)
    code = EXIT_CODES["ok"]
    if result is not None:
        code = EXIT_CODES[_OF_STATUS.get(result.status, "failed")]
        if isinstance(result.error, StreamNotFound):
            code = EXIT_CODES["no_call"]
    elif state.unknown:
        code = EXIT_CODES["timeout"]
    if as_json:
        print(json.dumps(_as_json(result, state, code)))
    console.print(escape(_as_text(result, state)), soft_wrap=True)
    if code:
        raise typer.Exit(code)


async def _act(muted: bool | None, options: dict[str, Any], timeout_s: float) -> tuple[MuteResult | None, MuteState]:
    name = options["strategy"]
    config = replace(default_config(name), confirm_timeout_s=timeout_s)
    arguments = {key: value for key, value in options.items() if key != "strategy"}
    async with open_mute(name, config=config, **arguments) as control:
        if muted is not None:
            return await control.set_muted(muted), control.state
        return None, await _status(control, timeout_s)


async def _status(control: MuteControl, timeout_s: float) -> MuteState:
    """What is known, once anything is: some servers can be asked, others tell by themselves soon after the sign-in."""
    events = control.events()
    state = await control.refresh()
    with anyio.move_on_after(timeout_s):
        while state.unknown:
            state = (await anext(events)).state
    return state


def _first(group: BaseException) -> GcmediaError:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    assert isinstance(group, GcmediaError)
    return group


def _code(error: GcmediaError) -> int:
    if isinstance(error, RetryExhausted) and isinstance(error.__cause__, GcmediaError):
        error = error.__cause__
    if isinstance(error, ConfigError | AmbiguousCall):
        return EXIT_CODES["usage"]
    if isinstance(error, NoActiveCall | CallEnded | InvalidAudioStateError | StreamNotFound):
        return EXIT_CODES["no_call"]
    if isinstance(error, AuthError) and error.status is None:  # the token endpoint did not answer
        return EXIT_CODES["connection"]
    if isinstance(error, AuthError | Forbidden) or (isinstance(error, HandshakeError) and error.status in (401, 403)):
        return EXIT_CODES["auth"]
    if isinstance(error, TransportError) or (isinstance(error, ApiError) and error.transient):
        return EXIT_CODES["connection"]
    return EXIT_CODES["rejected"] if isinstance(error, ApiError) else EXIT_CODES["failed"]


def _advice(error: GcmediaError) -> str:
    """What to do about it."""
    if isinstance(error, ConfigError) and "user_id" in str(error):
        return "name the agent by --user or AGENT_USER_ID"
    if isinstance(error, ConfigError) and "conversation_id" in str(error):
        return "name the call by --conversation"
    if isinstance(error, AmbiguousCall):
        return (
            "name one by --conversation, --session or --stream, or choose one by --policy newest or --policy connected"
        )
    if isinstance(error, NoActiveCall | CallEnded | StreamNotFound):
        return "make sure that the agent is in a voice call: chats and tasks have no microphone to mute"
    if isinstance(error, InvalidAudioStateError):
        return "try again when the call is connected"
    if isinstance(error, AuthError | Forbidden):
        return "gcmedia token check tells what the credentials are good for"
    if isinstance(error, HandshakeError):
        return "make sure of --region and --url, and that port 443 is open to that host"
    if isinstance(error, RetryExhausted):
        return "try again later; the state of the microphone is not known to have changed"
    return ""


def _told(error: GcmediaError) -> dict[str, Any]:
    names = ("status", "code", "context_id", "correlation_id", "retry_after", "attempts", "state")
    told = {name: getattr(error, name) for name in names if getattr(error, name, None) is not None}
    return {"error": type(error).__name__, "message": str(error), **told}


def _as_json(result: MuteResult | None, state: MuteState, code: int) -> dict[str, Any]:
    told: dict[str, Any] = {"ok": code == EXIT_CODES["ok"], "exit_code": code}
    if result is not None:
        told |= {
            "result": str(result.status),
            "wanted": result.muted,
            "latency_s": round(result.latency_s, 6),
            "attempts": result.attempts,
            "reason": _told(result.error) if result.error else None,
        }
    return told | {"muted": state.confirmed, "call_state": str(state.call_state), "can_mute": state.can_mute}


def _as_text(result: MuteResult | None, state: MuteState) -> str:
    known = {None: "unknown", True: "muted", False: "not muted"}[state.confirmed]
    if result is None:
        return f"{known}; the call is {state.call_state}"
    text = f"{result.status} after {result.latency_s:.3f} s: the agent is {known}"
    if result.error is not None:
        text += f"\n{result.error}"
    if result.status is MuteStatus.TIMEOUT:
        text += "\nthe server took the request, and may still carry it out: gcmedia status tells"
    return text
