"""``gcmedia mute``, ``unmute`` and ``status`` against the simulator."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gcmedia.cli import main
from gcmedia.cli.show import console
from gcmedia.simulator import AgentLeg, MuteFaults, Simulator
from tests.mute.conftest import AGENT, agent_leg


class Shell:
    """Runs the command with the credentials of a cloud."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def use(self, cloud: Simulator) -> None:
        for name, value in (
            ("GENESYS_REGION", cloud.base_url),
            ("GENESYS_CLIENT_ID", cloud.client_id),
            ("GENESYS_CLIENT_SECRET", cloud.client_secret),
            ("AGENT_USER_ID", AGENT),
        ):
            self._monkeypatch.setenv(name, value)

    def run(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, what was printed as JSON, and what was said on standard error."""
        self._monkeypatch.setattr(sys, "argv", ["gcmedia", *arguments])
        self._monkeypatch.setattr(console, "file", sys.stderr)  # that of this test
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self._capsys.readouterr()
        return int(str(end.value.code)), json.loads(out) if out.startswith("{") else {}, err


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@pytest.fixture
def leg() -> AgentLeg:
    return agent_leg()


@pytest.fixture
def cloud(shell: Shell, leg: AgentLeg, request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A cloud with one agent; the parameter is its faults."""
    with Simulator.in_thread(legs=[leg], mute_faults=getattr(request, "param", None)) as cloud:
        shell.use(cloud)
        yield cloud


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("strategy", ["interactive-sessions", "webchat-edge", "conversations"])
def test_000_40_mute_status_unmute(cloud: Simulator, shell: Shell, leg: AgentLeg, strategy: str, backend: str) -> None:
    options = ["--strategy", strategy, "--conversation", "conv-1", "--json", "--backend", backend]
    code, told, said = shell.run("mute", *options)
    assert code == 0
    assert told["result"] == "confirmed"
    assert told["muted"] is True
    assert "the agent is muted" in said
    assert leg.history[-1].muted
    assert shell.run("mute", *options)[1]["result"] == "already"
    code, told, said = shell.run("status", *options)
    assert (code, told["muted"], told["call_state"]) == (0, True, "connected")
    code, told, _ = shell.run("unmute", *options)
    assert (code, told["ok"], told["muted"]) == (0, True, False)


@pytest.mark.parametrize("cloud", [MuteFaults(denies=(True,))], indirect=True)
def test_a_refusal_has_a_code_of_its_own(cloud: Simulator, shell: Shell) -> None:
    code, told, said = shell.run("mute", "--strategy", "interactive-sessions", "--json")
    assert (code, told["result"], told["exit_code"]) == (5, "rejected", 5)
    assert told["reason"]["code"] == "authz.policy.denied"
    assert "A policy of the queue forbids muting" in said


@pytest.mark.parametrize("cloud", [MuteFaults(effect_loss=1.0)], indirect=True)
def test_so_has_a_confirmation_that_does_not_come(cloud: Simulator, shell: Shell) -> None:
    code, told, said = shell.run("mute", "--strategy", "interactive-sessions", "--timeout", "0.3", "--json")
    assert (code, told["result"], told["muted"]) == (6, "timeout", False)
    assert "gcmedia status tells" in said


def test_002_22_002_23_002_26_no_call_wrong_settings_and_wrong_secrets_are_told_apart(
    cloud: Simulator, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told, said = shell.run("mute", "--strategy", "interactive-sessions", "--user", "nobody", "--json")
    assert (code, told["error"]) == (7, "NoActiveCall")
    assert "make sure that the agent is in a voice call" in said
    code, told, said = shell.run("mute", "--strategy", "telepathy", "--json")
    assert (code, told["error"]) == (2, "ConfigError")
    assert "webchat-edge" in said
    assert shell.run("mute", "--strategy", "webchat-edge", "--json")[0] == 2  # no conversation
    monkeypatch.setenv("GENESYS_CLIENT_SECRET", "wrong-secret")
    code, told, said = shell.run("mute", "--strategy", "interactive-sessions", "--json")
    assert (code, told["error"], told["status"]) == (3, "AuthError", 401)
    assert "gcmedia token check" in said
    assert "wrong-secret" not in said + json.dumps(told)
    monkeypatch.delenv("GENESYS_CLIENT_SECRET")  # 000-05: the missing variable is named
    code, _, said = shell.run("mute", "--strategy", "interactive-sessions")
    assert code == 2
    assert "set GENESYS_CLIENT_SECRET in the environment" in said


def test_ambiguity_says_what_to_choose(shell: Shell) -> None:
    with Simulator.in_thread(legs=[agent_leg("a", started_at=1e9), agent_leg("b", started_at=2e9)]) as cloud:
        shell.use(cloud)
        options = ["--strategy", "interactive-sessions", "--json"]
        code, told, said = shell.run("status", *options)
        assert (code, told["error"]) == (2, "AmbiguousCall")
        assert "--policy newest" in said
        assert shell.run("mute", *options, "--policy", "newest")[0] == 0
        assert shell.run("status", *options, "--session", "a")[1]["muted"] is False
        assert shell.run("status", *options, "--session", "b")[1]["muted"] is True
        code, _, said = shell.run(
            "mute", "--strategy", "webchat-edge", "--conversation", "c", "--stream", "x", "--json"
        )
        assert code == 7
        assert "Stream Not Found" in said


def test_a_state_that_nobody_tells_is_unknown(shell: Shell) -> None:
    with Simulator.in_thread(legs=[agent_leg(state="idle")]) as cloud:
        shell.use(cloud)
        code, told, said = shell.run(
            "status", "--strategy", "webchat-edge", "--conversation", "c", "--timeout", "0.1", "--json"
        )
    assert (code, told["muted"]) == (6, None)
    assert "unknown" in said
