"""The monitor running: a thread of its own, so that it serves captures on asyncio and on trio, and holds up neither."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.to_thread

from ..errors import ConfigError
from ..live import LiveCalls
from ..record import AuditLog
from .config import MonitorConfig
from .listen import ListenAudit

if TYPE_CHECKING:
    import uvicorn

    from .app import MonitorApp

__all__ = ["Monitor", "serve_monitor"]

log = logging.getLogger("gcmedia.monitor")

IDLE_TICK_S = 30.0
CLOSING_S = 2.0


def serve_monitor(calls: LiveCalls, config: MonitorConfig | None = None, **settings: Any) -> Monitor:
    """Serve a page, and metrics, about calls.

    Use it as ``with serve_monitor(calls, port=8900) as monitor`` or ``async with``.

    Parameters
    ----------
    calls : LiveCalls
        What captures and servers announce their calls to.
    config : MonitorConfig, optional
        The settings; or give its fields as keywords.

    Returns
    -------
    Monitor

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    """
    if config is not None and settings:
        raise ConfigError("give a config or its fields, not both")
    return Monitor(calls, config or MonitorConfig(**settings))


class Monitor:
    """A running monitor; made by `serve_monitor`.

    Attributes
    ----------
    token : str
        Bearer token of page and metrics; not to be logged.
    url : str
        Where the page is, once entered.
    """

    def __init__(self, calls: LiveCalls, config: MonitorConfig) -> None:
        self._calls = calls
        self._config = config
        self.token = config.token
        self.url = ""
        self._app: MonitorApp | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._audit: AuditLog | None = None
        self._failure: BaseException | None = None
        self._started = threading.Event()

    def __repr__(self) -> str:
        return f"Monitor(url={self.url!r})"

    def __enter__(self) -> Self:
        """Bind and serve.

        Raises
        ------
        OSError
            If the address cannot be had, or the audit log not be opened.
        """
        config = self._config
        try:
            import uvicorn

            from .app import MonitorApp
        except ModuleNotFoundError as error:
            raise ConfigError(f"the monitor needs {error.name}: pip install 'gcmedia[monitor]'") from None
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((config.host, config.port))
            self._socket.listen(128)
            if config.audit_to is not None:
                self._audit = AuditLog(config.audit_to)
        except OSError as error:
            self._close()
            raise OSError(error.errno, f"the monitor cannot listen on {config.host}:{config.port}: {error}") from None
        except BaseException:
            self._close()
            raise
        port = self._socket.getsockname()[1]
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.url = f"{'http' if config.certificate is None else 'https'}://{host}:{port}/"
        self._app = MonitorApp(self._calls, config, ListenAudit(self._audit))
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                http="h11",
                ws="none",
                loop="asyncio",
                ssl_certfile=config.certificate,
                ssl_keyfile=config.key,
                limit_concurrency=4 * config.max_onlookers,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=round(CLOSING_S),
            )
        )
        self._thread = threading.Thread(target=self._serve, name="gcmedia-monitor", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self.__exit__(None, None, None)
            raise ConfigError(f"the monitor could not start: {self._failure}")
        log.info("the monitor is at %s", self.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._app is not None:
            self._app.closing = True
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(3 * CLOSING_S)
        self._close()

    async def __aenter__(self) -> Self:
        return await anyio.to_thread.run_sync(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.__exit__, kind, error, trace)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._audit is not None:
            self._audit.close()

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # told to who waits for the start; later nobody does
            self._failure = error
            log.warning("the monitor has ended: %s", error)
        finally:
            self._started.set()

    async def _main(self) -> None:
        assert self._server is not None
        assert self._socket is not None
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not (self._server.started or serving.done()):  # noqa: ASYNC110 -- uvicorn tells nobody
            await asyncio.sleep(0.005)
        self._started.set()
        idle = asyncio.create_task(self._note_drops())
        try:
            await serving
        finally:
            idle.cancel()

    async def _note_drops(self) -> None:
        """Twice a minute note how many drops there were, for whoever looks next."""
        assert self._app is not None
        while True:
            self._app.fleet.note_drops()
            await asyncio.sleep(IDLE_TICK_S)
