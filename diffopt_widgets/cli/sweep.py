"""The command `diffopt sweep`: try many values, all of them or those that a search chooses."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diffopt_widgets.catalogue.values import number_or_none
from diffopt_widgets.cli.arguments import FLAGGED, TOGETHER, Commands, read_plan
from diffopt_widgets.cli.run import add_flags, named_optimizer, notes, read_seeds, train_and_write, without_warnings
from diffopt_widgets.cli.speaking import tell
from diffopt_widgets.execution.search import MOST_TRIALS
from diffopt_widgets.runs.space import MOST_RUNS, Range, axes_by_optimizer, draw, plan_at, vary, with_seeds
from diffopt_widgets.settings import Fault, SettingsError

if TYPE_CHECKING:
    from diffopt_widgets.execution.stacks import Stacked
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.store import RunStore

EXAMPLES = """\
examples:
  diffopt sweep ADAMW --over lr=1e-4..1e-2
  diffopt sweep ADAMW,PRODIGY --over lr=1e-4..1e-2:log:9 --seeds 3
  diffopt sweep ADAMW --over lr=1e-5..1e-1 --over beta2=0.9..0.999 --search random --trials 20
  diffopt sweep PRODIGY --over d_coef=0.5,1,2 --over weight_decay=0..0.1 --search tpe --trials 40
  diffopt sweep LION --over lr=1e-5..1e-2 --search tpe --trials 40 --prune median --store runs.sqlite

A range is written with two dots between its ends. A grid takes five values of
it, or as many as `:9` says; a search draws from all of it. Learning rates are
spaced by factors, other options by differences; `:log` and `:linear` say so.
tpe, gp and qmc are Optuna's samplers, which learn from the runs before (qmc
spreads its values evenly); they need `pip install "diffopt-widgets[optuna]"`.
With --store the study is kept beside the store, for optuna-dashboard, and the
same command with --resume goes on where it was stopped, also with more trials.
"""

SEARCHES = ("grid", "random", "tpe", "gp", "qmc")

_BETWEEN = re.compile(r"(\s+to\s+|\.\.\.?|…)")
"""What stands between the ends of a range, as in the rows to vary of the bench."""

_EXAMPLE = "Write --over lr=1e-4..1e-2 or --over lr=1e-4,1e-3."


def add_command(commands: Commands) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "sweep",
        help="try many values, all or those that a search chooses",
        description="Train with many values of some options: every combination, or as many as a search chooses. All runs "
        "see the same weights and batches. It prints how each ended, and writes a figure (an HTML file that opens "
        "offline), the values of every step (a CSV file) and a report to paste elsewhere (a Markdown file).",
        epilog=EXAMPLES,
    )
    add_flags(parser)
    parser.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="What to vary: values with commas between them, or a range such as lr=1e-4..1e-2. Give it again for another "
        "option. One that only some of the optimizers have is varied for those.",
    )
    parser.add_argument(
        "--search",
        metavar="NAME",
        default="grid",
        help="How values are chosen. grid trains every combination, random draws them, tpe, gp and qmc have Optuna propose "
        "them to lower the loss on the fixed evaluation set. (default: grid)",
    )
    parser.add_argument("--trials", metavar="NUMBER", help="Number of combinations that a search tries.")
    parser.add_argument(
        "--prune",
        metavar="NAME",
        help="End trials early that promise little, by Optuna: median or hyperband compare losses on the way, wilcoxon "
        "compares seed by seed. (default: none)",
    )
    parser.add_argument(
        "--study-storage",
        metavar="ADDRESS",
        help="Where Optuna keeps its study, such as sqlite:///study.db. (default: beside the store)",
    )
    parser.add_argument(
        "--stacked",
        metavar="WHEN",
        default="no",
        help="Compute gradients of runs that share a task in one pass over their stacked weights: yes, no, or auto, where that is "
        "faster and changes no bit. (default: no)",
    )
    parser.set_defaults(command=run, hint=TOGETHER)


def run(arguments: argparse.Namespace) -> int:
    """Train what the sweep or search asks for, and write what became of it; returns the exit status.

    Raises:
        SettingsError: something that was typed cannot be used.
    """
    from diffopt_widgets.execution.search import Searched, by_optuna, check_search
    from diffopt_widgets.execution.stacks import RoundedDifferently
    from diffopt_widgets.execution.sweeps import check_count, sweep
    from diffopt_widgets.optimizers.factory import MissingBackend

    ranges, listed = _ranges(arguments.over)
    flags = {name: getattr(arguments, name) for name in ("lr", *FLAGGED)}
    _check_once(ranges, {name for name, text in flags.items() if text is not None}, [*arguments.set, *listed])
    base, values = read_plan(named_optimizer(arguments), flags, [*arguments.set, *listed], arguments.preset)
    over: dict[str, Any] = {**values, **ranges}  # Any: an `Axis` by name
    axes = axes_by_optimizer(base, over)
    seeds = read_seeds(arguments.seeds, over)
    if not over and seeds == 1:
        raise SettingsError((Fault("--over", None, "nothing is varied", "", _EXAMPLE),))
    search, trials = arguments.search, _trials(arguments.trials, arguments.search)
    stacked = _stacked(arguments.stacked)
    check_search(search, trials, arguments.prune, arguments.study_storage, None)
    if by_optuna(search) and trials:
        searched = Searched(base, over, search, trials, seeds, arguments.prune, arguments.study_storage)
        expected = searched.expected()
    else:
        expected = with_seeds(draw(base, over, trials, base.seed) if trials else vary(base, over), seeds)
    if not arguments.yes:
        check_count(expected, MOST_RUNS, "Write --yes to train them, or fewer values, or --search random --trials 50.")
    starts = [plan_at(base, {} if key is None else {"optimizer": key}) for key in axes]
    told = notes(base, starts if by_optuna(search) else expected[:MOST_RUNS], over, arguments)

    def train(store: RunStore | None) -> list[Run]:
        with without_warnings(RoundedDifferently):  # with `progress` the sweep prints it
            return sweep(
                base.settings,
                over,
                seeds=seeds,
                search=search,
                trials=trials,
                prune=arguments.prune,
                study_storage=arguments.study_storage,
                stacked=stacked,
                store=store,
                resume=arguments.resume,
                most=sys.maxsize,
                progress=True,
                **base.options(),
            )

    try:
        return train_and_write(arguments, told, train, some_may_fail=search != "grid")
    except MissingBackend as error:
        tell(str(error))
        return 1


def _stacked(text: str) -> Stacked:
    """Read whether gradients are computed together.

    Raises:
        SettingsError: it is none of the words.
    """
    words: dict[str, Stacked] = {"no": False, "yes": True, "auto": "auto"}
    if text not in words:
        raise SettingsError((Fault("--stacked", text, "there is no such way", "yes, no or auto"),))
    return words[text]


def _ranges(items: Sequence[str]) -> tuple[dict[str, Range], list[str]]:
    """Read what is varied: the ranges by name, and the rest as assignments.

    Raises:
        SettingsError: something is no range and no list of values.

    >>> _ranges(["lr=1e-4..1e-2:log:3", "beta1=0.8,0.9"])
    ({'lr': Range(low=0.0001, high=0.01, points=3, log=True)}, ['beta1=0.8,0.9'])
    """
    ranges: dict[str, Range] = {}
    listed: list[str] = []
    faults = []
    for item in items:
        name, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not name or not text:
            faults.append(Fault("--over", item, "an option with its values is wanted", "", _EXAMPLE))
        elif _BETWEEN.search(text) is None:
            listed.append(item)
        elif name in ranges:
            faults.append(Fault("--over", item, f"{name} is given twice", "", "Give it once."))
        else:
            try:
                ranges[name] = _range(text)
            except ValueError as error:
                faults.append(Fault("--over", item, str(error), "", _EXAMPLE))
    if faults:
        raise SettingsError(tuple(faults))
    return ranges, listed


def _range(text: str) -> Range:
    """Read `LOW..HIGH` or `LOW to HIGH`, with `:log` or `:linear` and a number of points behind it.

    Raises:
        ValueError: it is none.
    """
    ends, *words = text.split(":")
    if _BETWEEN.search(ends) is None:
        raise ValueError("the ends of a range come first")
    low, _, high = (number_or_none(end.strip()) for end in _BETWEEN.split(ends, maxsplit=1))
    points, log = 5, None
    for word in (word.strip() for word in words):
        if word in {"log", "linear"} and log is None:
            log = word == "log"
        elif word.isdecimal():
            points = int(word)
        else:
            raise ValueError(f"{word!r} behind a range is not log, linear or a number of points")
    if low is None or high is None:
        raise ValueError("the ends of a range must be numbers")
    try:
        return Range(low, high, points, log)
    except SettingsError as error:
        raise ValueError(error.faults[0].problem.partition(": ")[2]) from None


def _check_once(ranges: dict[str, Range], flags: set[str], assignments: Sequence[str]) -> None:
    """Check that what has a range is given in no other way.

    Raises:
        SettingsError: it is, and neither should win in silence.
    """
    given = flags | {item.partition("=")[0].strip() for item in assignments}
    faults = [
        Fault("--over", None, f"{name} is given in another way too", "", "Give it once.")
        for name in ranges
        if name in given
    ]
    if faults:
        raise SettingsError(tuple(faults))


def _trials(text: str | None, search: str) -> int | None:
    """Read the number of trials.

    Raises:
        SettingsError: it is none, the search needs one, or there is no such search.
    """
    if search not in SEARCHES:
        raise SettingsError((Fault("--search", search, "there is no such search", f"one of {', '.join(SEARCHES)}"),))
    if search == "grid":
        if text is not None:
            todo = "Write --search random or --search tpe, or leave it out."
            raise SettingsError((Fault("--trials", text, "a grid trains every combination", "", todo),))
        return None
    number = None if text is None else number_or_none(text)
    if not isinstance(number, int | float) or not float(number).is_integer() or not 1 <= number <= MOST_TRIALS:
        problem = "a search needs a number of trials" if text is None else "it is no number of trials"
        raise SettingsError(
            (Fault("--trials", text, problem, f"a whole number, from 1 to {MOST_TRIALS:,}", "Write --trials 40."),)
        )
    return int(number)
