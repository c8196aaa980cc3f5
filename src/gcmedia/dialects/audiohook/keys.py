"""API keys and their client secrets: from a mapping, a file, or whoever is asked."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigError

__all__ = ["KeyLookup", "KeySource", "Keys", "Secret", "decode_secret", "lookup"]

MAX_FILE_OCTETS = 64 << 20
MAX_API_KEY = 1024  # characters
MAX_SECRET = 4096  # characters

_NOBODYS = base64.b64encode(bytes(32)).decode()

#: A client secret in base64 as the platform shows it, or its octets; None for a key that is not known.
Secret = str | bytes | None

#: Answers for one key; may take its time, the edge sets the limit.
KeyLookup = Callable[[str], Awaitable[Secret]]

#: Whatever answers for keys.
KeySource = Mapping[str, str] | Mapping[str, bytes] | KeyLookup


def decode_secret(secret: str | bytes) -> bytes:
    """The octets of a client secret in base64, with or without padding; ``""`` gives none.

    Raises
    ------
    ConfigError
        If it is not base64; what it is, is not told.
    """
    if isinstance(secret, bytes):
        return secret
    if not isinstance(secret, str):
        raise ConfigError(f"client secret is {type(secret).__name__}, neither base64 nor octets")
    text = secret.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        if len(text) > MAX_SECRET:
            raise ConfigError(f"client secret has {len(text)} characters, more than {MAX_SECRET}")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"client secret of {len(secret)} characters is not base64") from (
            error if isinstance(error, ConfigError) else None
        )


class Keys(Mapping[str, bytes]):
    """API keys and the octets of their secrets, checked once; keys and secrets are in no repr.

    Parameters
    ----------
    secrets : mapping of str to str or bytes
        Base64 as the platform shows it, or octets.  A secret that is empty lets its key in unsigned.

    Raises
    ------
    ConfigError
        If a key cannot be one, or a secret is not base64; the message names the place, not the value.
    """

    def __init__(self, secrets: Mapping[str, str] | Mapping[str, bytes]) -> None:
        self._secrets: dict[str, bytes] = {}
        for place, (key, secret) in enumerate(secrets.items(), 1):
            if not isinstance(key, str) or not 0 < len(key) <= MAX_API_KEY or not _visible(key):
                raise ConfigError(f"API key {place} of {len(secrets)} is not 1 to {MAX_API_KEY} visible characters")
            if not isinstance(secret, str | bytes):
                raise ConfigError(f"secret of API key {place} of {len(secrets)} is {type(secret).__name__}, no string")
            try:
                self._secrets[key] = decode_secret(secret)
            except ConfigError as error:
                raise ConfigError(f"API key {place} of {len(secrets)}: {error}") from None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Keys:
        """Read a JSON object, API key to client secret in base64.

        Raises
        ------
        ConfigError
            If it is no such object, is empty, or names a key twice.
        OSError
            If it cannot be read.
        """
        octets = Path(path).read_bytes()
        if len(octets) > MAX_FILE_OCTETS:
            raise ConfigError(f"{os.fspath(path)} has {len(octets)} octets, more than {MAX_FILE_OCTETS}")
        return cls.from_json(octets, where=os.fspath(path))

    @classmethod
    def from_json(cls, octets: bytes, *, where: str = "keys") -> Keys:
        """The same of the octets of such a file."""
        try:
            found = json.loads(octets, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            what = str(error) if isinstance(error, ConfigError) else f"no JSON ({type(error).__name__})"
            raise ConfigError(f"{where}: {what}") from None
        if not isinstance(found, dict) or not found:
            raise ConfigError(f"{where}: not a JSON object with one API key or more")
        try:
            return cls(found)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    @property
    def unsigned(self) -> int:
        """How many keys have an empty secret, and so need no signature; worth a warning at start."""
        return sum(not secret for secret in self._secrets.values())

    def __getitem__(self, api_key: str) -> bytes:
        return self._secrets[api_key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)

    def __repr__(self) -> str:
        return f"Keys({len(self)} API keys, {self.unsigned} without a secret)"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ConfigError(f"{len(pairs) - len(found)} of {len(pairs)} names stand there twice")
    return found


def _visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


async def lookup(source: Keys | KeyLookup, api_key: str) -> bytes | None:
    """Ask a source of keys; None when it knows no such key.

    What a callable raises is passed on; the edge answers such a request as overloaded (503).
    """
    if isinstance(source, Keys):
        return source.get(api_key)
    found = await source(api_key)
    secret = decode_secret(_NOBODYS if found is None else found)  # the same work either way
    return None if found is None else secret
