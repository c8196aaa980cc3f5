"""The commands, and what an error becomes."""

from __future__ import annotations

import sys

import typer

from ..errors import AuthError, ConfigError, Forbidden, FormatError, GcmediaError, HandshakeError, TransportError
from .audit import audit_app
from .capture import capture_command
from .demo import demo_command
from .dial import dial_command
from .load import load_command
from .monitor import monitor_command
from .mute import mute_command, status_command, unmute_command
from .process import process_command
from .recordings import convert_command, prune_command, repair_command, verify_command
from .report import report_command
from .serve import serve_command
from .simulate import simulate_command
from .token import token_app

app = typer.Typer(
    name="gcmedia",
    help="Capture Genesys Cloud call audio: ordered, decoded, cleaned and accounted for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("capture")(capture_command)
app.command("demo")(demo_command)
app.command("dial")(dial_command)
app.command("load")(load_command)
app.command("monitor")(monitor_command)
app.command("mute")(mute_command)
app.command("unmute")(unmute_command)
app.command("status")(status_command)
app.command("report")(report_command)
app.command("serve")(serve_command)
app.command("verify")(verify_command)
app.command("repair")(repair_command)
app.command("process")(process_command)
app.command("convert")(convert_command)
app.command("prune")(prune_command)
app.command("simulate")(simulate_command)
app.add_typer(audit_app, name="audit")
app.add_typer(token_app, name="token")

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
