"""The command `diffopt doctor`: what is installed, and which optimizers can run here."""

from __future__ import annotations

import argparse

from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.cli.arguments import Commands
from diffopt_widgets.cli.waiting import waiting


def add_command(commands: Commands) -> None:
    """Add the command to the others."""
    doctor = commands.add_parser(
        "doctor",
        help="say what is installed and which optimizers can run here",
        description="Say what is installed, which GPU there is and which optimizers can run here; for each that cannot, "
        "why not and how to fix it. The exit status is 0 when all of them run.",
    )
    doctor.set_defaults(command=run, hint="; it looks at everything, and takes no name")


def run(_: argparse.Namespace) -> int:
    """Print the findings; returns the exit status."""
    from diffopt_widgets.cli.terminal import console, findings_table
    from diffopt_widgets.probe import doctor

    out = console()
    out.print(findings_table("Installed", doctor.packages()))
    with waiting("Looking for GPUs", 1):
        devices = list(doctor.devices())
    out.print("", findings_table("Devices", devices), sep="\n")
    well = True
    for device in ("cpu", *doctor.accelerators()):
        with waiting(f"Trying each optimizer on the {doctor.device_words(device)}", len(list_optimizers())) as begins:
            findings = list(doctor.optimizers(device, begins))
        out.print("", findings_table(f"Optimizers on the {doctor.device_words(device)}", findings), sep="\n")
        well = well and all(finding.works for finding in findings)
    return 0 if well else 1
