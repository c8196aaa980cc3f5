"""The commands, and what an error becomes."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ..errors import AuthError, ConfigError, Forbidden, FormatError, GcmediaError, HandshakeError, TransportError

#: Where each command is, in the order of the help.  Only the one that is asked for is imported, so it starts at once.
COMMANDS = {
    "capture": ("capture", "capture_command"),
    "demo": ("demo", "demo_command"),
    "dial": ("dial", "dial_command"),
    "load": ("load", "load_command"),
    "monitor": ("monitor", "monitor_command"),
    "mute": ("mute", "mute_command"),
    "unmute": ("mute", "unmute_command"),
    "status": ("mute", "status_command"),
    "report": ("report", "report_command"),
    "serve": ("serve", "serve_command"),
    "verify": ("recordings", "verify_command"),
    "repair": ("recordings", "repair_command"),
    "process": ("process", "process_command"),
    "convert": ("recordings", "convert_command"),
    "prune": ("recordings", "prune_command"),
    "simulate": ("simulate", "simulate_command"),
    "audit": ("audit", "audit_app"),
    "token": ("token", "token_app"),
}
PLAIN: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


class _Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        found = getattr(import_module(f".{module}", __package__), attribute)
        if not isinstance(found, typer.Typer):
            command, found = found, typer.Typer(**PLAIN)
            found.command(cmd_name)(command)
        return get_command(found)


app = typer.Typer(name="gcmedia", cls=_Commands, no_args_is_help=True, **PLAIN)


@app.callback()
def _gcmedia() -> None:
    """Capture Genesys Cloud call audio: ordered, decoded, cleaned and accounted for."""


EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ConfigError, 2),
    (FormatError, 2),
    (AuthError, 3),
    (Forbidden, 3),
    (TransportError, 4),
    (GcmediaError, 1),
)


def run() -> int:
    """Run the command that the arguments name; return the exit code."""
    try:
        result = app(standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as leave:
        return int(leave.exit_code)
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except GcmediaError as error:
        print(f"gcmedia: {error}", file=sys.stderr)
        if isinstance(error, HandshakeError) and error.status == 403:  # 401 is an AuthError already
            return 3
        if isinstance(error, AuthError) and error.status is None and isinstance(error.__cause__, TransportError):
            return 4  # nobody refused: the token endpoint could not be reached
        return next(code for kind, code in EXIT_CODES if isinstance(error, kind))
    except OSError as error:
        print(f"gcmedia: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # typer's own usage errors, whose class moves between releases
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return 2
