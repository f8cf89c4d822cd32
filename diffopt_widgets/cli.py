"""The command `diffopt`: the bench without writing a notebook, or without a browser."""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffopt_widgets.arguments import FLAGGED, as_key, read_plan
from diffopt_widgets.catalogue import families
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import TRAINING_DEFAULTS
from diffopt_widgets.catalogue.schema import OptimizerSpec
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.plan import RunPlan
from diffopt_widgets.settings import Fault, Settings, SettingsError

if TYPE_CHECKING:
    from diffopt_widgets.runs import Run

STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""

_EXAMPLES = """\
examples:
  diffopt run --optimizer PRODIGY --task swiss_roll --steps 100
  diffopt run --optimizer PRODIGY --set d_coef=0.5,1.0,1.2 --schedule COSINE
  diffopt run --optimizer ADAFACTOR --preset adaptive --set clip_threshold=0.5
  diffopt run --optimizer ADAMW --lr 1e-4,1e-3,1e-2 --seed 0,1

Several values with commas between them are compared, one run for each
combination; the same seed gives all of them the same weights and batches.
`diffopt options` lists the optimizers, `diffopt options PRODIGY` the options
and presets of one. Ctrl-C stops; what was trained until then is written.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 well, 1 something failed, 2 wrong input, 130 stopped)."""
    parser = _parser()
    given = parser.parse_args(arguments)
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
            f"diffopt: a package cannot be loaded: {error}\nTo mend it, do what `diffopt doctor` says.", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("\ndiffopt: stopped", file=sys.stderr)
        return STOPPED


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
        description="Open JupyterLab on the quickstart notebook, which is copied into the folder where there is none yet. "
        "The server can be reached from this machine only and asks for a token; the address that it prints has it. "
        "Ctrl-C ends it.",
    )
    lab.add_argument("--folder", type=Path, metavar="FOLDER", help="Where your notebooks are. (default: this folder)")
    lab.add_argument("--port", type=int, metavar="NUMBER", help="Port on this machine. (default: a free one)")
    lab.add_argument("--no-browser", action="store_true", help="Print the address and do not open a browser.")
    lab.set_defaults(command=_lab)

    _add_run(
        commands.add_parser(
            "run",
            help="train, and write a figure and a table",
            description="Train, print how each run ended, and write a figure (an HTML file that opens\noffline) and the "
            "values of every step (a CSV file).",
            epilog=_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )

    options = commands.add_parser(
        "options",
        help="list the optimizers, or explain the options of one",
        description="List the optimizers, or explain every option of one: what it does, its default and what it may be.",
    )
    options.add_argument(
        "optimizer",
        nargs="?",
        metavar="KEY",
        help="An optimizer, such as PRODIGY, or any class by its path, such as torch.optim:NAdam. (default: list all)",
    )
    options.add_argument(
        "--markdown",
        type=Path,
        metavar="FOLDER",
        help="Write the reference into a folder instead, a page per optimizer.",
    )
    options.set_defaults(command=_options)

    doctor = commands.add_parser(
        "doctor",
        help="say what is installed and which optimizers can run here",
        description="Say what is installed, which GPU there is and which optimizers can run here; for each that cannot, "
        "why not and how to mend it. The exit status is 0 when all of them run.",
    )
    doctor.set_defaults(command=_doctor)
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("--optimizer", required=True, metavar="KEY", help="Which optimizer; `diffopt options` lists them.")
    run.add_argument(
        "--preset",
        metavar="KEY",
        help="Start from a preset of the optimizer instead of the defaults; what else is given wins.",
    )
    run.add_argument("--lr", metavar="RATE", help="Learning rate. (default: the optimizer's own)")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="An option of the optimizer. Give it again for another option.",
    )
    for option in FLAGGED.values():
        words = f" One of {', '.join(option.choices)}." if option.choices else ""
        run.add_argument(
            f"--{option.name.replace('_', '-')}",
            metavar="NUMBER" if option.kind in {"int", "float"} else "NAME",
            help=f"{option.help}{words} (default: {_default(option)})".replace("%", "%%"),
        )
    run.add_argument(
        "--out",
        type=Path,
        default=Path("diffopt-runs"),
        metavar="FOLDER",
        help="Where the figure and the table go. It is made when it is not there. (default: %(default)s)",
    )
    run.set_defaults(command=_run)


def _default(option: Option) -> str:
    value = TRAINING_DEFAULTS[option.name] if option.name in TRAINING_DEFAULTS else getattr(RunPlan, option.name)
    return option.null_words if value is None else format_value(value)


def _lab(given: argparse.Namespace) -> int:
    from diffopt_widgets.lab_server import open_lab

    return open_lab(given.folder, port=given.port, browser=not given.no_browser)


def _options(given: argparse.Namespace) -> int:
    from rich.console import Console

    from diffopt_widgets.terminal import optimizer_page, optimizers_page

    if given.markdown is not None:
        return _write_reference(given)
    console = Console()
    console.print(optimizers_page(families()) if given.optimizer is None else optimizer_page(_spec(given.optimizer)))
    return 0


def _write_reference(given: argparse.Namespace) -> int:
    from diffopt_widgets.reference import INDEX, reference_pages

    pages = reference_pages()
    if given.optimizer is not None:
        name = f"{_spec(given.optimizer).key}.md"
        pages = {name: pages[name]}
    folder = _writable(given.markdown, "--markdown")
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"wrote {len(pages)} page{'s' * (len(pages) > 1)}; begin with {folder / (INDEX if INDEX in pages else name)}")
    return 0


def _spec(key: str) -> OptimizerSpec:
    return Settings(as_key(key)).spec


def _doctor(_: argparse.Namespace) -> int:
    from rich.console import Console

    from diffopt_widgets.terminal import findings_table
    from diffopt_widgets.training import doctor

    console = Console()
    console.print(findings_table("Installed", doctor.packages()))
    console.print(findings_table("Devices", doctor.devices()))
    well = True
    for device in ("cpu", *doctor.accelerators()):
        found = list(doctor.optimizers(device))
        console.print(findings_table(f"Optimizers on the {doctor.device_words(device)}", found))
        well = well and all(finding.works for finding in found)
    return 0 if well else 1


def _run(given: argparse.Namespace) -> int:
    from rich.console import Console

    from diffopt_widgets.plot.figures import compare, write_html
    from diffopt_widgets.sweeps import sweep
    from diffopt_widgets.terminal import runs_table

    base, over = read_plan(
        given.optimizer, {name: getattr(given, name) for name in ("lr", *FLAGGED)}, given.set, given.preset
    )
    folder = _writable(given.out, "--out")  # before hours of training are lost on it
    runs = sweep(
        base.settings,
        over,
        base.task,
        base.steps,
        seed=base.seed,
        device=base.device,
        batch_size=base.batch_size,
        accumulation=base.accumulation,
    )
    Console().print(runs_table(runs))
    tasks = "-".join(dict.fromkeys(run.plan.task for run in runs))
    page, table = _free_paths(folder, f"{base.settings.optimizer.lower().replace(':', '.')}-{tasks}")
    write_html(compare(runs), page)
    _write_csv(runs, table)
    print(f"wrote {page} and {table}")
    for run in runs:
        if run.status != "done":
            print(f"diffopt: {run.name}: {run.message}", file=sys.stderr)
    if any(run.status == "stopped" for run in runs):
        return STOPPED
    return 1 if any(run.status == "failed" for run in runs) else 0


def _writable(folder: Path, flag: str) -> Path:
    """The folder, made if need be.

    Raises:
        SettingsError: it cannot be made, or nothing can be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        no_folder = isinstance(error, FileExistsError | NotADirectoryError)
        problem = "a file is in its place" if no_folder else error.strerror or str(error)
        todo = "Name another; nothing was done."
        raise SettingsError((Fault(flag, str(folder), problem, "a folder that can be written to", todo),)) from None


def _free_paths(folder: Path, stem: str) -> tuple[Path, Path]:
    """Where the figure and the table go: under one name, numbered when former runs have it."""
    for number in itertools.count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        page, table = folder / f"{name}.html", folder / f"{name}.csv"
        if not page.exists() and not table.exists():
            break
    return page, table


def _write_csv(runs: Sequence[Run], path: Path) -> None:
    tables = [run.history.to_columns() for run in runs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", *names])
        for run, table in zip(runs, tables, strict=True):
            blank = [""] * len(run.history)
            writer.writerows(
                zip([run.name] * len(run.history), *(table.get(name, blank) for name in names), strict=True)
            )
