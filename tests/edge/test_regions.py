from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia.errors import ConfigError
from gcmedia.regions import REGIONS, Region, resolve_region, takes_secrets


def test_there_are_18_regions_and_no_name_stands_for_two() -> None:
    names = [name for region in REGIONS for name in (region.aws, region.code, region.domain)]
    assert len(REGIONS) == 18
    assert len(names) == len(set(names)) == 54


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.aws)
def test_every_spelling_finds_its_region(region: Region) -> None:  # 004-02
    for name in (
        region.aws,
        region.aws.replace("-", "_"),
        region.aws.upper(),
        f" {region.code} ",
        region.domain,
        f"api.{region.domain}",
        f"login.{region.domain}",
        f"apps.{region.domain}",
        f"https://{region.domain}",
        f"https://apps.{region.domain}/directory/#/",
        f"https://login.{region.domain}:443/oauth/token",
        f"http://{region.domain}/",
    ):
        assert resolve_region(name) == region
    assert region.token_url == f"https://login.{region.domain}/oauth/token"
    assert region.known


@pytest.mark.parametrize(
    ("name", "login", "media"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "ws://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", "ws://127.0.0.1:8080"),
        ("ws://localhost:9", "http://localhost:9", "ws://localhost:9"),
        ("localhost", "http://localhost", "ws://localhost"),
        ("https://[::1]:8443", "https://[::1]:8443", "wss://[::1]:8443"),
        ("192.0.2.7", "https://192.0.2.7", "wss://192.0.2.7"),
        ("gateway:8443", "https://gateway:8443", "wss://gateway:8443"),
        ("https://gateway", "https://gateway", "wss://gateway"),
        ("new1.pure.cloud", "https://login.new1.pure.cloud", "wss://api.new1.pure.cloud"),
        ("login.new1.pure.cloud", "https://login.new1.pure.cloud", "wss://api.new1.pure.cloud"),
        ("mypurecloud.com:8443", "https://mypurecloud.com:8443", "wss://mypurecloud.com:8443"),
    ],
)
def test_custom_hosts_are_taken_and_marked(name: str, login: str, media: str) -> None:
    region = resolve_region(name)
    assert not region.known
    assert (region.login_url, region.media_url) == (login, media)


@pytest.mark.parametrize("name", ["", "us-west-9", "mars", "https://", "a b.com", "ftp://example.org", "host:99999"])
def test_what_is_no_host_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError):
        resolve_region(name)


def test_an_unknown_name_is_answered_with_what_is_known() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_region("us-west-9")
    assert "us-west-9" in str(caught.value)
    assert all(region.aws in str(caught.value) and region.domain in str(caught.value) for region in REGIONS)


def test_base_urls_are_replaced_one_by_one() -> None:
    region = resolve_region("usw2", login_url="http://127.0.0.1:1/", media_url="wss://media.example.org/x/")
    assert region.login_url == "http://127.0.0.1:1"
    assert region.media_url == "wss://media.example.org/x"
    assert region.api_url == "https://api.usw2.pure.cloud"
    assert resolve_region(region) is not None
    assert replace(region, login_url="https://login.usw2.pure.cloud").token_url.startswith("https://login.usw2")


@pytest.mark.parametrize(
    "url", ["login.example.org", "ftp://example.org", "https://a/?token=canary", "https://u:canary@a"]
)
def test_a_bad_base_url_is_an_error_that_shows_no_secret(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_region("usw2", login_url=url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["https://user:canary@example.org", "x y?access_token=canary"])
def test_a_bad_region_is_an_error_that_shows_no_secret(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_region(name)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://login.mypurecloud.com/oauth/token", True),
        ("http://login.mypurecloud.com/oauth/token", False),
        ("https://login.mypurecloud.com.example.org/", False),
        ("https://notmypurecloud.com/", False),
        ("http://127.0.0.1:8080/oauth/token", True),
        ("http://[::1]:8080/", True),
        ("http://localhost/", True),
        ("http://localhost.example.org/", False),
        ("https://example.org/", False),
    ],
)
def test_where_secrets_may_go_unasked(url: str, trusted: bool) -> None:
    assert takes_secrets(url) is trusted


@given(st.text(max_size=60))
def test_any_text_gives_a_region_or_a_config_error(name: str) -> None:
    try:
        region = resolve_region(name)
    except ConfigError:
        return
    assert region.login_url.startswith(("https://", "http://"))
    assert region.media_url.startswith(("wss://", "ws://"))
