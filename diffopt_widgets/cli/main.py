"""The command `diffopt`: the bench without writing a notebook, or without a browser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from diffopt_widgets.catalogue import families, is_path, key_of, list_optimizers
from diffopt_widgets.catalogue.schema import OptimizerSpec
from diffopt_widgets.cli import memory as memory_command
from diffopt_widgets.cli import run as run_command
from diffopt_widgets.settings import Fault, Settings, SettingsError

JUPYTER_HINT = ". Jupyter's own options go after --, as in: diffopt lab -- --ServerApp.base_url=/bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 well, 1 something failed, 2 wrong input, 130 stopped)."""
    parser = _parser()
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{JUPYTER_HINT * (given.command is _lab)}")
    if given.command is None:
        parser.print_help()
        return 2
    try:
        return int(given.command(given))
    except (SettingsError, OSError) as error:
        print(f"diffopt: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(
            f"diffopt: a package cannot be loaded: {error}\nTo fix it, do what `diffopt doctor` says.", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("\ndiffopt: stopped", file=sys.stderr)
        return run_command.STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="diffopt",
        description="A bench for optimizers: train with their options explained, and see the learning rate that is "
        "really applied.",
        epilog="`diffopt COMMAND --help` explains a command.",
    )
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    lab = commands.add_parser(
        "lab",
        help="open JupyterLab on the quickstart notebook",
        usage="diffopt lab [-h] [--folder FOLDER] [--ip ADDRESS] [--port NUMBER] [--no-browser] [-- JUPYTER-OPTION ...]",
        description="Open JupyterLab on the quickstart notebook, which is copied into the folder where there is none yet. "
        "Unless told otherwise the server can be reached from this machine only and asks for a token; the address that "
        "it prints has it. Ctrl-C ends it.",
        epilog="In a container: diffopt lab --ip 0.0.0.0 --port 8888, with port 8888 published.",
    )
    lab.add_argument("--folder", type=Path, metavar="FOLDER", help="Where your notebooks are. (default: this folder)")
    lab.add_argument(
        "--ip",
        metavar="ADDRESS",
        help="Address to listen on; 0.0.0.0 lets other machines reach it. (default: 127.0.0.1, this machine only)",
    )
    lab.add_argument(
        "--port",
        type=_port,
        metavar="NUMBER",
        help="Port to listen on. (default: 8888, or a free one where it is in use)",
    )
    lab.add_argument("--no-browser", action="store_true", help="Print the address and do not open a browser.")
    lab.add_argument(
        "jupyter",
        nargs="*",
        metavar="JUPYTER-OPTION",
        help="Options after -- are passed on to Jupyter; `diffopt lab -- --help` lists them.",
    )
    lab.set_defaults(command=_lab)

    run_command.add_arguments(
        commands.add_parser(
            "run",
            help="train, and write a figure and a table",
            description="Train, print how each run ended, and write a figure (an HTML file that opens\noffline) and the "
            "values of every step (a CSV file).",
            epilog=run_command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    ).set_defaults(command=run_command.run_command)

    options = commands.add_parser(
        "options",
        help="list the optimizers, or explain the options of one",
        description="List the optimizers, or explain every option of one: what it does, its default and what it may be.",
    )
    options.add_argument(
        "optimizer",
        nargs="?",
        metavar="KEY",
        help="An optimizer, such as PRODIGY, or any class by its path, such as torch.optim:RAdam. (default: list all)",
    )
    options.add_argument(
        "--markdown",
        type=Path,
        metavar="FOLDER",
        help="Write the reference into a folder instead, a page per optimizer.",
    )
    options.set_defaults(command=_options)

    memory_command.add_arguments(
        commands.add_parser(
            "memory",
            help="say how much state an optimizer will keep, before any run",
            description="Say how many bytes of state an optimizer will keep for a model, or compare all of them. Nothing is "
            "allocated and no GPU is needed. Text encoders are not counted; gradients and weights come on top.",
        )
    ).set_defaults(command=memory_command.tell)

    doctor = commands.add_parser(
        "doctor",
        help="say what is installed and which optimizers can run here",
        description="Say what is installed, which GPU there is and which optimizers can run here; for each that cannot, "
        "why not and how to fix it. The exit status is 0 when all of them run.",
    )
    doctor.set_defaults(command=_doctor)

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
    probe.set_defaults(command=_probe)
    return parser


def _lab(given: argparse.Namespace) -> int:
    from diffopt_widgets.cli.lab import open_lab

    if given.jupyter and not given.jupyter[0].startswith("-"):
        raise OSError(f"{given.jupyter[0]!r} is not an option. To fix it: name a folder with --folder{JUPYTER_HINT}")
    return open_lab(given.folder, ip=given.ip, port=given.port, browser=not given.no_browser, options=given.jupyter)


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a port. It may be a whole number from 1 to 65535, or 0 for any free one"
        )
    return port


def _options(given: argparse.Namespace) -> int:
    from rich.console import Console

    from diffopt_widgets.cli.terminal import optimizer_page, optimizers_page

    if given.markdown is not None:
        return _write_reference(given)
    console = Console()
    console.print(optimizers_page(families()) if given.optimizer is None else optimizer_page(_spec(given.optimizer)))
    return 0


def _write_reference(given: argparse.Namespace) -> int:
    from diffopt_widgets.cli.reference import INDEX, reference_pages

    pages = reference_pages()
    if given.optimizer is not None:
        name = f"{_spec(given.optimizer).key}.md"
        pages = {name: pages[name]}
    folder = run_command.writable(given.markdown, "--markdown")
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"wrote {len(pages)} page{'s' * (len(pages) > 1)}; begin with {folder / (INDEX if INDEX in pages else name)}")
    return 0


def _spec(key: str) -> OptimizerSpec:
    return Settings(key_of(key)).spec


def _doctor(_: argparse.Namespace) -> int:
    from rich.console import Console

    from diffopt_widgets.cli.terminal import findings_table
    from diffopt_widgets.probe import doctor

    console = Console()
    console.print(findings_table("Installed", doctor.packages()))
    console.print(findings_table("Devices", doctor.devices()))
    well = True
    for device in ("cpu", *doctor.accelerators()):
        found = list(doctor.optimizers(device))
        console.print(findings_table(f"Optimizers on the {doctor.device_words(device)}", found))
        well = well and all(finding.works for finding in found)
    return 0 if well else 1


def _probe(given: argparse.Namespace) -> int:
    from rich.console import Console

    from diffopt_widgets.cli.terminal import probed_table
    from diffopt_widgets.optimizers.factory import MissingBackend
    from diffopt_widgets.probe import table as probe_table
    from diffopt_widgets.probe.values import ProbeError

    keys = [_spec(key).key for key in given.optimizers] or list(list_optimizers())
    if given.write and (outside := [key for key in keys if is_path(key)]):
        problem = "the table has optimizers of the catalogue only"
        raise SettingsError((Fault("--write", outside[0], problem, "", "Leave this one out."),))
    if given.missing:
        keys = [key for key in keys if probe_table.lacking(key, given.device)]
    try:
        if given.write:
            probe_table.check_versions(keys, given.device)
        seen = probe_table.probe(keys, given.device)
    except (MissingBackend, ProbeError) as error:
        print(f"diffopt: {error}", file=sys.stderr)
        return 1
    if given.write:
        probe_table.write(seen, given.device)
    Console().print(probed_table(seen))
    faults = probe_table.disagreements(seen) if given.write else probe_table.faults(seen, given.device)
    for fault in faults:
        print(f"diffopt: {fault}", file=sys.stderr)
    return 1 if faults else 0
