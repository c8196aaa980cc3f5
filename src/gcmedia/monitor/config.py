"""Settings of the monitor, checked once."""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError

__all__ = ["MonitorConfig", "listen_tokens_in"]

MIN_TOKEN = 16  # characters


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    """Where the monitor listens, and who may see and hear what.

    Attributes
    ----------
    host : str
        Address to listen on.  Beyond this machine it takes a certificate, or ``behind_tls``.
    port : int
        0 for any.
    token : str
        Bearer token of page and metrics; made up when left out, and then told by `Monitor.token`.
    listen_tokens : mapping of str to str
        Bearer token of each role that may listen in; empty, nobody may.  The role stands in the audit as actor.
    audit_to : path or None
        Audit log of who listened in, and who was refused; needed for ``listen_tokens``.
    certificate, key : path or None
        For TLS.
    behind_tls : bool
        Whether something in front of it speaks TLS.
    max_onlookers : int
        Pages and listeners at a time; more are refused.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    listen_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    audit_to: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    behind_tls: bool = False
    max_onlookers: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}, not in [0, 65535]")
        if not 1 <= self.max_onlookers <= 1000:
            raise ConfigError(f"max_onlookers is {self.max_onlookers}, not in [1, 1000]")
        for what, token in (("token", self.token), *((f"token of {r!r}", t) for r, t in self.listen_tokens.items())):
            if len(token) < MIN_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
                raise ConfigError(
                    f"the {what} has {len(token)} characters; it takes {MIN_TOKEN} or more of ASCII without spaces"
                )
        if self.token in self.listen_tokens.values():
            raise ConfigError("a token to listen in is also that of the page; listening in needs one of its own")
        if self.listen_tokens and self.audit_to is None:
            raise ConfigError("listening in is audited: audit_to says where")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("certificate and key go together")
        for path in (self.certificate, self.key):
            if path is not None and not Path(path).is_file():
                raise ConfigError(f"no such file: {os.fspath(path)}")
        if not (self.behind_tls or self.certificate is not None or is_this_machine(self.host)):
            raise ConfigError(
                f"host is {self.host}: beyond this machine the token would travel in the clear; give certificate and"
                " key, or behind_tls=True where something in front speaks TLS"
            )

    @classmethod
    def at(cls, address: str, **settings: object) -> MonitorConfig:
        """Settings for ``PORT`` or ``HOST:PORT``, tokens from the environment.

        ``GCMEDIA_MONITOR_TOKEN`` is the token of the page, ``GCMEDIA_LISTEN_TOKEN`` that of listeners: one token, or
        ``ROLE=TOKEN`` of several, comma-separated.

        Raises
        ------
        ConfigError
            If the address is none, or a setting is out of its range.
        """
        host, _, port = address.rpartition(":")
        if not port.isascii() or not port.isdigit():
            raise ConfigError(f"monitor is {address!r}, not PORT or HOST:PORT")
        found: dict[str, object] = {"host": host.strip("[]") or "127.0.0.1", "port": int(port)}
        token = os.environ.get("GCMEDIA_MONITOR_TOKEN")
        if token:
            found["token"] = token
        if "listen_tokens" not in settings:
            found["listen_tokens"] = listen_tokens_in(os.environ.get("GCMEDIA_LISTEN_TOKEN", ""))
        return cls(**{**found, **settings})  # type: ignore[arg-type]


def listen_tokens_in(text: str) -> dict[str, str]:
    """Read ``TOKEN`` or ``ROLE=TOKEN,ROLE=TOKEN``."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, separator, token = part.partition("=")
        if not separator or len(role) >= MIN_TOKEN:
            role, token = "listener", part
        if role in found or not role.isidentifier():
            raise ConfigError("GCMEDIA_LISTEN_TOKEN holds a role twice, or one that is no word")
        found[role] = token
    return found


def is_this_machine(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
