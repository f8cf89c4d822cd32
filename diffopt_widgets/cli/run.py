"""The command `diffopt run`: train without a browser."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, cast

from diffopt_widgets.catalogue.names import twin_words
from diffopt_widgets.catalogue.schema import Use
from diffopt_widgets.catalogue.values import format_value, number_or_none, shorten
from diffopt_widgets.cli.arguments import (
    FLAGGED,
    STOPPED,
    TOGETHER,
    Commands,
    listed_names,
    names_taken,
    read_plan,
    writable_folder,
)
from diffopt_widgets.cli.speaking import discard_output, say, tell
from diffopt_widgets.records import write_csv
from diffopt_widgets.runs.space import MOST_RUNS, vary, with_seeds
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.arguments import checked_path
from diffopt_widgets.whole_file import written_whole

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings.plan import RunPlan
    from diffopt_widgets.store import RunStore

MOST_OBSERVED = 10
"""Most observations on runs that are printed."""

EXAMPLES = """\
examples:
  diffopt run PRODIGY --task swiss_roll --steps 100
  diffopt run PRODIGY --set d_coef=0.5,1.0,1.2 --schedule COSINE
  diffopt run ADAFACTOR --preset adaptive --set clip_threshold=0.5
  diffopt run ADAMW --lr 1e-4,1e-3,1e-2 --seed 0,1
  diffopt run ADAMW,PRODIGY,LION --schedule COSINE --seeds 5

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
        description="Train, print how each run ended, and write a figure (an HTML file that opens offline) and the "
        "values of every step (a CSV file); for several runs also a report to paste elsewhere (a Markdown file).",
        epilog=EXAMPLES,
    )
    add_flags(parser)
    parser.set_defaults(command=run, hint=TOGETHER)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what the commands that train several runs share."""
    parser.add_argument(
        "named",
        nargs="*",
        metavar="KEY",
        help="Which optimizer, or several, which are compared; `diffopt options` lists them.",
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
        "--seeds",
        metavar="NUMBER",
        help="Train each combination with so many seeds, from --seed on, and tell whether differences are more than luck. "
        "(default: 1)",
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="FILE",
        help="Keep the runs in this store as they go, such as runs.sqlite; dw.RunStore opens it. (default: none)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Take up what the store has of the same runs: those that are done are not repeated, stopped ones go on.",
    )
    parser.add_argument("--yes", action="store_true", help=f"Train more than {MOST_RUNS:,} runs without asking.")


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
    from diffopt_widgets.execution.sweeps import check_count, sweep

    base, over = read_plan(
        named_optimizer(arguments),
        {name: getattr(arguments, name) for name in ("lr", *FLAGGED)},
        arguments.set,
        arguments.preset,
    )
    seeds = read_seeds(arguments.seeds, over)
    plans = vary(base, over)
    if not arguments.yes:
        check_count(with_seeds(plans, seeds), MOST_RUNS, "Write --yes to train them, or fewer values.")

    def train(store: RunStore | None) -> list[Run]:
        options = base.options()
        return sweep(
            base.settings, over, seeds=seeds, store=store, resume=arguments.resume, most=sys.maxsize, **options
        )

    return train_and_write(arguments, notes(base, plans, over, arguments), train)


def train_and_write(
    arguments: argparse.Namespace,
    told: Sequence[str],
    train: Callable[[RunStore | None], list[Run]],
    *,
    some_may_fail: bool = False,
) -> int:
    """Train, print how each run ended, and write a figure, a table and a report; returns the exit status.

    Args:
        arguments: with the flags of `add_flags`.
        told: notes to tell before.
        train: trains, saves the runs in the store if there is one, and returns them.
        some_may_fail: whether the status is 1 only where all of them failed, as a search may try values that diverge.

    Raises:
        SettingsError: something that was typed cannot be used.
    """
    from diffopt_widgets.cli.terminal import console, runs_table
    from diffopt_widgets.drawing.figures import compare, write_html
    from diffopt_widgets.execution.interrupt import interrupt_held_back
    from diffopt_widgets.execution.outcome import RunFailed
    from diffopt_widgets.execution.progress import HarmlessStream
    from diffopt_widgets.execution.report import report
    from diffopt_widgets.training.environment import WarmupNotOver

    if arguments.resume and arguments.store is None:
        problem = "runs are taken up from a store, and none is named"
        raise SettingsError((Fault("--resume", None, problem, "", "Write --store runs.sqlite too."),))
    folder = writable_folder(arguments.out, "--out")  # before hours of training are lost on it
    store = _opened(arguments.store)
    for note in told:
        tell(f"note: {note}")
    # The files are written first, and whole. What is warned of is told here.
    with _signals_as_ctrl_c(), interrupt_held_back() as interrupted, without_warnings(RunFailed, WarmupNotOver):
        runs = train(store)
        cut_short = some_may_fail and interrupted()  # a search, perhaps between two of its batches
        tasks = "-".join(dict.fromkeys(run.plan.task for run in runs))
        keys = dict.fromkeys(run.settings.optimizer.lower().replace(":", ".") for run in runs)
        stem = f"{'-'.join(keys) if len(keys) < 4 else 'optimizers'}-{tasks}"
        table, page, *text = _claimed_paths(folder, stem, (".csv", ".html", *([".md"] if len(runs) > 1 else [])))
        writers: dict[Path, Callable[[Path], object]] = {
            table: lambda part: _write_table(runs, part),
            page: lambda part: write_html(compare(runs), part),
        }
        writers |= {
            path: lambda part: part.write_text(report(runs).markdown(), encoding="utf-8", newline="\n") for path in text
        }
        problems = [problem for path, write in writers.items() if (problem := _write(path, write))]
    out = HarmlessStream(sys.stdout)
    console(cast("IO[str]", out)).print(runs_table(runs))
    *others, last = (str(path) for path in (*text, page, table))
    wrote = "" if problems else f"wrote {', '.join(others)} and {last}"
    if unsaid := out.problem or say(wrote):
        discard_output()
        if not isinstance(unsaid, BrokenPipeError):
            tell(f"the results cannot be printed ({unsaid}); {wrote}")
    for problem in problems:
        tell(problem)
    return max(
        _tell_ends(runs, arguments.store, some_may_fail=some_may_fail, cut_short=cut_short), 1 if problems else 0
    )


def _tell_ends(runs: Sequence[Run], store: Path | None, *, some_may_fail: bool, cut_short: bool) -> int:
    """Tell how runs ended that are not simply done; return the exit status that follows."""
    from diffopt_widgets.execution.observations import sentences
    from diffopt_widgets.execution.outcome import risen
    from diffopt_widgets.execution.search import is_pruned

    going = [run for run in runs if not is_pruned(run)]
    for run in going:
        if run.status != "done":
            tell(f"{run.name}: {run.message}")
        elif worse := risen(run):
            tell(f"note: {run.name}: {worse}")
    if pruned := len(runs) - len(going):
        tell(f"note: {pruned} of {len(runs)} runs were ended early, as their search expected nothing of them")
    seen = sentences([run for run in going if run.ended])
    for one in seen[:MOST_OBSERVED]:
        tell(f"note: {one}")
    if len(seen) > MOST_OBSERVED:
        tell(f"note: and {len(seen) - MOST_OBSERVED} more observations")
    if cut_short or any(run.status == "stopped" for run in going):
        tell(_how_to_go_on(store))
        return STOPPED
    failed = [run.status == "failed" for run in runs]
    return int(all(failed) if some_may_fail else any(failed))


def notes(base: RunPlan, plans: Sequence[RunPlan], varied: Iterable[str], arguments: argparse.Namespace) -> list[str]:
    """Say as what names were taken, and which values are probably not meant.

    Args:
        base: the plan that the others differ from.
        plans: of the runs.
        varied: names of what is varied in them.
        arguments: with the flags of `add_flags`.
    """
    from diffopt_widgets.training.environment import broken_rules

    told = [*names_taken(base.settings, arguments.set), *map(twin_words, listed_names([named_optimizer(arguments)]))]
    for name in varied:
        without = dict.fromkeys(plan.settings.optimizer for plan in plans if name not in plan.flat())
        told += [f"{', '.join(without)} has no option {name} and runs without it"] if without else []
    broken = (rule for plan in plans for rule in broken_rules(plan))
    told += [rule.message for rule in broken if rule.severity == "warning"]
    return list(dict.fromkeys(note for note in told if note))


def _write_table(runs: Sequence[Run], path: Path) -> None:
    rows = [((run.name, *run.facts.values()), run.history) for run in runs]
    write_csv(path, rows, ("run", *runs[0].facts))


def _how_to_go_on(store: Path | None) -> str:
    """Say how a stopped run is continued."""
    if store is None:
        return "note: with --store runs.sqlite, stopped runs can go on later"
    return "note: the same command with --resume goes on"


@contextlib.contextmanager
def without_warnings(*kinds: type[Warning]) -> Iterator[None]:
    """Leave out warnings of these kinds."""
    with warnings.catch_warnings():
        for kind in kinds:
            warnings.simplefilter("ignore", kind)
        yield


@contextlib.contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """Have SIGTERM and SIGHUP stop the training as Ctrl-C does, unless they are ignored, as after `nohup`."""

    def stop(_: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    in_main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    replaced = [number for number in numbers if in_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _write(path: Path, write: Callable[[Path], object]) -> str:
    """Write a file whole or not at all; return what went wrong, with its path."""
    try:
        with written_whole(path) as part:
            write(part)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # its name was claimed
        return f"{path} was not written: {error.strerror or error}"
    return ""


def named_optimizer(arguments: argparse.Namespace) -> str:
    """Return the optimizer that is named first or by its flag.

    Raises:
        SettingsError: none is named, or two are.
    """
    named = [text for text in (",".join(arguments.named), arguments.optimizer) if text]
    if len(named) == 1:
        return named[0]
    problem = f"it is given twice; to compare, write {shorten(','.join(named))}" if named else "none is named"
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
        if path is None:
            return None
        store = RunStore(checked_path("--store", path))
        store.check_writable()
    except StoreError as error:
        fault = Fault("--store", str(path), str(error), "", "Nothing was done.")
        raise SettingsError((fault,)) from None
    return store


def _claimed_paths(folder: Path, stem: str, suffixes: Sequence[str]) -> list[Path]:
    """Make the files, still empty: one name, numbered where earlier runs or others at this moment have it.

    Raises:
        OSError: they cannot be made.
    """
    for number in itertools.count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        claimed: list[Path] = []
        try:
            for suffix in suffixes:
                (folder / f"{name}{suffix}").touch(exist_ok=False)
                claimed.append(folder / f"{name}{suffix}")
        except OSError as error:
            for path in claimed:
                path.unlink()
            if isinstance(error, FileExistsError):
                continue
            raise
        break
    return claimed


def read_seeds(text: str | None, over: Collection[str]) -> int:
    """Read the number of seeds.

    Raises:
        SettingsError: it is none, or the seeds are named too.
    """
    if text is None:
        return 1
    number = number_or_none(text)
    if not isinstance(number, int | float) or not float(number).is_integer() or not 1 <= number <= 10_000:
        raise SettingsError((Fault("--seeds", text, "it is no number of seeds", "a whole number, from 1 to 10,000"),))
    if "seed" in over:
        problem = "the seeds are also named one by one, by --seed"
        raise SettingsError((Fault("--seeds", text, problem, "", "Leave one of the two out."),))
    return int(number)
