"""What ``http-message-signatures`` does for us: structured fields, the signature base, HMAC and its comparison.

Imported when a verifier is made, as it brings a library for cryptography along.  It raises what it likes; its caller
turns all of it into one error.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import http_sf
from cryptography.exceptions import InvalidSignature as WrongSignature
from http_message_signatures import (
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
)
from http_message_signatures.algorithms import HMAC_SHA256

__all__ = ["Input", "Mismatch", "check_hmac", "find_input"]

MAX_COMPONENTS = 32


class Mismatch(Exception):
    """The signature was read, and is not that of the key."""


class Unusable(Exception):
    """A signature that cannot be read."""


class Input:
    """One member of ``Signature-Input``: its label, components and parameters, and the member by itself.

    ``bare`` are the names of components that carry no parameters of their own.
    """

    __slots__ = ("alone", "bare", "label", "parameters")

    def __init__(self, label: str, member: Any) -> None:
        items, self.parameters = member
        if not isinstance(items, list) or len(items) > MAX_COMPONENTS:
            raise Unusable(f"member is no list of up to {MAX_COMPONENTS} components")
        if not all(type(name) is str for name, _ in items):
            raise Unusable("a component's name is no string")
        self.label = label
        self.bare = {name for name, parameters in items if not parameters}
        self.alone = http_sf.ser({label: member})


def _refuse(key: str, context: str) -> None:
    raise Unusable(f"a name stands twice in a {context}")


def _dictionary(value: str) -> dict[str, Any]:
    parsed: Any = http_sf.parse(value.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse)
    return parsed  # type: ignore[no-any-return]


def find_input(signature_input: str, signature: str, key_id: str) -> tuple[Input, str]:
    """The signature that names the key, else the first, and its member of ``Signature`` by itself.

    Others may stand there too, as of a proxy.
    """
    inputs, signatures = _dictionary(signature_input), _dictionary(signature)
    labels = [label for label in inputs if label in signatures]
    if not labels:
        raise Unusable("no label stands in both headers")
    named = (label for label in labels if inputs[label][1].get("keyid") == key_id)
    label = next(named, labels[0])
    return Input(label, inputs[label]), http_sf.ser({label: signatures[label]})


class _Fields:
    def __init__(self, pairs: tuple[tuple[str, str], ...]) -> None:
        self._pairs = pairs

    def items(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)


class _Message:
    """A request as the library wants it: the two headers of the signature, and the values of what it may cover."""

    def __init__(self, found: Input, signature: str, values: Mapping[str, str]) -> None:
        self.headers = _Fields((("signature-input", found.alone), ("signature", signature)))
        self.values = values


class _Resolver:
    """The value of each component; those with parameters of their own are none that a client of ours covers."""

    def __init__(self, message: _Message) -> None:
        self._values = message.values

    def resolve(self, component: Any) -> str:
        if component.params:
            raise Unusable("a component has parameters")
        return self._values[component.value]


class _OneKey(HTTPSignatureKeyResolver):
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def resolve_public_key(self, key_id: str) -> bytes:
        return self._secret


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: datetime.timedelta | None = None) -> None:
        """Times are judged elsewhere, by a clock that is an argument."""


def check_hmac(secret: bytes, found: Input, signature: str, values: Mapping[str, str]) -> None:
    """Compare the signature with that of ``secret``; components in the order in which they came.

    Parameters
    ----------
    secret : bytes
        Key of the HMAC.
    found : Input
        What is covered.
    signature : str
        Its member of ``Signature``, by itself.
    values : mapping of str to str
        Header fields in lower case, and derived components.

    Raises
    ------
    Mismatch
        If it is another one.
    Exception
        Of any kind, if anything cannot be read.
    """
    verifier = _Verifier(
        signature_algorithm=HMAC_SHA256, key_resolver=_OneKey(secret), component_resolver_class=_Resolver
    )
    try:
        results = verifier.verify(_Message(found, signature, values), max_age=None)
    except InvalidSignature as error:
        if isinstance(error.__cause__, WrongSignature):
            raise Mismatch("the signature is not that of the key") from None
        raise
    if len(results) != 1:
        raise Unusable(f"{len(results)} signatures verified, not 1")
