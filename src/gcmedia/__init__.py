"""gcmedia: capture Genesys Cloud call audio, clean, ordered and accounted for."""

from ._core.jitter import JitterBuffer
from ._core.packet import Header, LayoutDetector, parse_header
from ._core.sequence import SequenceValidator, Verdict
from .config import JitterConfig
