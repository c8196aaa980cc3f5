"""`serve`: an AudioHook server that runs until it is told to stop, in one process or several."""

from __future__ import annotations

import logging
import os
import resource
import signal
from collections.abc import Callable
from importlib.util import find_spec
from socket import socket
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import anyio.abc

from ..dialects.audiohook import SharedNonceMemory, SignatureConfig
from ..errors import ConfigError
from ..transport.accept import bind, choose_transport
from .garbage import collections_after
from .heap import give_back_free_memory
from .server import AudioHookServer, Handler
from .status import StatusServer
from .workers import run_workers

__all__ = ["serve"]

log = logging.getLogger("gcmedia.server")

BACKENDS = ("asyncio", "trio")


def serve(
    handler: Handler | None = None,
    *,
    host: str = "",
    port: int = 8443,
    workers: int = 1,
    status: tuple[str, int] | None = None,
    backend: str = "asyncio",
    transport: str = "auto",
    on_listening: Callable[[AudioHookServer], object] | None = None,
    **options: Any,
) -> None:
    """Serve AudioHook until SIGTERM or SIGINT, and end every call by the protocol then.

    A second signal ends the process at once.

    Parameters
    ----------
    handler : callable, optional
        ``async def handler(call)``; see `AudioHookServer`.
    host, port : str, int
        Where to listen; 0 for any port.
    workers : int
        Processes.  Each has a socket of its own on the same port (SO_REUSEPORT), and the kernel spreads connections
        over them; one that dies is started again.
    status : (str, int), optional
        Where ``/health``, ``/ready`` and ``/metrics`` are; worker ``n`` of several has ``n`` added to the port,
        beginning with 0.
    backend : str
        ``"asyncio"`` or ``"trio"``.
    transport : str
        As for `AudioHookServer`; where it comes to picows, the loop is uvloop if that is installed.
    on_listening : callable, optional
        Called in each worker with its server.
    **options
        Further arguments of `AudioHookServer`, such as ``keys``, ``record_to`` and, with one worker, ``live``.

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    TransportError
        If the address cannot be had.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend is {backend!r}, not one of {', '.join(BACKENDS)}")
    if find_spec(backend) is None:
        raise ConfigError(f"the backend {backend} is not installed: pip install 'gcmedia[{backend}]'")
    if not 1 <= workers <= 1024:
        raise ConfigError(f"workers is {workers}, not in [1, 1024]")
    if workers > 1 and options.get("live") is not None:
        raise ConfigError(
            f"live sees the calls of one process, and workers is {workers}: use one worker, or let `gcmedia monitor "
            "FOLDER` follow the recordings of all"
        )
    chosen = choose_transport(transport, backend)
    AudioHookServer(handler, host=host, port=port, transport=chosen, **options)  # checks the settings, here and once
    _allow_files()

    def run(number: int, sock: socket, **more: Any) -> None:
        server = AudioHookServer(handler, sock=sock, transport=chosen, **{**more, **options})
        where = None if status is None else (status[0], status[1] + number if status[1] else 0)
        uvloop = chosen == "picows" and find_spec("uvloop") is not None
        backend_options = {"use_uvloop": uvloop} if backend == "asyncio" else {}

        async def main() -> None:
            await _run(
                server, where, on_listening, f"worker {number + 1} of {workers}", "uvloop" if uvloop else backend
            )

        anyio.run(main, backend=backend, backend_options=backend_options)

    if workers == 1:
        run(0, bind(host, port))
        return
    signatures = options.get("signatures") or SignatureConfig()
    in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 -- a folder of our own within
    with (
        bind(host, port, shared=True) as reserved,  # so that the port stays ours while workers come and go
        TemporaryDirectory(prefix="gcmedia-", dir=in_memory) as folder,
    ):
        port = reserved.getsockname()[1]
        nonces = os.path.join(folder, "nonces")

        def work(number: int) -> None:
            memory = SharedNonceMemory(nonces, signatures.max_nonces)
            run(number, bind(host, port, shared=True), nonces=memory)

        run_workers(workers, work)


async def _run(
    server: AudioHookServer,
    where: tuple[str, int] | None,
    on_listening: Callable[[AudioHookServer], object] | None,
    name: str,
    loop: str,
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with collections_after(server.counters.ended.total), server, anyio.create_task_group() as tasks:
            tasks.start_soon(give_back_free_memory)
            told = "" if where is None else await _tell_status(server, where, tasks)
            host, port = server.address
            log.info(
                "AudioHook on %s:%d: transport %s, loop %s, %s, process %d%s",
                host, port, server.transport, loop, name, os.getpid(), told,
            )  # fmt: skip
            if on_listening is not None:
                on_listening(server)
            tasks.start_soon(_stop_on_signal, server, signals)
            await server.wait()
            tasks.cancel_scope.cancel()
    log.info("%s of the AudioHook server has ended", name)


async def _tell_status(server: AudioHookServer, where: tuple[str, int], tasks: anyio.abc.TaskGroup) -> str:
    status = StatusServer(server, *where)
    await tasks.start(status.run)
    host, port = status.address
    return f", status on {host}:{port}"


async def _stop_on_signal(server: AudioHookServer, signals: Any) -> None:
    async with anyio.create_task_group() as tasks:
        stopping = False
        async for number in signals:
            if stopping:
                log.warning("a second %s: ending at once", signal.Signals(number).name)
                os._exit(1)
            stopping = True
            log.info("%s: ending %d sessions", signal.Signals(number).name, server.n_sessions)
            tasks.start_soon(server.stop)


def _allow_files() -> None:
    """Let the process have as many open files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass
