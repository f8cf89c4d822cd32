"""The command `diffopt probe`: whether each option does anything, found by trying it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable

from diffopt_widgets.catalogue import is_path, list_optimizers, spec
from diffopt_widgets.catalogue.evidence import Probed, read_table, write_table
from diffopt_widgets.cli.arguments import TOGETHER, Commands, listed_names
from diffopt_widgets.cli.kept import FRESH_HELP, Kept
from diffopt_widgets.cli.options import spec_named
from diffopt_widgets.cli.speaking import tell
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
        help="Write what is seen into the table, and leave the rest of it; for those who work on this package.",
    )
    probe.add_argument(
        "--missing", action="store_true", help="Try only the optimizers of which the table lacks something."
    )
    probe.add_argument("--fresh", action="store_true", help=FRESH_HELP)
    probe.set_defaults(command=run, hint=TOGETHER)


def run(arguments: argparse.Namespace) -> int:
    """Try the options, print and with --write, write what was seen; returns the exit status."""
    from diffopt_widgets.probe import table as probe_table

    keys = [spec_named(key).key for key in listed_names(arguments.optimizers)] or list(list_optimizers())
    if arguments.write and (outside := [key for key in keys if is_path(key)]):
        problem = "the table has optimizers of the catalogue only"
        raise SettingsError((Fault("--write", outside[0], problem, "", "Leave this one out."),))
    if arguments.missing:
        keys = [key for key in keys if probe_table.lacking(key, arguments.device)]
    kept = Kept(fresh=arguments.fresh or arguments.write, device=arguments.device)
    options = sum(1 + len(spec_named(key).uses) for key in keys)
    with waiting("Trying every option of each optimizer", options) as begins:
        seen = _probe(arguments, keys, kept, begins)
    if isinstance(seen, str):
        tell(seen)
        return 1

    from diffopt_widgets.cli.terminal import console, probed_table

    if arguments.write:
        probe_table.write(seen, arguments.device)
    console().print(probed_table(seen, kept.words()))
    faults = probe_table.disagreements(seen) if arguments.write else probe_table.faults(seen, arguments.device)
    for fault in faults:
        tell(fault)
    return 1 if faults else 0


def _probe(arguments: argparse.Namespace, keys: list[str], kept: Kept, begins: Callable[[str], None]) -> Probed | str:
    """Try the options; returns what was seen, or why they cannot be tried."""
    from diffopt_widgets.probe import table as probe_table
    from diffopt_widgets.probe.values import ProbeError

    seen: list[Probed] = []
    problems = []
    if arguments.write:
        try:
            probe_table.check_versions(keys, arguments.device)
        except ProbeError as error:
            return str(error)
    for key in keys:
        try:
            seen.append(_one(key, arguments.device, kept, begins))
        except ProbeError as error:
            problems.append(str(error))
        except ImportError as error:  # a missing device or package, for which nothing can be tried
            return str(error)
    if problems:
        return "\n".join(problems)
    return Probed(
        {name: version for probed in seen for name, version in probed.versions.items()},
        {key: found for probed in seen for key, found in probed.findings.items()},
    )


def _one(key: str, device: str, kept: Kept, begins: Callable[[str], None]) -> Probed:
    """Try the options of one optimizer, unless what was seen earlier still holds."""
    from diffopt_widgets.probe import table as probe_table

    if is_path(key):  # another class may change under the same name
        return probe_table.probe([key], device, begins)
    question, packages = ("probe", key), (spec(key).package,)
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
        probed = read_table(kept.recall(question, packages))[device]
        for name in probed.findings[key]:
            begins(f"{key} {name}")
        return probed
    probed = probe_table.probe([key], device, begins)
    kept.keep(question, packages, write_table({device: probed}))
    return probed
