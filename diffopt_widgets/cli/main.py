"""The command `diffopt`: the bench without writing a notebook, or without a browser."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from diffopt_widgets import __version__
from diffopt_widgets.cli import doctor, lab, memory, options, probe, run, sweep
from diffopt_widgets.cli.arguments import STOPPED, Parser
from diffopt_widgets.cli.speaking import discard_output, flush, tell
from diffopt_widgets.plain_text import ERRORS
from diffopt_widgets.settings import SettingsError

COMMANDS = (lab, run, sweep, options, memory, doctor, probe)
"""The commands in the order of the help: each is a file with `add_command`, and its place here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 well, 1 something failed, 2 wrong input, 130 stopped)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)
    parser = _parser()
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{parsed.hint}")
    if parsed.command is None:
        parser.print_help()
        return 2
    try:
        return _flushed(int(parsed.command(parsed)))
    except BrokenPipeError:  # as `| head` does when it has enough
        discard_output()
        return 0
    except (SettingsError, OSError) as error:
        tell(_words(error))
        discard_output()
        return 2
    except ImportError as error:
        tell(f"a package cannot be loaded: {error}\nTo fix it, do what `diffopt doctor` says.")
        return 1
    except KeyboardInterrupt:
        tell("stopped")
        return STOPPED


def _words(error: Exception) -> str:
    """Describe an error; one of the system by the path that it is about."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _flushed(status: int) -> int:
    flush()
    return status


def _parser() -> Parser:
    parser = Parser(
        prog="diffopt",
        description="A bench for optimizers: train with their options explained, and see the learning rate that is "
        "really applied.",
        epilog="`diffopt COMMAND --help` explains a command.",
    )
    parser.set_defaults(command=None, hint="")
    parser.add_argument("--version", action="version", version=f"diffopt-widgets {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    for command in COMMANDS:
        command.add_command(commands)
    return parser
