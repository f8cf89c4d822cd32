"""Command-line arguments as a plan and the values to compare; all faults are reported at once."""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.schema import Use
from diffopt_widgets.catalogue.values import Value, ValueProblem, number_or_none, shorten
from diffopt_widgets.runs.space import vary
from diffopt_widgets.runs.typed_values import COMMA, decimal_comma
from diffopt_widgets.settings import Fault, Settings, SettingsError, check_values, preset
from diffopt_widgets.settings.arguments import checked_path
from diffopt_widgets.settings.own_names import in_brackets, read_several, spread, taken_words, tuple_places
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.tasks import list_tasks

TOGETHER = "; name the optimizers next to each other, such as ADAMW PRODIGY, and then the rest"
"""Hint about optimizers that are named apart."""
STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""

_TASK = replace(TASK, option=replace(TASK.option, choices=list_tasks()))

FLAGGED: Mapping[str, Use] = {**TRAINING, _TASK.name: _TASK, **RUN_OPTIONS}
"""The options that have a flag of their own beside `--lr`; an optimizer's own are given as NAME=VALUE."""

_ONLY_FLAGS = ("optimizer", "preset", "seeds", "out", "store")
"""What has a flag and is no option, so that NAME=VALUE cannot mean it."""


class _Once(argparse.Action):
    """Keep the text of a flag, and refuse a second one: neither should win in silence."""

    def __call__(
        self, _: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given = namespace.__dict__.setdefault("_given", set())
        if option is not None and self.dest in given:
            earlier = getattr(namespace, self.dest)
            advice = f"; to compare several values put commas between them: {earlier},{values}" if self.compared else ""
            raise argparse.ArgumentError(self, f"it is given twice, as {earlier} and as {values}{advice}")
        given.add(self.dest)
        setattr(namespace, self.dest, self.const if values is None else values)

    @property
    def compared(self) -> bool:
        """True where commas compare several values."""
        return self.dest in {"lr", "optimizer", *FLAGGED} and self.type is None


NARROW = 58
"""Columns up to which each help text stands below its flag."""


class _Help(argparse.HelpFormatter):
    """Help that fits its terminal: words stay whole, indented lines (examples) stay as they are."""

    def __init__(self, prog: str, **options: Any) -> None:  # Any: as its base takes them
        width = min(shutil.get_terminal_size().columns, 100) - 2
        super().__init__(prog, max_help_position=24 if width > NARROW else 6, width=width, **options)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for kept, group in itertools.groupby(text.splitlines(), lambda line: not line or line[0].isspace()):
            together = list(group)
            lines += together if kept else _wrapped(" ".join(together), width)
        return "\n".join(indent + line for line in lines)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(" ".join(text.split()), width)

    def _format_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None) -> str:
        text = super()._format_usage(usage, actions, groups, prefix)
        if usage is None and self._width > NARROW:
            return text
        # Written by hand, and so not wrapped, or wrapped in what the name leaves free. What stands in brackets stays together.
        return "\n".join(_wrapped(" ".join(text.split()), self._width, r"\[[^]]*\]", indent=4)) + "\n\n"


def _wrapped(text: str, width: int, pattern: str = "`[^`]*`", indent: int = 0) -> list[str]:
    """Wrap a text; what matches the pattern, by default a command in backticks, stays in one line."""
    whole = re.sub(pattern, lambda match: match[0].replace(" ", "\0"), text)
    space = " " * indent
    lines = textwrap.wrap(whole, width, subsequent_indent=space, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


class Parser(argparse.ArgumentParser):
    """Parser whose flags can be given once, and whose errors say how to get help instead of listing every flag."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # Any: as argparse takes them
        super().__init__(*arguments, **{"formatter_class": _Help, **options})
        self.register("action", None, _Once)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # Any: as argparse has them
        """Parse arguments; `--` is no value of a flag, although argparse takes it for one in `--lr=--`."""
        given = sys.argv[1:] if args is None else list(args)
        for argument in given:
            if argument.startswith("--") and argument.endswith("=--"):
                self.error(f"argument {argument.removesuffix('=--')}: a value is wanted after the =")
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Print an error in one line, and end with the status 2."""
        message = re.sub(r"\S{200,}", lambda long: shorten(long[0]), message)
        self.exit(2, f"{self.prog}: error: {message}\n`{self.prog} --help` explains what can be written.\n")


def listed_names(words: Sequence[str]) -> list[str]:
    """Return the optimizers that were named, one after the other or with commas between them.

    >>> listed_names(["ADAMW", "LION,PRODIGY"])
    ['ADAMW', 'LION', 'PRODIGY']
    """
    return [name.strip() for word in words for name in word.split(",") if name.strip()]


class Commands(Protocol):
    """The commands of a parser, to which each file of this folder adds its own; argparse's own class of it is private."""

    def add_parser(self, name: str, **texts: Any) -> argparse.ArgumentParser:  # Any: as argparse takes them
        """Add a command."""


def read_plan(
    optimizer: str, flags: Mapping[str, str | None], assignments: Sequence[str] = (), preset_key: str | None = None
) -> tuple[RunPlan, dict[str, list[Value]]]:
    """Read what was typed into a plan and the values to vary.

    Args:
        optimizer: its key, or another name that `Settings` takes; or several with commas between them, which are compared.
        flags: texts by name; None where nothing was given. A text may hold several values with commas between them; for an
            option that is a text itself they belong to it.
        assignments: `NAME=VALUE` or `NAME=VALUE,VALUE`, for any option.
        preset_key: the preset to start from; the library's defaults when None.

    Returns:
        The plan of the first run, and the values by name of the options that have several.

    Raises:
        SettingsError: with one `Fault` for each thing that is wrong, wherever it stands.

    >>> plan, over = read_plan("prodigy", {"steps": "20", "seed": None}, ["d_coef=0.5,1"])
    >>> plan.steps, plan.settings.options["d_coef"], over
    (20, 0.5, {'d_coef': [0.5, 1.0]})
    """
    faults: list[Fault] = []
    optimizers = _optimizers(optimizer, preset_key, faults)
    start = _start(optimizers[0], preset_key, faults)
    texts = _merged(flags, assignments, faults)
    if start is not None:
        texts = _renamed(start, texts, faults)
    others = [_start(name, None, []) for name in optimizers[1:]]  # an option may be one of theirs alone
    values = {}
    for name, text in texts.items():
        owner = next((one for one in (start, *others) if one and _use(one, name) is not None), start)
        values[name] = _read(owner, name, text, faults)
    if start is None or faults:
        raise SettingsError(tuple(faults))
    # What was written holds for each of the optimizers, although a rate of its own may mean something else there.
    over: dict[str, list[Value]] = {"optimizer": list(optimizers), **values} if len(optimizers) > 1 else values
    plans = vary(RunPlan(start), over)
    shared = {TASK.name, *RUN_OPTIONS, *TRAINING} if len(optimizers) > 1 else set(values)
    return plans[0], {name: several for name, several in over.items() if len(several) > 1 or name not in shared}


def _optimizers(text: str, preset_key: str | None, faults: list[Fault]) -> list[str]:
    """Return the optimizers in a text with commas between them; a wrong one becomes a fault, unless it is the first."""
    names = [name.strip() for name in text.split(",") if name.strip()] or [text]
    seen: dict[str, str] = {}
    for name in names if len(names) > 1 else ():
        try:
            key = repr(Settings(name))
        except SettingsError as error:
            if name != names[0]:
                faults.extend(error.faults)
            continue
        if key in seen:
            faults.append(
                Fault("optimizer", text, f"{seen[key]} and {name} are the same optimizer", "", "Leave one out.")
            )
        seen[key] = name
    if len(names) > 1 and preset_key is not None:
        todo = "Leave it out, or run one optimizer at a time."
        faults.append(Fault("--preset", preset_key, "a preset belongs to one optimizer", "", todo))
    return names


def _start(key: str, preset_key: str | None, faults: list[Fault]) -> Settings | None:
    """Settings that the values are put into; None when there is no such optimizer."""
    start = None
    try:
        start = Settings(key)
        if preset_key is not None:
            start = preset(key, preset_key)
    except SettingsError as error:
        faults.extend(error.faults)
    return start


def _merged(flags: Mapping[str, str | None], assignments: Sequence[str], faults: list[Fault]) -> dict[str, str]:
    """Collect the texts by name. Two texts for one name are a fault: neither should win in silence."""
    texts = {name: text for name, text in flags.items() if text is not None}
    for item in assignments:
        name, equals, text = (part.strip() for part in item.partition("="))
        if not equals:
            faults.append(Fault("--set", item, "there is no = in it", "NAME=VALUE, such as d_coef=0.5,1.0"))
        elif name in _ONLY_FLAGS:
            faults.append(Fault("--set", item, f"{name} is not an option", "", f"Write --{name} {text}."))
        elif name in texts:
            todo = f"Give it once; commas compare several values: {texts[name]},{text}."
            faults.append(Fault(name, text, f"it is also given as {texts[name]}", "", todo))
        else:
            texts[name] = text
    return texts


def _renamed(start: Settings, texts: Mapping[str, str], faults: list[Fault]) -> dict[str, str]:
    """Return the texts by the names of the options; a name of the optimizer's package may stand for several of them."""
    own: dict[str, str] = {}
    for name, text in texts.items():
        known = _use(start, name) is not None
        places = tuple_places(start.spec, name) if not known or in_brackets(text) else ()
        parts = read_several(text) if len(places) > 1 else None
        taken: dict[str, object] = {name: text}
        try:
            if parts is not None or len(places) > 1:
                taken = spread(start.spec, name, parts or text)
            elif places and not known:
                taken = {places[0]: text}
                if places[0] == "warmup":
                    for word in text.split(","):
                        spread(start.spec, name, number_or_none(word.strip()))
        except ValueProblem as problem:
            faults.append(Fault(name, text, str(problem), ""))
            continue
        for option, part in taken.items():
            if option in own:
                faults.append(Fault(name, text, f"{option} is given by another name too", "", "Give it once."))
            own[option] = str(part)
    return own


def names_taken(settings: Settings, assignments: Sequence[str]) -> list[str]:
    """Describe the names in assignments that were taken as options of another name: "betas is taken as beta1 and beta2"."""
    names = [item.partition("=")[0].strip() for item in assignments]
    return [
        taken_words(settings.spec, name)
        for name in dict.fromkeys(names)
        if _use(settings, name) is None and tuple_places(settings.spec, name)
    ]


def _read(start: Settings | None, name: str, text: str, faults: list[Fault]) -> list[Value]:
    """Read the values of a text; wrong ones are left out and become faults."""
    use = _use(start, name)
    if use is None:
        if start is not None:  # without an optimizer nobody knows which options there are
            faults.extend(check_values(start.spec, {name: text})[1])
        return []
    if use.option.kind in {"int", "float"} and (todo := decimal_comma(text, whole=use.option.kind == "int")):
        faults.append(Fault(name, text, COMMA, "", todo))
        return []
    values: list[Value] = []
    for part in [text] if use.option.kind == "text" else text.split(","):
        try:
            value = use.check(use.option.parse(part))
        except ValueProblem as problem:
            faults.append(Fault.of(name, part.strip(), problem, use.allowed()))
            continue
        if value in values:
            twice = f"{part.strip()} stands there twice, and both would be the same run"
            faults.append(Fault(name, text, twice, "", "Leave one out."))
        values.append(value)
    return values


def _use(start: Settings | None, name: str) -> Use | None:
    if name in FLAGGED or start is None:
        return FLAGGED.get(name)
    return next((use for use in (start.spec.lr, *start.spec.uses) if use.name == name), None)


def writable_folder(folder: Path, flag: str) -> Path:
    """Return the folder, created where it is missing.

    Raises:
        SettingsError: it cannot be made, or nothing can be written into it.
    """
    checked_path(flag, folder, "Name a folder; nothing was done.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        no_folder = isinstance(error, FileExistsError | NotADirectoryError)
        problem = "a file is in its place" if no_folder else error.strerror or str(error)
        todo = "Name another; nothing was done."
        raise SettingsError((Fault(flag, str(folder), problem, "a folder that can be written to", todo),)) from None
