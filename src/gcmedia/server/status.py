"""Health and counters over HTTP, apart from the calls: ``/health``, ``/ready`` and ``/metrics``."""

from __future__ import annotations

import resource
from collections import Counter

import anyio
import anyio.abc
import h11

from ..errors import TransportError
from .server import AudioHookServer

__all__ = ["StatusServer", "exposition"]

READ_TIMEOUT_S = 10.0
MAX_CLIENTS = 32


def exposition(server: AudioHookServer) -> str:
    """The counters of a server in the text format of Prometheus, 0.0.4."""
    counters = server.counters
    now = server.now()
    for session in server.sessions:
        session.settle(now)
    lines: list[str] = []

    def tell(name: str, kind: str, about: str, value: float | Counter[str], label: str = "") -> None:
        name = f"gcmedia_audiohook_{name}"
        lines.append(f"# HELP {name} {about}")
        lines.append(f"# TYPE {name} {kind}")
        if isinstance(value, Counter):
            for key, count in sorted(value.items()):
                escaped = key.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
                lines.append(f'{name}{{{label}="{escaped}"}} {count}')
        else:
            lines.append(f"{name} {value}")

    tell("sessions", "gauge", "Sessions that are open.", server.n_sessions)
    tell("connections_waiting", "gauge", "Connections that are not WebSockets.", server.listener.n_waiting)
    tell("draining", "gauge", "Whether no more sessions are taken.", int(server.draining))
    tell("lag_seconds", "gauge", "How late the last tick of the clockwork was.", round(server.lag_s, 6))
    tell("upgrades_total", "counter", "Upgrade requests by outcome.", counters.upgrades, "outcome")
    tell("connections_cut_total", "counter", "Connections beyond a bound or a deadline.", server.listener.n_cut)
    tell("sessions_opened_total", "counter", "Sessions opened for calls.", counters.opened)
    tell("probes_total", "counter", "Connection probes.", counters.probes)
    tell("sessions_ended_total", "counter", "Sessions by how they ended.", counters.ended, "reason")
    tell("sessions_failed_total", "counter", "Sessions that could not go on.", counters.failed, "cause")
    tell("anomalies_total", "counter", "What did not fit and was put up with.", counters.anomalies, "kind")
    tell("client_errors_total", "counter", "Errors that clients told of.", counters.client_errors, "code")
    tell("messages_total", "counter", "Text messages received.", counters.messages)
    tell("audio_frames_total", "counter", "Frames of audio received.", counters.audio_frames)
    tell("audio_octets_total", "counter", "Octets of audio received.", counters.audio_octets)
    tell("missing_samples_total", "counter", "Samples that clients left out.", counters.missing_samples)
    tell("handlers_failed_total", "counter", "Handlers that raised.", counters.handlers_failed)
    tell("frames_dropped_total", "counter", "Frames that consumers were too slow for.", counters.frames_dropped)
    tell("entities_dropped_total", "counter", "Entities that found no room.", counters.entities_dropped)
    tell("recordings_failed_total", "counter", "Recordings that are not whole.", counters.recordings_failed)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    tell("cpu_seconds_total", "counter", "Processor time of the process.", round(usage.ru_utime + usage.ru_stime, 3))
    tell("memory_bytes", "gauge", "Largest resident size of the process.", usage.ru_maxrss * 1024)
    return "\n".join(lines) + "\n"


class StatusServer:
    """Answers for an `AudioHookServer`; `run` it in a task beside the server.

    Parameters
    ----------
    server : AudioHookServer
        Whom it tells of.
    host, port : str, int
        Where it listens.
    """

    def __init__(self, server: AudioHookServer, host: str, port: int) -> None:
        self._server = server
        self._host = host
        self._port = port
        self._clients = anyio.Semaphore(MAX_CLIENTS)
        self.address = (host, port)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; TransportError if the address cannot be had."""
        try:
            listener = await anyio.create_tcp_listener(local_host=self._host or None, local_port=self._port)
        except OSError as error:
            raise TransportError(f"cannot listen on {self._host or '*'}:{self._port}: {error.strerror}") from error
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 -- anyio's, not Django's
        self.address = (self._host, int(port))
        async with listener:
            task_status.started()
            await listener.serve(self._answer)

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(READ_TIMEOUT_S):
                async with self._clients:
                    try:
                        await self._exchange(stream)
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                        pass

    async def _exchange(self, stream: anyio.abc.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
        try:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await stream.receive())
        except h11.RemoteProtocolError as error:
            status, kind, body = error.error_status_hint, "text/plain; charset=utf-8", ""
            with_body = True
        else:
            if not isinstance(event, h11.Request):
                return
            status, kind, body = self._page(event)
            with_body = event.method != b"HEAD"
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body.encode()))),
            ("Connection", "close"),
        ]
        octets = connection.send(h11.Response(status_code=status, headers=headers)) or b""
        if with_body:
            octets += connection.send(h11.Data(data=body.encode())) or b""
        octets += connection.send(h11.EndOfMessage()) or b""
        await stream.send(octets)
        await stream.send_eof()

    def _page(self, request: h11.Request) -> tuple[int, str, str]:
        text = "text/plain; charset=utf-8"
        path = request.target.partition(b"?")[0]
        if request.method not in (b"GET", b"HEAD"):
            return 405, text, "only GET\n"
        if path in (b"/health", b"/live"):
            return 200, text, "ok\n"
        if path == b"/ready":
            return (503, text, "draining\n") if self._server.draining else (200, text, "ok\n")
        if path == b"/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", exposition(self._server)
        return 404, text, "no such page\n"
