"""Upgrade requests bent out of shape: none of them may be let in."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

from gcmedia.dialects.audiohook import UpgradeRequest
from gcmedia.dialects.audiohook.signature import COMPONENTS, PARAMETERS

from .signing import NOW, TARGET, headers, signed

Fields = list[tuple[str, str]]
ODD = "\u00e9\u2028\ud800\x00\r\n\t \"'()<>;:,=?@\\~"


class Mutants:
    """A stream of requests made of one good one, whose own nonce is used up; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.good = signed()
        self.kinds: tuple[Callable[[Fields], str], ...] = (
            self.flip,
            self.flip_signature,
            self.cut,
            self.insert,
            self.drop,
            self.double,
            self.swap,
            self.length,
            self.words,
            self.replay,
            self.skew,
            self.uncover,
            self.unknown,
            self.other_secret,
            self.target,
        )

    def next(self) -> UpgradeRequest:
        fields = list(self.good.headers)
        target = TARGET
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            target = self.random.choice(self.kinds)(fields) or target
        return UpgradeRequest.of(target, fields)

    def place(self, fields: Fields, *names: str) -> int:
        """Index of a field: one of those named, else any."""
        places = [at for at, (name, _) in enumerate(fields) if not names or name in names]
        return self.random.choice(places) if places else 0

    def change(self, fields: Fields, at: int, change: Callable[[str], str]) -> None:
        if fields:
            name, value = fields[at]
            fields[at] = (name, change(value))

    def flip(self, fields: Fields) -> str:
        def change(value: str) -> str:
            at = self.random.randrange(len(value) + 1)
            other = chr(self.random.randrange(33, 127)) if self.random.random() < 0.8 else self.random.choice(ODD)
            return value[:at] + other + value[at + 1 :]

        self.change(fields, self.place(fields), change)
        return ""

    def flip_signature(self, fields: Fields) -> str:
        """Another bit in the octets of the signature, well written."""

        def change(value: str) -> str:
            octets = bytearray(self.random.randbytes(32) if self.random.random() < 0.5 else b64(value))
            octets[self.random.randrange(len(octets))] ^= 1 << self.random.randrange(8)
            return f"sig1=:{base64.b64encode(octets).decode()}:"

        self.change(fields, self.place(fields, "Signature"), change)
        return ""

    def cut(self, fields: Fields) -> str:
        self.change(fields, self.place(fields), lambda value: value[: self.random.randrange(len(value) + 1)])
        return ""

    def insert(self, fields: Fields) -> str:
        def change(value: str) -> str:
            at = self.random.randrange(len(value) + 1)
            return value[:at] + self.random.choice(ODD) * self.random.choice((1, 1, 50)) + value[at:]

        self.change(fields, self.place(fields), change)
        return ""

    def drop(self, fields: Fields) -> str:
        if fields:
            del fields[self.place(fields)]
        return ""

    def double(self, fields: Fields) -> str:
        if fields:
            fields.insert(self.random.randrange(len(fields) + 1), self.random.choice(fields))
        return ""

    def swap(self, fields: Fields) -> str:
        """The values of two fields, the one for the other."""
        if len(fields) > 1:
            one, other = self.random.sample(range(len(fields)), 2)
            (name, value), (name2, value2) = fields[one], fields[other]
            fields[one], fields[other] = (name, value2), (name2, value)
        return ""

    def length(self, fields: Fields) -> str:
        """A signature of another length."""
        octets = self.random.randbytes(self.random.choice((0, 1, 16, 31, 33, 64, 300)))
        text = base64.b64encode(octets).decode()
        self.change(fields, self.place(fields, "Signature"), lambda value: f"sig1=:{text}:")
        return ""

    def words(self, fields: Fields) -> str:
        """The parts of Signature-Input in another order, one there twice, one missing."""

        def change(value: str) -> str:
            parts = value.replace(")", " )").split(" ")
            at, to = self.random.randrange(len(parts)), self.random.randrange(len(parts))
            match self.random.randrange(3):
                case 0:
                    parts[at], parts[to] = parts[to], parts[at]
                case 1:
                    parts.insert(to, parts[at])
                case _:
                    del parts[at]
            return " ".join(parts).replace(" )", ")")

        self.change(fields, self.place(fields, "Signature-Input"), change)
        return ""

    def replay(self, fields: Fields) -> str:
        """As it was, but for things that are not signed."""
        fields.append((self.random.choice(("Accept", "Origin", "Audiohook-Retry-Attempt")), "1"))
        return ""

    def fresh(self, fields: Fields, request: UpgradeRequest) -> str:
        fields[:] = request.headers
        return ""

    def skew(self, fields: Fields) -> str:
        """Well signed, too early or too late."""
        created = self.random.choice((0, 1, NOW - 1000, NOW - 16, NOW + 6, NOW + 10_000, 999_999_999_999_999))
        return self.fresh(fields, signed(created=created, expires=NOW + 30))

    def uncover(self, fields: Fields) -> str:
        """Well signed, with a component or a parameter missing."""
        if self.random.random() < 0.5:
            at = self.random.randrange(len(COMPONENTS))
            return self.fresh(fields, signed(components=COMPONENTS[:at] + COMPONENTS[at + 1 :]))
        missing = self.random.choice(("keyid", "nonce", "created"))
        return self.fresh(fields, signed(parameters=[name for name in PARAMETERS if name != missing]))

    def unknown(self, fields: Fields) -> str:
        """Signed by whoever has another key, or with no secret at all."""
        secret = self.random.choice((b"", b"x", self.random.randbytes(32)))
        return self.fresh(fields, signed(secret, fields=headers(X_API_KEY=f"key-{self.random.randrange(10)}")))

    def other_secret(self, fields: Fields) -> str:
        return self.fresh(fields, signed(self.random.choice((b"", self.random.randbytes(32)))))

    def target(self, fields: Fields) -> str:
        at = self.random.randrange(1, len(TARGET))
        return TARGET[:at] + self.random.choice("abc/%&" + ODD) + TARGET[at + 1 :] + "!"


def b64(value: str) -> bytes:
    try:
        return base64.b64decode(value[6:-1]) or bytes(32)
    except ValueError:
        return bytes(32)
