"""The scripted server of the other captures, for what the simulator is too well-behaved to do."""

from tests.capture.conftest import scripted

__all__ = ["scripted"]
