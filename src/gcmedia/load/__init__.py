"""Load on an AudioHook server: thousands of sessions in real time from one process, and an honest account of them.

::

    report = run_load(LoadPlan("ws://127.0.0.1:8443/", sessions=500, rate_per_s=100, seconds=30))
    print(report.ok, report.tally.rtt.percentile(99), report.bottleneck)
"""

from .histogram import Histogram
from .plan import LoadPlan
from .report import LoadReport
from .run import run_load
from .tally import Second, Tally

__all__ = ["Histogram", "LoadPlan", "LoadReport", "Second", "Tally", "run_load"]
