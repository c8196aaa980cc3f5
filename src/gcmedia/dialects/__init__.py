"""Dialects: wire messages to events and back.  Pure functions and small state machines; no sockets, no clock."""
