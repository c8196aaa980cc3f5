"""What others say, as messages of ours repeat it (X3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia.redact import redact, repeatable


@pytest.mark.parametrize(
    "text",
    [
        "caller +1 (317) 555-0142",
        "caller 0049 30 123 45 67 hung up",
        "tel:+13175550142;ext=7",
        "sip:anna.b@host.example.org",
        "card 4111-1111-1111-1111.",
        "anna.b+x@mail.example.org was not found",
        "Authorization: Bearer abc.DEF-123_456",
        "basic YWJjOmRlZg==",
        "wss://h/x?access_token=abc.DEF-123_456&y=1",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    ],
)
def test_numbers_addresses_and_tokens_do_not_stay(text: str) -> None:
    shown = redact(text)
    assert "***" in shown
    for part in ("555", "123", "4567", "anna", "1111", "abc", "YWJ", "eyJ"):
        assert part not in shown or part not in text


@pytest.mark.parametrize(
    "text",
    [
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "POST http://127.0.0.1:43210/oauth/token was answered 429 too.many.requests.retry.after",
        "retry in [120] seconds, 5 of 10000 used",
        "Fri, 20 Nov 2026 14:03:52 GMT",
        "version 14.0.0 of 2026",
    ],
)
def test_what_is_neither_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(min_size=4, max_size=40), st.text(max_size=60), st.text(max_size=60))
def test_a_secret_that_is_known_is_hidden_wherever_it_stands(secret: str, before: str, after: str) -> None:
    shown = repeatable(f"{before}{secret}{after}", [secret, secret[:5]])
    assert secret not in shown or secret in "".join((before, "***", after))


@given(st.text(max_size=400))
def test_the_rest_is_one_line_and_short(text: str) -> None:
    shown = repeatable(text)
    assert len(shown) <= 200
    assert shown.isprintable()


def test_numbers_may_be_let_through_where_that_is_meant() -> None:
    assert repeatable("order 00493012345 of Bearer abc", personal=True) == "order 00493012345 of Bearer ***"
