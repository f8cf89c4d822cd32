"""Every argument of every command, given a wrong word, is taken or refused by its name: never a traceback, never a long one."""

from __future__ import annotations

import argparse

import pytest

from diffopt_widgets.cli.main import _parser, main

pytestmark = pytest.mark.slow

BASE = {
    "run": ["ADAMW", "--task", "swiss_roll", "--steps", "1"],
    "sweep": ["ADAMW", "--over", "beta1=0.5,0.6", "--task", "swiss_roll", "--steps", "1"],
    "options": ["ADAMW"],
    "memory": ["ADAMW"],
    "probe": [],
    "doctor": [],
}
"""Right arguments; `lab` is left out, since it would start a server."""
WRONG = ["", "nothing", "-1", "nan", "1e400", "a\0b", "x" * 5000, "0,01", "--", "file/inner", "[1]"]


def arguments():
    commands = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    for command, parser in commands.choices.items():
        if command != "lab":
            yield from ((command, action) for action in parser._actions if action.nargs != 0)


ALL = list(arguments())


def words(command, action, wrong):
    if not action.option_strings:
        return [command, *BASE[command][1:], wrong]
    flag, base = action.option_strings[-1], BASE[command]
    if flag in base:
        place = base.index(flag)
        base = [*base[:place], *base[place + 2 :]]
    return [command, *(base or ["TIGER"]), f"{flag}={wrong}"]


def cases():
    for command, action in ALL:
        trains = command == "run" and action.dest in {"optimizer", "store", "out"}  # of these some words are taken
        yield pytest.param(command, action, id=f"{command} {action.dest}", marks=[pytest.mark.slow] * trains)


@pytest.mark.parametrize(("command", "action"), list(cases()))
def test_a_wrong_word_is_taken_or_refused_by_the_name_of_its_argument(command, action, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    named = {"optimizer"} if not action.option_strings else {action.dest, action.dest.replace("_", "-")}
    for wrong in WRONG:
        if not action.option_strings and wrong in {"", "--"}:
            continue  # nothing is named then, which means all of them
        try:
            status = main(words(command, action, wrong))
        except SystemExit as error:
            status = error.code
        told = capsys.readouterr().err
        shown = f"{command} {action.dest} {wrong[:20]!r}: {status}, {told[:300]}"
        assert status in {0, 2}, shown
        if status == 2:
            assert any(name in told for name in named), shown
            assert len(told) < 1500, shown
            assert "Traceback" not in told, shown
