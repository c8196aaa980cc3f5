"""What does it cost to show many calls: processor time of the monitor's thread, octets to the page, and the browser's?

    python benchmarks/monitor_load.py [CALLS] [SECONDS]      500 calls for 20 s unless told otherwise

The calls are in this process and get their packets from another thread, so that the time of the monitor's thread is the
monitor's alone.  The onlooker is another process; the browser, where there is one, a headless Chromium of 1440 x 900.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import gcmedia
import workloads
from gcmedia.live import LiveCalls
from gcmedia.monitor import serve_monitor

sys.path.append(str(Path(__file__).parents[1]))  # the browser is that of the tests
from tests.monitor.browser import BINARY, Browser

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


class Calls:
    """So many calls that get a packet each 20 ms."""

    def __init__(self, n_calls: int) -> None:
        self.live = LiveCalls()
        self.packets = workloads.in_order(3000)
        self.receivers = [gcmedia.Receiver() for _ in range(n_calls)]
        for number, receiver in enumerate(self.receivers):
            name = f"{number:08x}-5b7a-4a6e-9d51-2f6f0b7f3a11"
            self.live.announce(name, receiver=receiver, source="bench")
        self.number = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.talk)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def talk(self) -> None:
        begin = time.monotonic()
        while not self.stop.wait(0.1):
            due = int((time.monotonic() - begin) * 50)
            while self.number < due:
                payload = self.packets[self.number % 3000][workloads.HEADER.size :]
                packet, now = workloads.packet(self.number, 20 * self.number, payload), self.number * 0.02
                for receiver in self.receivers:
                    receiver.push(packet, now)
                    for _ in receiver.frames(now):
                        pass
                self.number += 1


def look(url: str, seconds: float) -> tuple[float, float, float]:
    """Octets at first; octets and seconds of the monitor's processor, a second, for one who looks on."""
    begin, at = thread_time("gcmedia-monitor"), time.monotonic()
    command = [sys.executable, "-c", ONLOOKER, url, TOKEN, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, octets, took = map(float, done.stdout.split())
    return first, octets / took, (thread_time("gcmedia-monitor") - begin) / (time.monotonic() - at)


def in_browser(url: str, n_calls: int, seconds: float) -> None:
    """What a page with all of them open costs the browser."""
    with Browser() as browser:
        browser.sign_in(url, TOKEN)
        browser.wait(f"document.querySelectorAll('#rows tr').length === {n_calls}")
        for name, click in (("with all of them", ""), ("with one of them", "#rows tr button")):
            if click:
                browser.click(click)
                browser.wait("window.gcmedia.callPage.nColumns > 50")
            time.sleep(2.0)
            kinds = {"renderer": 0.0, "gpu-process": 0.0}
            before, at = {kind: browser.processor_s(kind) for kind in kinds}, time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - at
            shares = {kind: (browser.processor_s(kind) - before[kind]) / took for kind in kinds}
            print(
                f"a page {name}: {1e3 * shares['renderer']:.0f} ms of processor a second for the page,"
                f" {1e3 * shares['gpu-process']:.0f} for painting without a graphics card"
            )


def main(n_calls: int, seconds: float) -> None:
    with Calls(n_calls) as calls, serve_monitor(calls.live, token=TOKEN) as monitor:
        time.sleep(2.0)
        begin, at = thread_time("gcmedia-monitor"), time.monotonic()
        time.sleep(seconds)
        idle = (thread_time("gcmedia-monitor") - begin) / (time.monotonic() - at)
        print(f"nobody looks: {1e3 * idle:.2f} ms of processor a second")
        first, rate, cpu = look(f"{monitor.url}api/fleet", seconds)
        print(
            f"{n_calls} calls shown: {1e3 * cpu:.2f} ms of processor a second, {1e6 * cpu / n_calls:.1f} µs a call;"
            f" {rate:.0f} octets a second, {rate / n_calls:.1f} a call; {first / n_calls:.0f} a call at first"
        )
        first, rate, cpu = look(f"{monitor.url}api/calls/1", seconds)
        print(
            f"one call followed, one channel: {1e3 * cpu:.2f} ms of processor a second, {rate:.0f} octets a second with"
            f" its counters and framing; {first:.0f} at first"
        )
        if BINARY is None:
            print("chromium is absent: apt-get install chromium", file=sys.stderr)
        else:
            in_browser(monitor.url, n_calls, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500, float(sys.argv[2]) if len(sys.argv) > 2 else 20.0)
