"""Re-processing: recordings through the same stages as a live call, many at a time."""

from .file import Processed, duration_of, process_file
from .many import Outcome, find_recordings, process_many
from .settings import ProcessConfig

__all__ = ["Outcome", "ProcessConfig", "Processed", "duration_of", "find_recordings", "process_file", "process_many"]
