"""A watch over the whole test run: no secret and nothing personal may get into what people and machines read.

Secrets that the tests use carry a mark: tokens, codes, refresh tokens and client secrets of the simulator, and PKCE
verifiers are made with it.  Secrets that a test makes up itself are noted when they are handed to gcmedia, and what is
said in a call when gcmedia reads it.  Every error of the simulator names a caller (`ANI`).

Looked at, for all of them: what any logger of this process says at any level, every error of gcmedia as it is made and,
with all behind it, as a test catches it, the reprs of gcmedia's objects, every line of an audit, of metrics and of the
series beside them. What leaks fails the test in which it did.

Not looked at: what the other end of a connection logs (``websockets.server``), and what is logged by clients of the
tests' own, which are those of tests of the simulator and within `Watch.own_client`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import logging
import pkgutil
import secrets
import threading
import weakref
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

import gcmedia
from gcmedia import errors

__all__ = ["ANI", "MARK", "Watch"]

MARK = "cAnArY0xyz"
ANI = "+1 (317) 555-0142"

#: Shorter ones stand in other words by chance.
MIN_NOTED = 12
#: Objects of one class whose repr is looked at in one test; they are made by the packet, and alike.
MAX_REPRS = 100
MAX_SHOWN = 160

#: Where gcmedia makes secrets, or the simulator does.
MAKERS = {
    "gcmedia.auth.sign_in",
    "gcmedia.simulator.server",
    "gcmedia.simulator.sign_in",
    "gcmedia.simulator.tokens",
}

#: Fields that hold secrets or what was said, by the class that is made with them.
HOLDERS = {
    "gcmedia.auth.credentials.Credentials": ("client_secret",),
    "gcmedia.auth.credentials.UserGrant": ("client_secret", "code", "code_verifier", "refresh_token"),
    "gcmedia.auth.sources.StaticToken": ("_token",),
    "gcmedia.load.plan.LoadPlan": ("api_key", "secret"),
    "gcmedia.simulator.audiohook.caller.Caller": ("api_key", "secret"),
    "gcmedia.types.Transcript": ("text",),
    "gcmedia.dialects.platform_media.TranscriptText": ("text",),
}

#: Lines of these files are read by many; others of a call folder hold what was said, as they must.
READ_BY_MANY = ("audit.jsonl", "metrics.jsonl", "series.jsonl")


def forms_of(secret: str) -> list[str]:
    """A text, and how it looks within base64, wherever it begins."""
    forms = [secret]
    for shift in range(3):
        encoded = b64encode(b" " * shift + secret.encode(errors="replace")).decode().rstrip("=")
        forms.append(encoded[4 if shift else 0 : -2])  # the ends depend on what stands beside
    return forms


class Watch:
    """What must not be seen, and where it was."""

    def __init__(self) -> None:
        self._marks = [*forms_of(MARK), ANI, "".join(char for char in ANI if char.isdigit())]
        self._noted: dict[str, list[str]] = {}
        self._leaks: list[str] = []
        self._made: list[weakref.ref[Any]] = []
        self._n_made: Counter[type[Any]] = Counter()
        self._lock = threading.RLock()
        self.own_clients = False  # the test logs on its own behalf too
        self.texts_seen: dict[str, int] = {}

    def note(self, value: object) -> None:
        """Watch for one more, until the test ends."""
        if isinstance(value, str) and len(value) >= MIN_NOTED and MARK not in value:
            self._noted.setdefault(value, forms_of(value))

    def look(self, kind: str, text: str, where: str) -> None:
        """Look at what somebody will read."""
        with self._lock:
            self.texts_seen[kind] = self.texts_seen.get(kind, 0) + 1
            for forms in (self._marks, *self._noted.values()):
                if any(form in text for form in forms):
                    self._leaks.append(f"{kind} of {where}: {text[:MAX_SHOWN]!r} holds {forms[0][:24]!r}")
                    return

    def look_at_error(self, error: BaseException, where: str) -> None:
        """Look at an error, its attributes, and all behind it."""
        seen: set[int] = set()
        queue: list[BaseException | None] = [error]
        while queue:
            one = queue.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            own = isinstance(one, errors.GcmediaError)
            self.look("error", f"{one} {one!r} {vars(one) if own else ''}", f"{where} {type(one).__name__}")
            queue += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]

    def look_at_repr(self, value: Any) -> None:
        """Look at an object that has a repr of its own, now and when the test has ended."""
        kind = type(value)
        self._n_made[kind] += 1
        if self._n_made[kind] > MAX_REPRS or not has_repr(kind):
            return
        self.look("repr", repr(value), kind.__qualname__)
        try:
            self._made.append(weakref.ref(value))
        except TypeError:
            pass  # of slots

    @contextmanager
    def own_client(self) -> Iterator[None]:
        """Within, only gcmedia's own loggers count: the test itself plays somebody, a browser for example."""
        kept, self.own_clients = self.own_clients, True
        try:
            yield
        finally:
            self.own_clients = kept

    def take(self) -> list[str]:
        """What leaked since this was asked last; what was noted is forgotten."""
        with self._lock:
            for made in self._made:
                value = made()
                if value is not None:
                    self.look("repr", repr(value), type(value).__qualname__)
            self._made.clear()
            self._n_made.clear()
            self._noted.clear()
            leaks, self._leaks = self._leaks, []
        return leaks


def has_repr(kind: type[Any]) -> bool:
    """Whether objects of a class show more than their address."""
    return any("__repr__" in vars(base) for base in kind.__mro__ if base is not object)


class WatchingHandler(logging.Handler):
    """Shows the watch whatever is logged."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.NOTSET)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        own = record.name.startswith("gcmedia")
        if record.name == "websockets.server" or (self._watch.own_clients and not own):
            return
        text = record.getMessage()
        if own:
            text += f" {record.args!r}"
        self._watch.look("log", text, record.name)
        if record.exc_info and record.exc_info[1] is not None:
            self._watch.look_at_error(record.exc_info[1], record.name)


class Plugin:
    """The watch as a part of the test run."""

    def __init__(self) -> None:
        self.watch = Watch()

    @pytest.fixture(autouse=True)
    def canary_watch(self, request: pytest.FixtureRequest) -> Iterator[Watch]:
        """Fail the test in which something leaks."""
        self.watch.own_clients = any("simulator" in part for part in request.node.path.parts[-2:])
        yield self.watch
        leaks = self.watch.take()
        assert not leaks, "\n".join(["leaked:", *leaks])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """What leaked when no test was running."""
        leaks = self.watch.take()
        if leaks:
            print("\n".join(["leaked between tests:", *leaks]))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def install(config: pytest.Config) -> None:
    """Set up the watch for this process."""
    plugin = Plugin()
    watch = plugin.watch
    config.pluginmanager.register(plugin, "canary")
    modules: list[Any] = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(gcmedia.__path__, "gcmedia.")
        if "._core" not in found.name and not found.name.startswith(("gcmedia.report", "gcmedia.cli"))
    ]
    marked = ModuleType("secrets")
    vars(marked).update(vars(secrets), token_urlsafe=lambda n_octets: MARK + secrets.token_urlsafe(n_octets))
    for module in modules:
        if module.__name__ in MAKERS:
            assert module.secrets is secrets
            module.secrets = marked
    for module in modules:
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__ and not issubclass(kind, BaseException):
                watch_class(kind, watch)
    watch_errors(watch)
    watch_lines(watch)
    name_the_caller(watch)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("websockets.server").setLevel(logging.WARNING)  # the other end, which says all it receives
    logging.getLogger().addHandler(WatchingHandler(watch))
    pytest.raises = watching_raises(watch)


def watch_class(kind: type[Any], watch: Watch) -> None:
    """Look at the repr of whatever is made of a class, and note the secrets that it takes."""
    if "__init__" not in vars(kind) or getattr(kind, "_is_protocol", False):
        return
    holds = HOLDERS.get(f"{kind.__module__}.{kind.__qualname__}", ())
    if not (has_repr(kind) or holds):
        return
    make = kind.__init__

    @functools.wraps(make)
    def init(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        for name in holds:
            watch.note(getattr(self, name))
        if type(self).__init__ is init:
            watch.look_at_repr(self)

    kind.__init__ = init


def watch_errors(watch: Watch) -> None:
    """Look at every error of gcmedia as it is made."""

    def new(kind: type[BaseException], *args: Any, **options: Any) -> BaseException:
        watch.look("error", f"{args} {options}", kind.__name__)
        return BaseException.__new__(kind, *args)

    errors.GcmediaError.__new__ = new  # type: ignore[assignment]


def watch_lines(watch: Watch) -> None:
    """Look at every line of an audit, wherever it goes, and of the files that many read."""
    from gcmedia.record.audit import AuditLog
    from gcmedia.record.lines import LineFile

    def watched(kind: Any, name: str, where: Callable[[Any], str | None]) -> None:
        write = getattr(kind, name)

        @functools.wraps(write)
        def wrapper(self: Any, line: Any, *rest: Any) -> Any:
            file = where(self)
            if file is not None:
                watch.look("line", line if isinstance(line, str) else line.decode("utf-8", "replace"), file)
            return write(self, line, *rest)

        setattr(kind, name, wrapper)

    watched(AuditLog, "_write", lambda log: "an audit")
    watched(LineFile, "_write", lambda file: file.path if file.path.endswith(READ_BY_MANY) else None)


def name_the_caller(watch: Watch) -> None:
    """Let each error of the simulator, over HTTP or a WebSocket, tell who calls, as servers may.

    Not where the simulator itself is tested.
    """
    from gcmedia.simulator import http, oauth, websocket

    json_response, send = http.json_response, websocket.WebSocket.send
    caller = f" (caller {ANI})"

    def respond(status: int, value: Any, *rest: Any, **options: Any) -> Any:
        if watch.own_clients or not isinstance(value, dict):
            pass
        elif "contextId" in value:
            value = value | {"messageParams": {"caller": ANI}, "message": value["message"] + caller}
        elif "error_description" in value:
            value = value | {"error_description": value["error_description"] + caller}
        return json_response(status, value, *rest, **options)

    async def send_errors(self: Any, *messages: str | bytes) -> None:
        await send(self, *(name(message) for message in messages))

    def name(message: str | bytes) -> str | bytes:
        if watch.own_clients or isinstance(message, bytes) or not message.startswith('{"type": "error"'):
            return message
        value = json.loads(message)
        said = value.get("payload", value)  # each dialect in its own way
        if isinstance(said, dict) and isinstance(said.get("message"), str):
            said["message"] += caller
        return json.dumps(value)

    for module in (http, oauth):
        setattr(module, "json_response", respond)  # noqa: B010 - mypy would refuse the plain form
    setattr(websocket.WebSocket, "send", send_errors)  # noqa: B010


def watching_raises(watch: Watch) -> Any:
    """``pytest.raises`` that shows the watch what it caught."""
    raises = pytest.raises

    class Watched:
        def __init__(self, within: Any) -> None:
            self._within = within

        def __enter__(self) -> Any:
            return self._within.__enter__()

        def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> Any:
            if isinstance(error, errors.GcmediaError):
                watch.look_at_error(error, "a test caught")
            return self._within.__exit__(kind, error, trace)

    @functools.wraps(raises)
    def watched(*args: Any, **options: Any) -> Any:
        found: Any = raises(*args, **options)
        return Watched(found) if hasattr(found, "__exit__") else found

    return watched
