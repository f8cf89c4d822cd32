"""The command `diffopt memory`: how much state an optimizer will keep."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.catalogue.precision import PRECISIONS
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.cli.arguments import TOGETHER, Commands, read_plan
from diffopt_widgets.cli.kept import FRESH_HELP, Kept
from diffopt_widgets.cli.waiting import waiting
from diffopt_widgets.settings import Fault, Settings, SettingsError
from diffopt_widgets.state_size.models import LAYERS, MODELS, Choice
from diffopt_widgets.state_size.words import depends_on_names


def add_command(commands: Commands) -> None:
    """Add the command to the others."""
    memory = commands.add_parser(
        "memory",
        help="say how much state an optimizer will keep, before any run",
        description="Say how many bytes of state an optimizer will keep for a model, or compare all of them. Nothing is "
        "allocated and no GPU is needed. Text encoders are not counted; gradients and weights come on top.",
    )
    default = Choice()
    memory.add_argument(
        "optimizer", nargs="*", metavar="KEY", help="Optimizers, such as PRODIGY. (default: compare all)"
    )
    memory.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="An option of the optimizer; several values with commas between them are compared.",
    )
    memory.add_argument(
        "--model", choices=MODELS, default=default.model, help="Which model is trained. (default: %(default)s)"
    )
    how = memory.add_mutually_exclusive_group()
    how.add_argument(
        "--lora", type=int, default=default.rank, metavar="RANK", help="Rank of the LoRA. (default: %(default)s)"
    )
    how.add_argument("--full", action="store_true", help="A full fine-tune instead of a LoRA.")
    memory.add_argument(
        "--layers", choices=LAYERS, default=default.layers, help="Where the LoRA has factors. (default: %(default)s)"
    )
    memory.add_argument(
        "--dtype",
        choices=tuple(PRECISIONS),
        default=default.dtype,
        help="Precision of the weights that are trained. (default: %(default)s)",
    )
    memory.add_argument("--fresh", action="store_true", help=FRESH_HELP)
    memory.set_defaults(command=run, hint=TOGETHER)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; returns the exit status: 1 when the optimizer that is named cannot be counted here.

    Raises:
        SettingsError: something that was typed cannot be used.
    """
    lora = None if arguments.full else arguments.lora
    choice = Choice(arguments.model, lora, arguments.layers, arguments.dtype)
    named = _named_settings(",".join(arguments.optimizer), arguments.set)
    kept = Kept(fresh=arguments.fresh)
    with waiting(f"Counting the state for {choice.words()}", len(named)) as begins:
        sizes = {name: _size(choice, settings, kept, begins, name) for name, settings in named.items()}

    from diffopt_widgets.cli.terminal import console, state_table

    console().print(
        state_table(
            choice, sizes, [name for name, settings in named.items() if depends_on_names(settings)], kept.words()
        )
    )
    return 1 if arguments.optimizer and any(isinstance(size, str) for size in sizes.values()) else 0


def _size(choice: Choice, settings: Settings, kept: Kept, begins: Callable[[str], None], name: str) -> int | str:
    """Count the state of an optimizer, or say why it cannot be counted."""
    begins(name)
    question = ("memory", settings.to_json(), repr(choice))
    packages = (settings.spec.package,)
    catalogued = settings.spec.catalogued  # another class may change under the same name
    known = kept.recall(question, packages) if catalogued else None
    if isinstance(known, int):
        return known

    from diffopt_widgets.optimizers.factory import MissingBackend
    from diffopt_widgets.state_size.count import memory

    try:
        size = memory(settings, choice.model, lora=choice.rank, layers=choice.layers, dtype=choice.dtype)
    except MissingBackend as error:
        return str(error)
    if catalogued:
        kept.keep(question, packages, size)
    return size


def _named_settings(optimizer: str, assignments: Sequence[str]) -> dict[str, Settings]:
    """Return the settings to count, by their name in the table."""
    if not optimizer:
        if assignments:
            raise SettingsError((Fault("--set", None, "no optimizer is named whose option that is", "", "Name it."),))
        return {key: Settings(key) for key in list_optimizers()}
    base, over = read_plan(optimizer, {}, assignments)
    names = list(over)
    combinations = itertools.product(*over.values())
    variants = [_with(base.settings, dict(zip(names, values, strict=True))) for values in combinations]
    return {
        " · ".join(
            [run.optimizer, *(f"{name} {format_value(run.values()[name])}" for name in names if name != "optimizer")]
        ): run
        for run in variants
    }


def _with(settings: Settings, changes: dict[str, Any]) -> Settings:  # Any: values of options, of whatever kind
    return settings.replace(**changes)
