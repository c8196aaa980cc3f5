"""``gcmedia token``: whether the credentials in the environment work."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..auth import BearerAuth, Credentials, TokenProvider
from ..errors import ApiError, AuthError, GcmediaError, MissingCredentials, RateLimited, TransportError
from ..transport.api import ApiClient, api_path
from .run import run_async
from .show import console

__all__ = ["token_app"]

token_app = typer.Typer(help="Access tokens.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@token_app.callback()
def _group() -> None:
    """Access tokens."""


@token_app.command("check")
def check_command(
    region: Annotated[str | None, typer.Option(help="AWS id, domain, short code or URL; else GENESYS_REGION.")] = None,
    auth_style: Annotated[str, typer.Option(help="basic (header) or body (form).")] = "basic",
    allow_custom_host: Annotated[
        bool, typer.Option("--allow-custom-host", help="Send the secret to a host that is not the platform's.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on standard output.")] = False,
    backend: Annotated[str, typer.Option(help="asyncio or trio.")] = "asyncio",
) -> None:
    """Get a token, show it to the API, and tell what it is good for; the token itself is never shown.

    Credentials come from GENESYS_CLIENT_ID, GENESYS_CLIENT_SECRET and GENESYS_REGION.
    Exit code 0: accepted; 2: settings missing or wrong; 3: refused; 4: no connection.
    """
    try:
        credentials = _credentials(region)
        provider = TokenProvider(
            credentials, auth_style=auth_style, attempts=2, max_wait_s=5.0, allow_custom_host=allow_custom_host
        )
        found = run_async(partial(_check, provider, allow_custom_host), backend)
    except GcmediaError as error:
        advice = _advice(error)
        if as_json:
            print(json.dumps({"ok": False, "error": _kind(error), "message": str(error), "advice": advice}))
        if advice:
            error.args = (f"{error}\n{advice}",)
        raise
    if as_json:
        print(json.dumps({"ok": True, **found}))
    else:
        _show(found)


def _credentials(region: str | None) -> Credentials:
    if region is None:
        return Credentials.from_env()
    import os

    return replace(Credentials.from_env({**os.environ, "GENESYS_REGION": region}), region=region)


async def _check(provider: TokenProvider, allow_custom_host: bool) -> dict[str, Any]:
    region = provider.region
    async with (
        provider,
        ApiClient(region.api_url, BearerAuth(provider), allow_custom_host=allow_custom_host) as api,
    ):
        await provider.token()
        told: dict[str, Any] = {}
        problem: str | None = None
        try:
            told = await api.get(api_path("tokens", "me")) or {}
        except ApiError as error:
            problem = str(error)  # the token is good, but this server does not tell of it
        scopes = told.get("authorizedScope") or list(provider.granted_scope)
        return {
            "region": region.aws or region.domain,
            "domain": region.domain,
            "known_region": region.known,
            "login_url": region.login_url,
            "api_url": region.api_url,
            "expires_in_s": round(provider.expires_in_s or 0.0),
            "scopes": [scope for scope in scopes if isinstance(scope, str)],
            "api": problem or "accepted",
        }


def _show(found: dict[str, Any]) -> None:
    hours, rest = divmod(found["expires_in_s"], 3600)
    custom = "" if found["known_region"] else " (a custom host)"
    lines = [
        f"region   {found['region']}, {found['domain']}{custom}",
        f"token    from {found['login_url']}, good for {hours} h {rest // 60} min {rest % 60} s",
        f"scopes   {' '.join(found['scopes']) or 'none told: client credentials have roles instead'}",
        f"API      {found['api_url']}: {found['api']}",
    ]
    console.print(escape("\n".join(lines)), soft_wrap=True)


def _kind(error: GcmediaError) -> str:
    return getattr(error, "error", None) or getattr(error, "code", None) or type(error).__name__


def _advice(error: GcmediaError) -> str:
    """What to do about it."""
    if isinstance(error, MissingCredentials):
        return "create an OAuth client (Admin > Integrations > OAuth) and export its id, secret and region"
    if isinstance(error, TransportError) or isinstance(error.__cause__, TransportError):
        return "no connection: check the network, name resolution, firewall (port 443) and GENESYS_REGION"
    if isinstance(error, RateLimited):
        return "too many token requests: wait, and share one TokenProvider instead of making one per call"
    if isinstance(error, AuthError) and error.error == "invalid_client":
        if "not found" in str(error):
            return "no such client there: check GENESYS_CLIENT_ID, and GENESYS_REGION, as a client lives in one region"
        return "the secret does not fit: check GENESYS_CLIENT_SECRET; it changes when a new one is generated"
    if isinstance(error, AuthError) and error.error in ("unauthorized_client", "unsupported_grant_type"):
        return "the OAuth client is of another type: it must have the grant type Client Credentials"
    if isinstance(error, AuthError) and "/api/v2/" in str(error):
        return "the API does not accept the token: login and API host may be of different regions"
    if isinstance(error, AuthError) and error.status == 403:
        return "give the OAuth client a role, in Admin > Integrations > OAuth > Roles"
    return ""
