"""How many AudioHook sessions one processor holds: `gcmedia serve` on one, `gcmedia load` on the other.

    python benchmarks/audiohook_sessions.py --transport picows --sessions 2000

Stereo, 200 ms a message, speech, signed, the server's noise gate on.  The server is kept to the last processor of this
machine and the generator to the first; the work of loopback falls on both.  The result is one line of JSON.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GCMEDIA = str(Path(sys.executable).with_name("gcmedia"))


def on(processor: int) -> Any:
    """For `subprocess`: keep a child to one processor."""
    return lambda: os.sched_setaffinity(0, {processor})


def start_server(folder: Path, keys: Path, args: argparse.Namespace, processor: int) -> tuple[Any, str, str]:
    command = [GCMEDIA, "serve", "--plain", "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0"]
    command += ["--keys", str(keys), "--out", str(folder / "calls"), "--transport", args.transport]
    command += ["--max-sessions", "100000", "--max-sessions-per-key", "100000"]
    command += ["--gate" if args.gate else "--no-gate", "--record" if args.record else "--no-record"]
    log = (folder / "serve.log").open("w+")
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=on(processor))
    assert server.stdout is not None
    address = server.stdout.readline().rpartition(" ")[2].strip()
    log.seek(0)
    status = next(line for line in log if "status on " in line).rpartition("status on ")[2].strip()
    return server, f"ws://{address}/", f"http://{status}/metrics"


def measure(args: argparse.Namespace) -> dict[str, Any]:
    processors = sorted(os.sched_getaffinity(0))
    key, secret = secrets.token_urlsafe(12), base64.b64encode(secrets.token_bytes(32)).decode()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        keys = folder / "keys.json"
        keys.write_text(json.dumps({key: secret}))
        server, url, metrics = start_server(folder, keys, args, processors[-1])
        try:
            time.sleep(0.5)
            command = [GCMEDIA, "load", url, "--sessions", str(args.sessions), "--rate", str(args.rate)]
            command += ["--seconds", str(args.seconds), "--metrics", metrics, "--watch", str(server.pid), "--json"]
            command += ["--idle"] if args.idle else []
            command += ["--stop-when-late"] if args.stop_when_late else []
            environment = os.environ | {"AUDIOHOOK_API_KEY": key, "AUDIOHOOK_CLIENT_SECRET": secret}
            done = subprocess.run(
                command, stdout=subprocess.PIPE, env=environment, preexec_fn=on(processors[0]), check=False
            )
            report: dict[str, Any] = json.loads(done.stdout)
            return report
        finally:
            server.terminate()
            server.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--transport", default="websockets", choices=["websockets", "picows"])
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--idle", action="store_true", help="send no audio")
    parser.add_argument("--stop-when-late", action="store_true")
    parser.add_argument("--gate", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--record", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--folder", help="where calls are recorded; the system's temporary folder by default")
    parser.add_argument("--all", action="store_true", help="print the whole report of the load")
    args = parser.parse_args()
    report = measure(args)
    if args.all:
        print(json.dumps(report))
        return
    kept = (
        "ok",
        "opened",
        "failed",
        "failures",
        "held",
        "held_in_time",
        "late_pongs",
        "growing",
        "server",
        "generator",
    )
    shown = {"transport": args.transport, "record": args.record, "gate": args.gate, "idle": args.idle}
    shown |= {name: report[name] for name in kept}
    shown["pong_ms"] = {name: report["rtt"][name] for name in ("p50_ms", "p99_ms", "max_ms")}
    shown["send_lag_ms"] = {name: report["send_lag"][name] for name in ("p50_ms", "p99_ms", "max_ms")}
    shown["counted"] = all(both["sent"] == both["counted"] for both in report["server_counted"].values())
    print(json.dumps(shown))


if __name__ == "__main__":
    main()
