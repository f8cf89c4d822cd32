"""The command `diffopt options`: the list of the optimizers, and each option of one, explained."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from diffopt_widgets.catalogue import families
from diffopt_widgets.catalogue.schema import OptimizerSpec
from diffopt_widgets.cli.arguments import TOGETHER, Commands, listed_names, writable_folder
from diffopt_widgets.settings import Fault, Settings, SettingsError


def add_command(commands: Commands) -> None:
    """Add the command to the others."""
    options = commands.add_parser(
        "options",
        help="list the optimizers, or explain the options of one",
        description="List the optimizers, or explain every option of one: what it does, its default and what it may be.",
    )
    options.add_argument(
        "optimizer",
        nargs="*",
        metavar="KEY",
        help="Optimizers, such as PRODIGY, or any class by its path, such as torch.optim:RAdam. (default: list all)",
    )
    options.add_argument(
        "--markdown",
        type=Path,
        metavar="FOLDER",
        help="Write the reference into a folder instead, a page per optimizer.",
    )
    options.set_defaults(command=run, hint=TOGETHER)


def run(arguments: argparse.Namespace) -> int:
    """Print or write the options; returns the exit status."""
    from diffopt_widgets.cli.terminal import console, optimizer_page, optimizers_page

    if arguments.markdown is not None:
        return _write_reference(arguments)
    entries = [spec_named(name) for name in listed_names(arguments.optimizer)]
    out = console()
    for page in map(optimizer_page, entries) if entries else [optimizers_page(families())]:
        out.print(page)
    return 0


def _write_reference(arguments: argparse.Namespace) -> int:
    from diffopt_widgets.cli.reference import INDEX, reference_page, reference_pages

    entries = [spec_named(name) for name in listed_names(arguments.optimizer)]
    own = {f"{entry.key.replace(':', '.')}.md": reference_page(entry) for entry in entries}
    pages = own or reference_pages()
    folder = writable_folder(arguments.markdown, "--markdown")
    _check_own(folder, pages)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    print(f"wrote {len(pages)} page{'s' * (len(pages) > 1)}; begin with {folder / (INDEX if INDEX in pages else name)}")
    return 0


def _check_own(folder: Path, pages: Mapping[str, str]) -> None:
    """Check that no file of another kind would be replaced: a page that was written before has the same heading.

    Raises:
        SettingsError: such a file is there.
    """
    for name, text in pages.items():
        path = folder / name
        if not path.exists():
            continue
        with path.open(encoding="utf-8", errors="replace") as file:
            if file.readline().rstrip() != text.partition("\n")[0]:
                todo = "Name another folder; nothing was written."
                raise SettingsError((Fault("--markdown", None, f"{path} is something else", "", todo),))


def spec_named(text: str) -> OptimizerSpec:
    """Find an optimizer by its key, or by the path of its class.

    Raises:
        SettingsError: there is no such optimizer.
    """
    return Settings(text).spec
