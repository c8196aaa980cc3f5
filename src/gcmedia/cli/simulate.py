"""``gcmedia simulate``: a Genesys Cloud on this machine, to try a capture service on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..demo import speech_call
from ..simulator import AgentLeg, Call, Faults, Simulator, serve_forever
from .run import run_async

__all__ = ["simulate_command"]


def _tell(conversation: str, cloud: Simulator) -> None:
    # On standard output: `eval "$(gcmedia simulate ... &)"` and scripts read it.
    print(f"export GENESYS_REGION={cloud.base_url}")
    print(f"export GENESYS_CLIENT_ID={cloud.client_id}")
    print(f"export GENESYS_CLIENT_SECRET={cloud.client_secret}")
    print("export AGENT_USER_ID=agent-1")
    print(f"# in another shell: gcmedia capture {conversation} --out calls")
    print(f"# or: gcmedia mute --conversation {conversation}", flush=True)


def simulate_command(
    conversation: Annotated[str, typer.Option(help="Id of the call.")] = "conv-1",
    speech: Annotated[str, typer.Option(help="WAV files instead of the shipped call, comma-separated.")] = "",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 for any.")] = 0,
    speed: Annotated[float, typer.Option(help="Times real time.")] = 1.0,
    faults: Annotated[bool, typer.Option(help="A bad network, or a perfect one.")] = True,
    seed: Annotated[int, typer.Option(help="Of the faults.")] = 7,
    layout: Annotated[str, typer.Option(help="padded16, packed12 or json.")] = "padded16",
    backend: Annotated[str, typer.Option(help="asyncio or trio.")] = "asyncio",
) -> None:
    """Serve a call until interrupted; prints what a capture needs to reach it."""
    paths: list[str | Path] = [part for part in speech.split(",") if part]
    call = speech_call(paths) if paths else Call.demo()
    network = Faults.bad_network(seed) if faults else Faults.none()
    run_async(
        partial(
            serve_forever,
            {conversation: call},
            network,
            on_ready=partial(_tell, conversation),
            speed=speed,
            port=port,
            layout=layout,
            legs=[AgentLeg("session-1", conversation_id=conversation, user_id="agent-1")],
        ),
        backend,
    )
