"""Upgrade requests: the published vectors, every rule, and what is let in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia import ConfigError, SignatureRefused
from gcmedia.dialects.audiohook import (
    Identity,
    Keys,
    NonceMemory,
    SignatureConfig,
    SignatureVerifier,
    UpgradeRequest,
    sign,
)
from gcmedia.dialects.audiohook.nonces import MemoryFull
from gcmedia.dialects.audiohook.signature import COMPONENTS, PARAMETERS

from .recorded import SESSION_ID, vectors
from .signing import (
    API_KEY,
    AUTHORITY,
    CORRELATION_ID,
    LIVE_COMPONENTS,
    LIVE_PARAMETERS,
    NOW,
    ORGANIZATION_ID,
    SECRET,
    TARGET,
    headers,
    signed,
    verify,
)

RFC_SECRET = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="  # B.1.5
RFC = "RFC 9421 B.2.5"
VECTORS = vectors("signatures")


def lines_of(vector: dict[str, str]) -> dict[str, str]:
    """The signature base as name and value."""
    return dict(line.split(": ", 1) for line in vector["base"].replace('"', "").split("\n")[:-1])


def secret_of(vector: dict[str, str]) -> str:
    return {RFC: RFC_SECRET, "empty client secret": ""}.get(vector["name"], SECRET)


def request_of(vector: dict[str, str]) -> tuple[UpgradeRequest, int]:
    lines = lines_of(vector)
    fields = [(name, value) for name, value in lines.items() if not name.startswith("@") and name != "host"]
    fields.append(("Host", lines.get("@authority") or lines["host"]))
    fields.append(("Signature-Input", f"sig1={vector['signature_input_value']}"))
    fields.append(("Signature", f"sig1=:{vector['signature']}:"))
    created = int(vector["signature_input_value"].partition("created=")[2].partition(";")[0])
    return UpgradeRequest.of(lines.get("@request-target", "/"), fields), created


def verifier(secret: str | bytes = SECRET, config: SignatureConfig | None = None) -> SignatureVerifier:
    return SignatureVerifier({API_KEY: secret} if isinstance(secret, str) else Keys({API_KEY: secret}), config)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_published_signatures_are_verified(vector: dict[str, str]) -> None:
    request, created = request_of(vector)
    asked = verifier(secret_of(vector))
    if vector["name"] == RFC or "host" in vector["name"]:  # they cover too little
        with pytest.raises(SignatureRefused) as refused:
            verify(asked, request, created)
        assert refused.value.outcome == "precondition"
        return
    identity = verify(asked, request, created)
    assert identity == Identity(API_KEY, ORGANIZATION_ID, SESSION_ID, CORRELATION_ID, signed=True)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_signer_writes_the_published_signatures(vector: dict[str, str]) -> None:
    names, _, told = vector["signature_input_value"].partition(")")
    parameters = dict(one.split("=", 1) for one in told.strip(";").split(";"))
    lines = lines_of(vector)
    fields = {**lines, "x-api-key": lines.get("x-api-key", parameters["keyid"].strip('"'))}
    written = sign(
        lines.get("@request-target", "/"),
        fields,
        secret_of(vector),
        authority=lines.get("@authority", ""),
        created=int(parameters["created"]),
        expires=int(parameters.get("expires", 0)),
        nonce=parameters.get("nonce", "").strip('"'),
        components=names.strip("(").replace('"', "").split(),
        parameters=tuple(parameters),
    )
    assert written == {
        "Signature-Input": f"sig1={vector['signature_input_value']}",
        "Signature": f"sig1=:{vector['signature']}:",
    }


@pytest.mark.parametrize(
    ("components", "parameters"),
    [
        (COMPONENTS, PARAMETERS),
        (LIVE_COMPONENTS, LIVE_PARAMETERS),
        (COMPONENTS[::-1], PARAMETERS[::-1]),
        ((*COMPONENTS, "host", "@method", "@path", "@query"), PARAMETERS),
    ],
    ids=["published", "live", "reversed", "more"],
)
def test_components_are_taken_in_the_order_received(components: tuple[str, ...], parameters: tuple[str, ...]) -> None:
    more = {"@method": "GET", "@path": "/capture/ws", "@query": "?tenant=acme&x=%20y"}
    signature = sign(
        TARGET,
        headers() | more,
        SECRET,
        authority=AUTHORITY,
        created=NOW,
        components=components,
        parameters=parameters,
    )
    request = UpgradeRequest.of(TARGET, (headers() | signature).items())
    assert verify(verifier(), request).signed


def refusal(request: UpgradeRequest, *, at: float = NOW, asked: SignatureVerifier | None = None) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as refused:
        verify(asked or verifier(), request, at)
    error = refused.value
    for secret in (SECRET, API_KEY, "MySuperSecret"):
        assert secret not in str(error)
    return error


@pytest.mark.parametrize(
    ("at", "outcome"),
    [(-6, "precondition"), (-5, ""), (0, ""), (15, ""), (16, "expired")],
)
def test_the_skew_widens_the_window_on_both_sides(at: int, outcome: str) -> None:
    request = signed(expires=NOW + 300)
    if outcome:
        assert refusal(request, at=NOW + at).outcome == outcome
    else:
        assert verify(verifier(), request, NOW + at).signed


@pytest.mark.parametrize(("expires", "outcome"), [(-6, "expired"), (-5, ""), (0, ""), (1, "")])
def test_the_skew_widens_the_expiry_too(expires: int, outcome: str) -> None:
    request = signed(expires=NOW + expires)
    if outcome:
        assert refusal(request).outcome == outcome
    else:
        assert verify(verifier(), request).signed


def test_a_signature_without_expiry_is_judged_by_its_age() -> None:
    request = signed(parameters=("keyid", "nonce", "alg", "created"))
    assert verify(verifier(), request).signed


def altered(**changes: Any) -> UpgradeRequest:
    """A good request, signed, with headers changed afterwards; None takes one out."""
    fields: dict[str, str | None] = dict(signed().headers)
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    return UpgradeRequest.of(TARGET, [(name, value) for name, value in fields.items() if value is not None])


GOOD_INPUT = dict(signed(nonce="A" * 22).headers)["Signature-Input"]
OTHER_ID = "00000000-1111-4222-8333-444444444444"


@pytest.mark.parametrize(
    ("request_", "outcome", "status"),
    [
        pytest.param(altered(Audiohook_Session_Id=None), "precondition", 400, id="no-session"),
        pytest.param(altered(Audiohook_Session_Id="x"), "precondition", 400, id="session-no-uuid"),
        pytest.param(altered(Audiohook_Organization_Id=None), "precondition", 401, id="no-organization"),
        pytest.param(altered(X_API_KEY=None), "precondition", 401, id="no-key"),
        pytest.param(altered(X_API_KEY="a b"), "precondition", 401, id="key-of-two-words"),
        pytest.param(altered(X_API_KEY="\u00e9" * 8), "precondition", 401, id="key-beyond-ascii"),
        pytest.param(altered(X_API_KEY="x" * 5000), "precondition", 401, id="key-too-long"),
        pytest.param(altered(Audiohook_Correlation_Id=None), "invalid", 401, id="no-correlation"),
        pytest.param(altered(Audiohook_Session_Id=OTHER_ID), "failed", 401, id="another-session"),
        pytest.param(altered(Audiohook_Organization_Id=OTHER_ID), "failed", 401, id="another-organization"),
        pytest.param(altered(Host="other.example.net"), "failed", 401, id="another-host"),
        pytest.param(altered(Signature=None), "invalid", 401, id="half-a-signature"),
        pytest.param(altered(Signature_Input=None), "invalid", 401, id="the-other-half"),
        pytest.param(altered(Signature=None, Signature_Input=None), "unsigned", 401, id="unsigned"),
        pytest.param(altered(Signature="sig1=:AAAA:"), "failed", 401, id="signature-too-short"),
        pytest.param(altered(Signature="sig1=::"), "failed", 401, id="signature-empty"),
        pytest.param(altered(Signature=f"sig1=:{'A' * 4096}:"), "failed", 401, id="signature-too-long"),
        pytest.param(altered(Signature=f"sig2=:{'A' * 43}=:"), "invalid", 401, id="another-label"),
        pytest.param(altered(Signature='sig1="text"'), "invalid", 401, id="signature-no-octets"),
        pytest.param(altered(Signature="sig1=:\u00e9:"), "invalid", 401, id="signature-beyond-ascii"),
        pytest.param(altered(Signature=f"sig1=:{'A' * 40000}:"), "invalid", 401, id="headers-too-large"),
        pytest.param(altered(Signature_Input="sig1=()"), "precondition", 401, id="nothing-covered"),
        pytest.param(altered(Signature_Input="sig1=1"), "invalid", 401, id="input-no-list"),
        pytest.param(altered(Signature_Input=GOOD_INPUT + ";tag=?1"), "invalid", 401, id="parameter-unknown"),
        pytest.param(altered(Signature_Input=GOOD_INPUT + ', sig1=("a")'), "invalid", 401, id="label-twice"),
        pytest.param(altered(Signature_Input=GOOD_INPUT + ";created=1"), "invalid", 401, id="parameter-twice"),
        pytest.param(
            altered(Signature_Input=GOOD_INPUT.replace('"@authority"', '"@authority" "@authority"')),
            "invalid",
            401,
            id="component-twice",
        ),
        pytest.param(
            altered(Signature_Input=GOOD_INPUT.replace('"@authority"', '"@authority" "@signature-params"')),
            "invalid",
            401,
            id="component-of-itself",
        ),
        pytest.param(
            altered(Signature_Input=GOOD_INPUT.replace('"@authority"', '"@authority" "@nonsense"')),
            "invalid",
            401,
            id="component-unknown",
        ),
        pytest.param(
            altered(Signature_Input=GOOD_INPUT.replace('"@authority"', '"@authority";req')),
            "precondition",
            401,
            id="component-with-parameter",
        ),
        pytest.param(
            altered(Signature_Input=GOOD_INPUT.replace("created=", "created=?")), "invalid", 401, id="created-no-number"
        ),
        pytest.param(
            altered(Signature_Input=GOOD_INPUT.replace(f"created={NOW}", "created=-1")),
            "invalid",
            401,
            id="created-negative",
        ),
        pytest.param(
            altered(Signature_Input=GOOD_INPUT.replace(f"created={NOW}", f'created="{NOW}"')),
            "invalid",
            401,
            id="created-a-string",
        ),
        pytest.param(
            altered(Signature_Input=GOOD_INPUT.replace(f'keyid="{API_KEY}"', "keyid=token")),
            "invalid",
            401,
            id="keyid-a-token",
        ),
        pytest.param(signed(parameters=("keyid", "nonce", "alg")), "precondition", 401, id="no-created"),
        pytest.param(signed(parameters=("keyid", "alg", "created")), "precondition", 401, id="no-nonce"),
        pytest.param(signed(parameters=("nonce", "alg", "created")), "precondition", 401, id="no-keyid"),
        pytest.param(signed(nonce="A" * 21), "precondition", 401, id="nonce-short"),
        pytest.param(signed(components=COMPONENTS[:-1]), "precondition", 401, id="key-not-covered"),
        pytest.param(signed("AAAA"), "failed", 401, id="another-secret"),
        pytest.param(signed(b""), "failed", 401, id="empty-secret"),
        pytest.param(signed(SECRET.encode()), "failed", 401, id="text-of-the-secret"),
        pytest.param(signed(fields=headers(X_API_KEY="unknown")), "failed", 401, id="unknown-key"),
        pytest.param(
            signed(b"", fields=headers(X_API_KEY="unknown")), "failed", 401, id="unknown-key-with-empty-secret"
        ),
        pytest.param(
            UpgradeRequest.of(TARGET + "&more", signed().headers), "failed", 401, id="another-target"
        ),
        pytest.param(UpgradeRequest.of(TARGET, [("a", "b")] * 101), "invalid", 401, id="too-many-headers"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(request_: UpgradeRequest, outcome: str, status: int) -> None:
    asked = verifier()
    error = refusal(request_, asked=asked)
    assert (error.outcome, error.status, error.delay_s) == (outcome, status, 0.5)
    assert asked.outcomes == {outcome: 1}


def test_another_algorithm_is_not_supported() -> None:
    good = dict(signed().headers)["Signature-Input"]
    assert refusal(altered(Signature_Input=good.replace("hmac-sha256", "rsa-v1_5-sha256"))).outcome == "unsupported"


def test_a_request_is_let_in_once() -> None:
    asked = verifier()
    request = signed()
    assert verify(asked, request).signed
    for later in (0, 5, 15):
        assert refusal(request, at=NOW + later, asked=asked).outcome == "replayed"
    assert verify(asked, signed()).signed


def test_the_same_nonce_of_another_key_is_another_nonce() -> None:
    asked = SignatureVerifier({API_KEY: SECRET, "other": SECRET})
    assert verify(asked, signed(nonce="A" * 24)).signed
    assert verify(asked, signed(nonce="A" * 24, fields=headers(X_API_KEY="other"))).signed


def test_a_full_memory_of_nonces_lets_nobody_in_and_empties_by_time() -> None:
    asked = verifier(config=SignatureConfig(max_nonces=2))
    assert verify(asked, signed()).signed
    assert verify(asked, signed()).signed
    error = refusal(signed(), asked=asked)
    assert (error.outcome, error.status) == ("overloaded", 503)
    assert verify(asked, signed(created=NOW + 16), NOW + 16).signed


def test_only_good_signatures_take_room_among_the_nonces() -> None:
    asked = verifier(config=SignatureConfig(max_nonces=1))
    for _ in range(10):
        refusal(signed("AAAA"), asked=asked)
    assert verify(asked, signed()).signed


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=60), st.integers(1, 8))
def test_a_nonce_is_remembered_exactly_until_its_time(asked: list[tuple[int, int]], limit: int) -> None:
    memory, oracle, now = NonceMemory(limit), dict[bytes, int](), 0
    for name, step in asked:
        now += step
        oracle = {key: until for key, until in oracle.items() if until >= now}
        key = bytes([name])
        if key in oracle:
            assert not memory.add(key, now + 10, now)
        elif len(oracle) >= limit:
            with pytest.raises(MemoryFull):
                memory.add(key, now + 10, now)
        else:
            assert memory.add(key, now + 10, now)
            oracle[key] = now + 10
        assert len(memory) == len(oracle)


def test_unsigned_needs_a_key_with_an_empty_secret() -> None:
    request = UpgradeRequest.of(TARGET, headers().items())
    identity = verify(verifier(""), request)
    assert (identity.signed, identity.api_key) == (False, API_KEY)
    assert refusal(request).outcome == "unsigned"
    unknown = UpgradeRequest.of(TARGET, headers(X_API_KEY="unknown").items())
    assert refusal(unknown, asked=verifier("")).outcome == "unsigned"


def test_the_public_authority_stands_in_for_the_host_that_a_proxy_writes() -> None:
    request = signed(fields=headers(Host="10.0.0.7:9000"))
    assert refusal(request).outcome == "failed"
    asked = verifier(config=SignatureConfig(authority="Capture.Example.net:443"))
    assert verify(asked, request).signed


@pytest.mark.parametrize(
    ("host", "authority", "tls"),
    [
        ("Capture.Example.NET", "capture.example.net", True),
        ("capture.example.net:443", "capture.example.net", True),
        ("capture.example.net:80", "capture.example.net", False),
        ("capture.example.net:80", "capture.example.net:80", True),
        ("127.0.0.1:9000", "127.0.0.1:9000", False),
        ("[::1]:9000", "[::1]:9000", False),
    ],
)
def test_the_host_is_made_an_authority(host: str, authority: str, tls: bool) -> None:
    asked = verifier(config=SignatureConfig(tls=tls))
    assert verify(asked, signed(fields=headers(Host=host), authority=authority)).signed


def test_headers_are_folded_joined_and_told_apart_without_case() -> None:
    fields = dict(signed().headers)
    signature_input = fields.pop("Signature-Input")
    first, second = signature_input.split(" ", 1)
    request = UpgradeRequest.of(
        TARGET,
        [
            *((name.upper(), f" \t{value}  ") for name, value in fields.items()),
            ("signature-INPUT", f"{first}\r\n \t {second}"),
        ],
    )
    assert verify(verifier(), request).signed


def test_long_white_space_is_no_fold() -> None:
    value = "\t" * 30_000 + "\r"
    assert refusal(altered(Audiohook_Correlation_Id=value)).outcome == "invalid"


def test_a_signature_of_a_proxy_beside_ours_does_no_harm() -> None:
    ours = dict(signed().headers)
    proxy = 'proxy=("@method");created=1;keyid="proxy"'
    request = altered(
        Signature_Input=f"{proxy}, {ours['Signature-Input']}", Signature=f"proxy=:AAAA:, {ours['Signature']}"
    )
    assert verify(verifier(), request).signed


def test_the_retry_attempt_is_told() -> None:
    def attempt(text: str) -> int | None:
        return verify(verifier(), signed(fields=headers(Audiohook_Retry_Attempt=text))).retry_attempt

    assert [attempt(text) for text in ("0", "3", "x", "-1", "9" * 30, "")] == [0, 3, None, None, None, None]


# Where keys come from


def test_keys_come_from_a_mapping_or_from_whoever_is_asked() -> None:
    async def ask(api_key: str) -> str | bytes | None:
        await asyncio.sleep(0)
        if api_key == "broken":
            raise OSError("no such table")
        return {API_KEY: SECRET}.get(api_key)

    asked = SignatureVerifier(ask)
    assert verify(asked, signed()).signed
    assert refusal(signed(fields=headers(X_API_KEY="unknown")), asked=asked).outcome == "failed"
    error = refusal(signed(fields=headers(X_API_KEY="broken")), asked=asked)
    assert (error.outcome, error.status) == ("overloaded", 503)
    assert isinstance(error.__cause__, OSError)


def test_a_file_of_keys_is_read_and_checked(tmp_path: Any) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({API_KEY: SECRET, "open": "", "bare": "TXk"}), encoding="utf-8")
    keys = Keys.from_file(path)
    assert keys[API_KEY] == b"MySuperSecretKeyTellNo-1!2@3#4$5"
    assert (keys["open"], keys["bare"], keys.unsigned, len(keys)) == (b"", b"My", 1, 3)
    assert API_KEY not in repr(keys)
    assert verify(SignatureVerifier(keys), signed()).signed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("[]", "not a JSON object"),
        ("{}", "not a JSON object with one"),
        ('{"key": "?secret?"}', "API key 1 of 1: client secret of 8 characters is not base64"),
        ('{"key": 7}', "is int, no string"),
        ('{"key": "TXk=", "key": "TXk="}', "stand there twice"),
        ('{"": "TXk="}', "API key 1 of 1"),
        ('{"a b": "TXk="}', "visible"),
        ("[" * 100_000, "no JSON"),
        ('{"key": "A"}', "not base64"),
    ],
)
def test_a_bad_file_of_keys_is_refused_without_telling_secrets(tmp_path: Any, text: str, says: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        Keys.from_file(path)
    assert says in str(refused.value)
    assert "keys.json" in str(refused.value)
    assert "?secret?" not in str(refused.value)


def test_the_signer_refuses_what_it_cannot_sign() -> None:
    with pytest.raises(ConfigError, match="audiohook-session-id"):
        sign(TARGET, headers(Audiohook_Session_Id=None), SECRET, authority=AUTHORITY, created=NOW)
    with pytest.raises(ConfigError, match="base64"):
        sign(TARGET, headers(), "?", authority=AUTHORITY, created=NOW)
    with pytest.raises(ConfigError, match="ASCII"):
        sign(TARGET, headers(Audiohook_Session_Id="\u00e9"), SECRET, authority=AUTHORITY, created=NOW)
    with pytest.raises(ConfigError, match="ASCII"):
        sign(TARGET, headers(), SECRET, authority=AUTHORITY, created=NOW, nonce="\n" * 30)


def test_nothing_personal_is_in_a_repr() -> None:
    identity = verify(verifier(), signed())
    assert API_KEY not in repr(identity)
