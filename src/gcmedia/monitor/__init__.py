"""A page that shows the calls going on: what is heard, what is missing, and whether it is clean.

Levels and peaks travel, not audio.  Nothing is worked out while nobody looks.
"""

from .config import MonitorConfig
from .server import Monitor, serve_monitor

__all__ = ["Monitor", "MonitorConfig", "serve_monitor"]
