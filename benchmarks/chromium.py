"""Chromium's own DynamicsCompressorNode, rendered offline by a headless browser on loopback."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

PAGE = """<!doctype html><title>compressor</title><script>
const coded = floats => {
  const octets = new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
  let text = "";
  for (let i = 0; i < octets.length; i += 8192) text += String.fromCharCode(...octets.subarray(i, i + 8192));
  return btoa(text);
};
const decoded = text => new Float32Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
async function render({rate, samples, settings}) {
  const x = decoded(samples);
  const context = new OfflineAudioContext(1, x.length, rate);
  const buffer = context.createBuffer(1, x.length, rate);
  buffer.copyToChannel(x, 0);
  const source = new AudioBufferSourceNode(context, {buffer});
  source.connect(new DynamicsCompressorNode(context, settings)).connect(context.destination);
  source.start();
  return coded((await context.startRendering()).getChannelData(0));
}
async function main() {
  let answer;
  try {
    const work = await (await fetch("/work")).json();
    const rendered = [];
    for (const one of work) rendered.push(await render(one));
    answer = {version: navigator.userAgent, rendered};
  } catch (error) {
    answer = {error: String(error)};
  }
  await fetch("/done", {method: "POST", body: JSON.stringify(answer)});
}
main();
</script>
"""


def find() -> str | None:
    """The browser's program, where there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def compress(
    work: list[tuple[int, npt.NDArray[np.float32], dict[str, float]]], timeout_s: float = 60.0
) -> tuple[str, list[npt.NDArray[np.float32]]]:
    """Render ``(sample_rate, samples, settings)``, settings as the node names them; the browser's name comes first."""
    asked = json.dumps(
        [
            {"rate": rate, "samples": base64.b64encode(x.astype("<f4").tobytes()).decode(), "settings": settings}
            for rate, x, settings in work
        ]
    ).encode()
    answers: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, kind: str, octets: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        def do_GET(self) -> None:
            if self.path == "/work":
                self.answer("application/json", asked)
            else:
                self.answer("text/html; charset=utf-8", PAGE.encode())

        def do_POST(self) -> None:
            answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer("text/plain", b"thanks")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    program = find()
    if program is None:
        raise RuntimeError("chromium is not installed")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, contextlib.ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        browser = subprocess.Popen(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                f"--user-data-dir={profile}",
                "--remote-debugging-port=0",
                f"http://127.0.0.1:{server.server_port}/",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            told = answers.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"chromium has rendered nothing within {timeout_s:g} s") from None
        finally:
            browser.terminate()
            browser.wait(10)
    if "error" in told:
        raise RuntimeError(f"chromium: {told['error']}")
    version = subprocess.run([program, "--version", "--no-sandbox"], capture_output=True, text=True, check=True).stdout
    return version.strip(), [np.frombuffer(base64.b64decode(text), "<f4") for text in told["rendered"]]
