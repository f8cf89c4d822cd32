"""The command `diffopt`: the bench without writing a notebook, or without a browser."""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue import families
from diffopt_widgets.catalogue.schedules import LR_SCALERS, SCHEDULES, TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import OptimizerSpec, Option
from diffopt_widgets.catalogue.values import Value, ValueProblem, format_value, parse_value
from diffopt_widgets.plan import PLAN_OPTIONS, RunPlan
from diffopt_widgets.settings import Fault, Settings, SettingsError, preset
from diffopt_widgets.tasks import list_tasks

if TYPE_CHECKING:
    from diffopt_widgets.runs import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 well, 1 a run failed, 2 wrong input)."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        return int(given.command(given))
    except (SettingsError, OSError) as error:
        print(f"diffopt: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndiffopt: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="diffopt", description="A bench for optimizers.")
    commands = parser.add_subparsers(required=True, metavar="command")

    lab = commands.add_parser("lab", help="open JupyterLab on the quickstart notebook")
    lab.add_argument("--folder", type=Path, default=None, help="where notebooks are kept (default: here)")
    lab.add_argument("--port", type=int, default=None, help="port on this machine (default: a free one)")
    lab.add_argument("--no-browser", action="store_true", help="print the address and do not open a browser")
    lab.set_defaults(command=_lab)

    run = commands.add_parser("run", help="train, and write a figure and a table")
    run.add_argument("--optimizer", required=True, metavar="KEY", help="see `diffopt options`")
    run.add_argument("--preset", default=None, help="start from this preset instead of the library's defaults")
    run.add_argument("--lr", default=None, help="learning rate; several with commas are compared")
    run.add_argument("--schedule", default=None, help=", ".join(SCHEDULES))
    run.add_argument("--warmup", default=None, help="steps, or a fraction of the run when at most 1")
    run.add_argument("--cycles", default=None)
    run.add_argument("--min-factor", default=None)
    run.add_argument("--lr-scaler", default=None, help=", ".join(LR_SCALERS))
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE[,VALUE]", help="an option; repeatable")
    run.add_argument("--task", default="digits", choices=list_tasks())
    for option in PLAN_OPTIONS.values():
        default = format_value(getattr(RunPlan, option.name))
        run.add_argument(f"--{option.name.replace('_', '-')}", default=default, help=f"{option.help} ({default})")
    run.add_argument("--out", type=Path, default=Path("diffopt-runs"), help="folder for the figure and the CSV")
    run.set_defaults(command=_run)

    options = commands.add_parser("options", help="the optimizers, or the options of one with their help")
    options.add_argument("optimizer", nargs="?", metavar="KEY")
    options.set_defaults(command=_options)

    doctor = commands.add_parser("doctor", help="what is installed, and which optimizers can run here")
    doctor.set_defaults(command=_doctor)
    return parser


def _lab(given: argparse.Namespace) -> int:
    from diffopt_widgets.lab_server import open_lab

    return open_lab(given.folder, port=given.port, browser=not given.no_browser)


def _options(given: argparse.Namespace) -> int:
    from rich.console import Console

    from diffopt_widgets.terminal import optimizer_page, optimizers_page

    console = Console()
    console.print(optimizers_page(families()) if given.optimizer is None else optimizer_page(_spec(given.optimizer)))
    return 0


def _spec(key: str) -> OptimizerSpec:
    return Settings(key.upper()).spec


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

    base, over = _plan(given)
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
    given.out.mkdir(parents=True, exist_ok=True)
    page, table = _free_paths(given.out, f"{base.settings.optimizer.lower()}-{base.task}")
    write_html(compare(runs), page)
    _write_csv(runs, table)
    print(f"wrote {page} and {table}")
    for run in runs:
        if run.status == "failed":
            print(f"diffopt: {run.name}: {run.message}", file=sys.stderr)
    return 1 if any(run.status == "failed" for run in runs) else 0


def _free_paths(folder: Path, stem: str) -> tuple[Path, Path]:
    """Where the figure and the table go: under one name, numbered when former runs have it."""
    for number in itertools.count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        page, table = folder / f"{name}.html", folder / f"{name}.csv"
        if not page.exists() and not table.exists():
            break
    return page, table


def _plan(given: argparse.Namespace) -> tuple[RunPlan, dict[str, list[Value]]]:
    """The plan that the runs have in common, and the values to vary."""
    key = given.optimizer.upper()
    start = preset(key, given.preset) if given.preset else Settings(key)
    known = {option.name: option for option in TRAINING_OPTIONS} | dict(PLAN_OPTIONS)
    known |= {use.name: use.option for use in (start.spec.lr, *start.spec.uses)}
    texts = {name: getattr(given, name) for name in ("lr", *(o.name for o in TRAINING_OPTIONS), *PLAN_OPTIONS)}
    for item in given.set:
        name, equals, text = item.partition("=")
        if not equals:
            raise SettingsError((Fault("--set", item, "has no =", "NAME=VALUE, such as d_coef=0.5,1.0"),))
        texts[name.strip()] = text
    values = {name: _parse(known, name, text) for name, text in texts.items() if text is not None}
    over = {name: found for name, found in values.items() if len(found) > 1}
    first = {name: found[0] for name, found in values.items()}  # the first combination: one that is trained anyway
    plan = {name: first.pop(name) for name in PLAN_OPTIONS if name in first}
    return RunPlan(start.replace(**first), given.task, **plan), over  # type: ignore[arg-type]  # RunPlan checks them


def _parse(known: dict[str, Option], name: str, text: str) -> list[Value]:
    option = known.get(name)
    if option is None:
        return [text]  # Settings names the unknown option and what there is
    try:
        return [parse_value(option.kind, part, nullable=option.nullable) for part in text.split(",")]
    except ValueProblem as problem:
        raise SettingsError((Fault(name, text, str(problem), option.allowed()),)) from None


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
