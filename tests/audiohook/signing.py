"""Upgrade requests as a client sends them, and the small change of the tests."""

from __future__ import annotations

import asyncio
from typing import Any

from gcmedia.dialects.audiohook import Identity, SignatureVerifier, UpgradeRequest, sign

from .recorded import SESSION_ID

API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
ORGANIZATION_ID = "d7934305-0972-4844-938e-9060eef73d05"
CORRELATION_ID = "e160e428-53e2-487c-977d-96989bf5c99d"
TARGET = "/capture/ws?tenant=acme&x=%20y"
AUTHORITY = "capture.example.net"
NOW = 1_760_000_000

LIVE_COMPONENTS = (
    "@request-target",
    "audiohook-session-id",
    "audiohook-organization-id",
    "audiohook-correlation-id",
    "x-api-key",
    "@authority",
)
LIVE_PARAMETERS = ("created", "expires", "keyid", "nonce", "alg")


def headers(**changes: str | None) -> dict[str, str]:
    """The headers of an upgrade; a change of None leaves one out."""
    whole: dict[str, str | None] = {
        "Host": AUTHORITY,
        "Audiohook-Organization-Id": ORGANIZATION_ID,
        "Audiohook-Session-Id": SESSION_ID,
        "Audiohook-Correlation-Id": CORRELATION_ID,
        "X-API-KEY": API_KEY,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in whole.items() if value is not None}


def signed(
    secret: str | bytes = SECRET,
    *,
    target: str = TARGET,
    fields: dict[str, str] | None = None,
    created: int = NOW,
    authority: str = AUTHORITY,
    **more: Any,
) -> UpgradeRequest:
    fields = headers() if fields is None else fields
    signature = sign(target, fields, secret, authority=authority, created=created, **more)
    return UpgradeRequest.of(target, (fields | signature).items())


def verify(verifier: SignatureVerifier, request: UpgradeRequest, unix_now: float = NOW) -> Identity:
    return asyncio.run(verifier.verify(request, unix_now))
