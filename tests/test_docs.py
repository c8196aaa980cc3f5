"""The examples of the pages about tokens, audits, sound, metrics and the monitor run as they stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gcmedia.simulator import Simulator

from .canary import Watch

DOCS = Path(__file__).parent.parent / "docs"


def examples(page: str) -> list[Any]:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [pytest.param(block[1], id=f"{page}:{text.count(chr(10), 0, block.start()) + 2}") for block in blocks]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator.in_thread({}) as cloud:
        monkeypatch.setenv("GENESYS_CLIENT_ID", cloud.client_id)
        monkeypatch.setenv("GENESYS_CLIENT_SECRET", cloud.client_secret)
        monkeypatch.setenv("GENESYS_REGION", cloud.base_url)
        yield cloud


def browser(capsys: pytest.CaptureFixture[str], watch: Watch) -> Callable[[str], str]:
    """Opens the address that was printed, and reads the code that comes back."""

    def answer(prompt: str) -> str:
        page = capsys.readouterr().out.strip()
        with watch.own_client(), httpx.Client(trust_env=False) as client:
            return httpx.URL(client.get(page).headers["Location"]).params["code"]

    return answer


PAGES = ("auth.md", "audit.md", "metrics.md", "monitor.md", "sound.md")


@pytest.mark.parametrize("example", [example for page in PAGES for example in examples(page)])
def test_an_example_runs(
    example: str, cloud: Simulator, capsys: pytest.CaptureFixture[str], canary_watch: Watch
) -> None:
    exec(compile(example, "example", "exec"), {"__name__": "example", "input": browser(capsys, canary_watch)})


def test_there_are_examples() -> None:
    assert len(examples("auth.md")) >= 6
    assert len(examples("audit.md")) >= 2
