"""A listening address: one socket of its own for each process, shared through SO_REUSEPORT."""

from __future__ import annotations

import socket

from ...errors import ConfigError, TransportError

__all__ = ["bind", "parse_address"]

BACKLOG = 4096


def parse_address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``[HOST]:PORT`` for IPv6, or ``:PORT`` for every address of this machine.

    Raises
    ------
    ConfigError
        If it is none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"the address {text!r} is not HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f"the address {text!r} is not HOST:PORT; an IPv6 address goes into brackets")
    return host, int(port)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind a TCP socket, not listening yet.

    Parameters
    ----------
    host : str
        Name or address; ``""`` for every address of this machine.
    port : int
        0 for any.
    shared : bool
        Whether other processes may bind the same port; the kernel then spreads connections over those that listen.

    Raises
    ------
    TransportError
        If the address cannot be had.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # Without a host: IPv6, which takes IPv4 too, where there is IPv6.
        family, kind, protocol, _, address = sorted(found, key=lambda one: one[0] != socket.AF_INET6)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise TransportError(f"cannot listen on {host or '*'}:{port}: {error.strerror or error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and not host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise TransportError(f"cannot listen on {host or '*'}:{port}: {error.strerror or error}") from error
    return sock
