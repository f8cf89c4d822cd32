"""The command `diffopt probe`: whether each option does anything, found by trying it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from diffopt_widgets.catalogue import is_path, list_optimizers
from diffopt_widgets.catalogue.evidence import Probed
from diffopt_widgets.cli.arguments import TOGETHER, Commands, listed_names
from diffopt_widgets.cli.options import spec_named
from diffopt_widgets.cli.waiting import waiting
from diffopt_widgets.settings import Fault, SettingsError


def add_command(commands: Commands) -> None:
    """Add the command to the others."""
    probe = commands.add_parser(
        "probe",
        help="try every option, and say which of them do something",
        description="Train a small model twice for each option, with its default and changed, and compare the weights to the "
        "bit. The exit status is 0 when the catalogue and its table of evidence say what is seen.",
    )
    probe.add_argument("optimizers", nargs="*", metavar="KEY", help="Optimizers, such as PRODIGY. (default: all)")
    probe.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="Where to train. (default: %(default)s)"
    )
    probe.add_argument(
        "--write",
        action="store_true",
        help="Write what is seen into the table, and leave the rest of it; for who works on this package.",
    )
    probe.add_argument(
        "--missing", action="store_true", help="Try only the optimizers of which the table lacks something."
    )
    probe.set_defaults(command=run, hint=TOGETHER)


def run(arguments: argparse.Namespace) -> int:
    """Try the options, print and with --write, write what was seen; returns the exit status."""
    keys = [spec_named(key).key for key in listed_names(arguments.optimizers)] or list(list_optimizers())
    if arguments.write and (outside := [key for key in keys if is_path(key)]):
        problem = "the table has optimizers of the catalogue only"
        raise SettingsError((Fault("--write", outside[0], problem, "", "Leave this one out."),))
    with waiting("Trying every option of each optimizer", len(keys)) as begins:
        seen = _probe(arguments, keys, begins)
    if isinstance(seen, str):
        print(f"diffopt: {seen}", file=sys.stderr)
        return 1

    from rich.console import Console

    from diffopt_widgets.cli.terminal import probed_table
    from diffopt_widgets.probe import table as probe_table

    if arguments.write:
        probe_table.write(seen, arguments.device)
    Console().print(probed_table(seen))
    faults = probe_table.disagreements(seen) if arguments.write else probe_table.faults(seen, arguments.device)
    for fault in faults:
        print(f"diffopt: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _probe(arguments: argparse.Namespace, keys: list[str], begins: Callable[[str], None]) -> Probed | str:
    """Try the options; returns what was seen, or why they cannot be tried."""
    from diffopt_widgets.optimizers.factory import MissingBackend
    from diffopt_widgets.probe import table as probe_table
    from diffopt_widgets.probe.values import ProbeError

    if arguments.missing:
        keys = [key for key in keys if probe_table.lacking(key, arguments.device)]
    try:
        if arguments.write:
            probe_table.check_versions(keys, arguments.device)
        return probe_table.probe(keys, arguments.device, begins)
    except (MissingBackend, ProbeError) as error:
        return str(error)
