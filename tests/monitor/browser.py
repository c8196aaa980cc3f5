"""Debian's Chromium, without a window, steered over its own WebSocket; one tab."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from websockets.sync.client import connect

__all__ = ["Browser", "needs_browser"]

BINARY = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--mute-audio", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0",
)  # fmt: skip
PATIENCE_S = 40.0

needs_browser = pytest.mark.skipif(BINARY is None, reason="there is no chromium: apt-get install chromium")


class Browser:
    """One tab of a new Chromium.

    Attributes
    ----------
    problems : list of str
        What the page complained of: errors, and refusals by its own policy.
    """

    def __init__(self, *, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        self._size = (width, height)
        self._dark = dark
        self._n = 0
        self.problems: list[str] = []
        self._open_things = ExitStack()

    def __enter__(self) -> Self:
        assert BINARY is not None
        self._profile = tempfile.mkdtemp(prefix="gcmedia-chromium-")
        self._process = subprocess.Popen(
            [BINARY, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": self._profile},
        )
        try:
            self._attach()
        except BaseException:
            self._end()
            raise
        return self

    def _attach(self) -> None:
        port_file = Path(self._profile) / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE_S
        while not (port_file.exists() and port_file.read_text().strip()):
            assert self._process.poll() is None, "chromium has ended"
            assert time.monotonic() < end, "chromium does not come up"
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        with httpx.Client(trust_env=False) as client:
            tabs = client.get(f"http://127.0.0.1:{port}/json/list").json()
        tab = next(tab for tab in tabs if tab["type"] == "page")
        self._socket = self._open_things.enter_context(
            connect(tab["webSocketDebuggerUrl"], max_size=None, compression=None, proxy=None)
        )
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")
        width, height = self._size
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        self.scheme("dark" if self._dark else "light")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._open_things.close()
        finally:
            self._end()

    def _end(self) -> None:
        os.killpg(self._process.pid, 9)  # a group of its own, which is Chromium alone
        self._process.wait(10)
        shutil.rmtree(self._profile, ignore_errors=True)

    def processor_s(self, kind: str = "renderer") -> float:
        """Seconds of processor that its processes of a kind have taken."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*"):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                of_kind = f"--type={kind}".encode() in (path / "cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            if of_kind and int(fields[2]) == self._process.pid:  # its group
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser for something, and wait until it is done."""
        self._n += 1
        self._socket.send(json.dumps({"id": self._n, "method": method, "params": params}))
        end = time.monotonic() + PATIENCE_S
        while True:
            message = json.loads(self._socket.recv(timeout=max(0.1, end - time.monotonic())))
            if message.get("id") == self._n:
                assert "error" not in message, message["error"]
                found: dict[str, Any] = message["result"]
                return found
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                about = params["exceptionDetails"]
                self.problems.append(about.get("exception", {}).get("description") or about["text"])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.problems.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled" if params["type"] == "error":
                self.problems.append(str(params["args"]))

    def scheme(self, scheme: str) -> None:
        """Have a light or dark system."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> None:
        """Load a page."""
        self.command("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        found = self.command(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str, patience_s: float = PATIENCE_S) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + patience_s
        while True:
            value = self.run(condition)
            if value:
                return value
            assert time.monotonic() < end, f"never came true: {condition}; problems: {self.problems}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """What an element shows."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """Click an element."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def key(self, key: str, text: str = "") -> None:
        """Press a key."""
        codes = {
            "Escape": 27,
            "Enter": 13,
            "ArrowDown": 40,
            "ArrowUp": 38,
            "ArrowLeft": 37,
            "ArrowRight": 39,
            "End": 35,
            "Tab": 9,
        }
        about: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        if len(key) == 1 or text:
            about["text"] = text or key
        elif key == "Enter":
            about["text"] = "\r"
        self.command("Input.dispatchKeyEvent", type="keyDown", **about)
        self.command("Input.dispatchKeyEvent", type="keyUp", **about)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.command("Input.insertText", text=text)

    def sign_in(self, url: str, token: str) -> None:
        """Open the monitor and give the token."""
        self.open(url)
        self.wait("!document.getElementById('door').hidden")
        self.wait("document.activeElement.id === 'token'")
        self.type(token)
        self.key("Enter")

    def screenshot(self, path: str | Path) -> bytes:
        """A picture of the tab."""
        octets = base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"])
        Path(path).write_bytes(octets)
        return octets
