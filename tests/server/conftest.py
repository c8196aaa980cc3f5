"""The three ways in which the server runs."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio-websockets", "asyncio-picows", "trio-websockets"])
def way(request: pytest.FixtureRequest) -> str:
    """Backend and transport."""
    way: str = request.param
    if way.endswith("picows"):
        pytest.importorskip("picows")
    return way


@pytest.fixture
def anyio_backend(way: str) -> str:
    return way.split("-")[0]


@pytest.fixture
def transport(way: str) -> str:
    return way.split("-")[1]
