"""The examples about notifications and about muting on the platform run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import pytest

from gcmedia.simulator import AgentLeg, Simulator

from .cloud import until

ROOT = Path(__file__).parents[2]


def examples(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_of_muting_on_the_platform_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [
        block for block in examples("docs/conversations.md") if "Simulator(" in block and "anyio.run" in block
    ]
    exec(compile(example, "docs/conversations.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.startswith("confirmed 0.")


def test_the_example_of_notifications_tells_what_happens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = [block for block in examples("docs/notifications.md") if "anyio.run" in block]
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(example.replace("anyio.run(main)", ""), "docs/notifications.md", "exec"), names)

    async def run() -> None:
        leg = AgentLeg("leg", conversation_id="conv", user_id="USER-ID")
        async with Simulator(legs=[leg]) as cloud, anyio.create_task_group() as tasks:
            monkeypatch.setenv("GENESYS_REGION", cloud.base_url)
            monkeypatch.setenv("GENESYS_CLIENT_ID", cloud.client_id)
            monkeypatch.setenv("GENESYS_CLIENT_SECRET", cloud.client_secret)
            main = names["main"]
            assert callable(main)
            tasks.start_soon(main)
            await until(lambda: cloud.notifications.n_sockets == 1)
            leg.supervise(True, cloud.agents.now())
            printed: list[str] = []

            def told() -> bool:
                printed.append(capsys.readouterr().out)
                return "muted=True" in "".join(printed)

            await until(told)
            assert "v2.users.USER-ID.conversations.calls" in "".join(printed)
            assert "Pat Customer" not in "".join(printed)
            tasks.cancel_scope.cancel()

    anyio.run(run)
