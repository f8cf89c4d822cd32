"""The command `diffopt run`: train without a browser."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.schema import Use
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.cli.arguments import FLAGGED, STOPPED, Commands, names_taken, read_plan, writable_folder
from diffopt_widgets.records import write_csv
from diffopt_widgets.settings import Fault, SettingsError

if TYPE_CHECKING:
    from diffopt_widgets.store import RunStore

EXAMPLES = """\
examples:
  diffopt run PRODIGY --task swiss_roll --steps 100
  diffopt run PRODIGY --set d_coef=0.5,1.0,1.2 --schedule COSINE
  diffopt run ADAFACTOR --preset adaptive --set clip_threshold=0.5
  diffopt run ADAMW --lr 1e-4,1e-3,1e-2 --seed 0,1
  diffopt run ADAMW,PRODIGY,LION --schedule COSINE

Several values with commas between them are compared, one run for each
combination; the same seed gives all of them the same weights and batches.
`diffopt options` lists the optimizers, `diffopt options PRODIGY` the options
and presets of one. Ctrl-C stops; what was trained until then is written.
"""


def add_command(commands: Commands) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "run",
        help="train, and write a figure and a table",
        description="Train, print how each run ended, and write a figure (an HTML file that opens\noffline) and the "
        "values of every step (a CSV file).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "named",
        nargs="?",
        metavar="KEY",
        help="Which optimizer, or several with commas between them; `diffopt options` lists them.",
    )
    parser.add_argument("--optimizer", metavar="KEY", help="The same, as a flag.")
    parser.add_argument(
        "--preset",
        metavar="KEY",
        help="Start from a preset of the optimizer instead of the defaults; other flags win over it.",
    )
    parser.add_argument("--lr", metavar="RATE", help="Learning rate. (default: the optimizer's own)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="An option of the optimizer. Give it again for another option.",
    )
    for use in FLAGGED.values():
        _add_flag(parser, use)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("diffopt-runs"),
        metavar="FOLDER",
        help="Where the figure and the table go. It is made when it is not there. (default: %(default)s)",
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="FILE",
        help="Keep the runs in this store as they go, such as runs.sqlite; dw.RunStore opens it. (default: none)",
    )
    parser.set_defaults(command=run)


def _add_flag(parser: argparse.ArgumentParser, use: Use) -> None:
    """Give an option a flag of its own; that of a yes or no may stand alone, which means yes."""
    option = use.option
    default = option.null_words if use.default is None else format_value(use.default)
    words = f" One of {', '.join(option.choices)}." if option.choices else ""
    switch = option.kind == "bool"
    parser.add_argument(
        f"--{option.name.replace('_', '-')}",
        metavar="NUMBER" if option.kind in {"int", "float"} else "true|false" if switch else "NAME",
        nargs="?" if switch else None,
        const="true" if switch else None,
        help=f"{option.help}{words} (default: {default})".replace("%", "%%"),
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, print how each run ended, and write a figure and a table; returns the exit status.

    Raises:
        SettingsError: something that was typed cannot be used.
    """
    from rich.console import Console

    from diffopt_widgets.cli.terminal import runs_table
    from diffopt_widgets.drawing.figures import compare, write_html
    from diffopt_widgets.execution.outcome import risen
    from diffopt_widgets.execution.sweeps import sweep
    from diffopt_widgets.runs.run import vary
    from diffopt_widgets.training.environment import environment

    base, over = read_plan(
        _optimizer(arguments),
        {name: getattr(arguments, name) for name in ("lr", *FLAGGED)},
        arguments.set,
        arguments.preset,
    )
    folder = writable_folder(arguments.out, "--out")  # before hours of training are lost on it
    store = _opened(arguments.store)
    for taken in names_taken(base.settings, arguments.set):
        print(f"diffopt: note: {taken}", file=sys.stderr)
    broken = (
        rule for plan in vary(base, over) for rule in plan.settings.warnings(environment(plan.device, plan.dtype))
    )
    for message in dict.fromkeys(rule.message for rule in broken if rule.severity == "warning"):
        print(f"diffopt: note: {message}", file=sys.stderr)
    runs = sweep(base.settings, over, store=store, **base.options())
    Console().print(runs_table(runs))
    tasks = "-".join(dict.fromkeys(run.plan.task for run in runs))
    keys = dict.fromkeys(run.settings.optimizer.lower().replace(":", ".") for run in runs)
    page, table = _free_paths(folder, f"{'-'.join(keys) if len(keys) < 4 else 'optimizers'}-{tasks}")
    write_html(compare(runs), page)
    write_csv(table, [((run.name,), run.history) for run in runs])
    print(f"wrote {page} and {table}")
    for run in runs:
        if run.status != "done":
            print(f"diffopt: {run.name}: {run.message}", file=sys.stderr)
        elif worse := risen(run):
            print(f"diffopt: note: {run.name}: {worse}", file=sys.stderr)
    if any(run.status == "stopped" for run in runs):
        return STOPPED
    return 1 if any(run.status == "failed" for run in runs) else 0


def _optimizer(arguments: argparse.Namespace) -> str:
    """Return the optimizer that is named first or by its flag.

    Raises:
        SettingsError: none is named, or two are.
    """
    named = [text for text in (arguments.named, arguments.optimizer) if text is not None]
    if len(named) == 1:
        return str(named[0])
    problem = f"it is given twice; to compare, write {','.join(named)}" if named else "none is named"
    raise SettingsError(
        (
            Fault(
                "optimizer", None, problem, "", "Write one, as in `diffopt run PRODIGY`; `diffopt options` lists them."
            ),
        )
    )


def _opened(path: Path | None) -> RunStore | None:
    from diffopt_widgets.store import RunStore, StoreError

    try:
        return None if path is None else RunStore(path)
    except StoreError as error:
        fault = Fault("--store", str(path), str(error), "", "Nothing was done.")
        raise SettingsError((fault,)) from None


def _free_paths(folder: Path, stem: str) -> tuple[Path, Path]:
    """Return the paths of the figure and the table: one name, numbered where earlier runs have it."""
    for number in itertools.count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        page, table = folder / f"{name}.html", folder / f"{name}.csv"
        if not page.exists() and not table.exists():
            break
    return page, table
