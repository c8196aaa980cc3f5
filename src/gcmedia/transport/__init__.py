"""Connections: one pooled HTTP client, and WebSockets on asyncio or trio.  Nothing here is imported before use."""
