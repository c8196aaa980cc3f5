"""What does it cost to show many calls: processor time of the monitor's thread, and octets to the page, per call?

    python benchmarks/monitor_load.py [CALLS] [SECONDS]      500 calls for 20 s unless told otherwise

The calls are in this process and get no packets meanwhile, so that the time is the monitor's alone.  The onlooker is
another process.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import gcmedia
import workloads
from gcmedia.live import LiveCalls
from gcmedia.monitor import serve_monitor

TOKEN = "a-token-for-the-bench"
ONLOOKER = """
import sys, time, httpx
url, token, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
with httpx.Client(trust_env=False, timeout=60) as client:
    with client.stream("GET", url, headers={"Authorization": "Bearer " + token}) as response:
        octets, first, begin = 0, 0, None
        for chunk in response.iter_raw():
            octets += len(chunk)
            now = time.monotonic()
            if begin is None or now - begin < 0.5:
                begin, first = begin or now, octets
            if now - begin > seconds:
                break
print(first, octets - first, now - begin)
"""


def thread_time(name: str) -> float:
    """Processor seconds of a thread of this process, by its name."""
    for thread in threading.enumerate():
        if thread.name == name and thread.native_id is not None:
            fields = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()
            return int(fields[0]) / 1e9
    raise LookupError(name)


def main(n_calls: int, seconds: float) -> None:
    packets = workloads.in_order(3000)
    calls = LiveCalls()
    receivers = []
    for number in range(n_calls):
        receiver = gcmedia.Receiver()
        calls.announce(f"{number:08x}-5b7a-4a6e-9d51-2f6f0b7f3a11", receiver=receiver, source="bench")
        for packet in packets[: 3000 if number == 0 else 60]:
            receiver.push(packet, 0.0)
            for _ in receiver.frames(0.0):
                pass
        receivers.append(receiver)
    with serve_monitor(calls, token=TOKEN) as monitor:
        time.sleep(2.0)

        def look(path: str) -> tuple[float, float, float, float]:
            begin, at = thread_time("gcmedia-monitor"), time.monotonic()
            command = [sys.executable, "-c", ONLOOKER, monitor.url + path, TOKEN, str(seconds)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            first, octets, took = map(float, done.stdout.split())
            return first, octets / took, thread_time("gcmedia-monitor") - begin, time.monotonic() - at

        begin, at = thread_time("gcmedia-monitor"), time.monotonic()
        time.sleep(seconds)
        idle = (thread_time("gcmedia-monitor") - begin) / (time.monotonic() - at)
        print(f"nobody looks: {1e3 * idle:.2f} ms of processor a second")
        first, rate, cpu, took = look("api/fleet")
        print(
            f"{n_calls} calls shown: {1e3 * cpu / took:.2f} ms of processor a second,"
            f" {1e6 * cpu / took / n_calls:.1f} µs a call; {rate:.0f} octets a second, {rate / n_calls:.1f} a call;"
            f" {first / n_calls:.0f} a call at first"
        )
        stop = threading.Event()

        def talk() -> None:
            number, begin = 3000, time.monotonic()
            while not stop.is_set():
                due = 3000 + int((time.monotonic() - begin) * 50)
                while number < due:
                    receivers[0].push(workloads.packet(number, 20 * number, packets[number % 3000][16:]), number * 0.02)
                    for _ in receivers[0].frames(number * 0.02):
                        pass
                    number += 1
                time.sleep(0.01)

        talking = threading.Thread(target=talk)
        talking.start()
        first, rate, cpu, took = look("api/calls/1")
        stop.set()
        talking.join()
        print(
            f"one call followed, one channel: {1e3 * cpu / took:.2f} ms of processor a second, {rate:.0f} octets a"
            f" second with its counters and framing; {first:.0f} at first"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500, float(sys.argv[2]) if len(sys.argv) > 2 else 20.0)
