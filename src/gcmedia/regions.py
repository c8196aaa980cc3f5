"""The regions of the platform: an AWS id, a domain, a short code or a URL, to the hosts to talk to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigError

__all__ = ["REGIONS", "Region", "is_loopback", "resolve_region", "takes_secrets"]


@dataclass(frozen=True, slots=True)
class Region:
    """Where one region answers.  Any URL can be replaced on its own (``dataclasses.replace``).

    Attributes
    ----------
    aws : str
        AWS id such as ``"us-west-2"``; empty for a custom host.
    code : str
        Short code such as ``"usw2"``; empty for a custom host.
    domain : str
        Domain such as ``"usw2.pure.cloud"``, or the custom host.
    login_url, api_url, media_url : str
        Base URLs without a slash at the end; the last is ``wss://`` or ``ws://``.
    known : bool
        Whether it is one of the platform's own.
    """

    aws: str
    code: str
    domain: str
    login_url: str
    api_url: str
    media_url: str
    known: bool = True

    @property
    def token_url(self) -> str:
        """Where tokens are issued."""
        return f"{self.login_url}/oauth/token"


def _on_domain(aws: str, code: str, domain: str, known: bool = True) -> Region:
    return Region(aws, code, domain, f"https://login.{domain}", f"https://api.{domain}", f"wss://api.{domain}", known)


REGIONS: tuple[Region, ...] = tuple(
    _on_domain(aws, code, domain)
    for aws, code, domain in map(
        str.split,
        (
            "us-east-1       use1   mypurecloud.com",
            "us-east-2       use2   use2.us-gov-pure.cloud",  # FedRAMP
            "us-west-2       usw2   usw2.pure.cloud",
            "ca-central-1    cac1   cac1.pure.cloud",
            "mx-central-1    mxc1   mxc1.pure.cloud",
            "sa-east-1       sae1   sae1.pure.cloud",
            "eu-west-1       euw1   mypurecloud.ie",
            "eu-west-2       euw2   euw2.pure.cloud",
            "eu-central-1    euc1   mypurecloud.de",
            "eu-central-2    euc2   euc2.pure.cloud",
            "eusc-de-east-1  edee1  edee1.eusc-pure.cloud",  # EU sovereign
            "me-central-1    mec1   mec1.pure.cloud",
            "ap-south-1      aps1   aps1.pure.cloud",
            "ap-southeast-1  apse1  apse1.pure.cloud",
            "ap-southeast-2  apse2  mypurecloud.com.au",
            "ap-northeast-1  apne1  mypurecloud.jp",
            "ap-northeast-2  apne2  apne2.pure.cloud",
            "ap-northeast-3  apne3  apne3.pure.cloud",
        ),
    )
)

_BY_DOMAIN = {region.domain: region for region in REGIONS}
_BY_NAME = _BY_DOMAIN | {name: region for region in REGIONS for name in (region.aws, region.code)}
_PREFIX = re.compile(r"^(?:api|login|apps)\.(?=[^.]+\.)")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_SCHEMES = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}


def resolve_region(
    name: str | Region,
    *,
    login_url: str | None = None,
    api_url: str | None = None,
    media_url: str | None = None,
) -> Region:
    """Find the hosts of a region.

    Parameters
    ----------
    name : str or Region
        An AWS id (with ``-`` or ``_``), a short code, a domain, a domain behind ``api.``, ``login.`` or
        ``apps.``, or a URL of any of these.  Anything else with a dot, a port or a scheme is a custom host:
        a bare domain is taken to have ``login.`` and ``api.`` hosts like the platform's own; a URL, an
        address or ``host:port`` is one origin that answers everything (over TLS unless it is this machine or
        the URL says otherwise).
    login_url, api_url, media_url : str, optional
        Base URLs that replace those of the region.

    Returns
    -------
    Region
        ``known`` is False for a custom host.

    Raises
    ------
    ConfigError
        If the name is neither known nor a host; the message lists what is known.
    """
    region = name if isinstance(name, Region) else _resolve(name)
    return replace(
        region,
        login_url=region.login_url if login_url is None else _base("login_url", login_url),
        api_url=region.api_url if api_url is None else _base("api_url", api_url),
        media_url=region.media_url if media_url is None else _base("media_url", media_url),
    )


def _resolve(name: str) -> Region:
    text = name.strip().lower()
    region = _BY_NAME.get(text.replace("_", "-"))
    if region is not None:
        return region
    scheme, separator, rest = text.partition("://")
    parts = _split(text if separator else f"//{rest or text}", name)
    host = parts.hostname or ""
    known = _BY_DOMAIN.get(_PREFIX.sub("", host))
    if known is not None and parts.port in (None, 443):  # any other port is somebody's gateway or test server
        return known
    is_address = _is_address(host)
    if not (is_address or is_loopback(host) or (_HOST.fullmatch(host) and ("." in host or parts.port or separator))):
        raise ConfigError(f"region {_shown(name)} is not known and not a host; known are {_known()}")
    if not separator and not parts.port and not is_address and not is_loopback(host):
        return _on_domain("", "", _PREFIX.sub("", host), known=False)
    if not separator:
        scheme = "http" if is_loopback(host) else "https"
    elif scheme not in _SCHEMES:
        raise ConfigError(f"region {_shown(name)} has the scheme {scheme!r}, not one of {', '.join(_SCHEMES)}")
    authority = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        authority += f":{parts.port}"
    media = f"{_SCHEMES[scheme]}://{authority}"
    plain = media.replace("ws", "http", 1)
    return Region("", "", host, plain, plain, media, known=False)


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def takes_secrets(url: str) -> bool:
    """Whether a secret may be posted to ``url`` unasked: a host of the platform over TLS, or this machine."""
    parts = _split(url, url)
    host = parts.hostname or ""
    if is_loopback(host):
        return True
    return parts.scheme in ("https", "wss") and any(
        host == region.domain or host.endswith(f".{region.domain}") for region in REGIONS
    )


def _split(url: str, shown: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is not a number from 0 to 65535
    except ValueError:
        raise ConfigError(f"{_shown(shown)} cannot be read as a host or URL") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("a region or base URL must not hold a user name or password")
    return parts


def _base(name: str, url: str) -> str:
    parts = _split(url.strip(), url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError(f"{name} is {_shown(url)}, not a URL with a host and one of {', '.join(_SCHEMES)}")
    if parts.query or parts.fragment:
        raise ConfigError(f"{name} must be a base URL, without a query or fragment")
    return url.strip().rstrip("/")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    # What stands behind the host may be a token in a URL given by mistake; no message shows it.
    return repr(re.split(r"[?#]", text.rpartition("@")[2], maxsplit=1)[0][:80])


def _known() -> str:
    return ", ".join(f"{region.aws} ({region.domain})" for region in REGIONS)
