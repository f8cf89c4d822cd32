"""The options of a run stand once: whatever takes, shows or keeps them lists exactly those of `RunOptions`."""

import argparse
import inspect
import pathlib
import subprocess
import sys
from dataclasses import fields, replace

import pytest

import diffopt_widgets as dw
from diffopt_widgets.catalogue import run_options
from diffopt_widgets.catalogue.introspect.signatures import RESERVED
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, RunKeywords, RunOptions, RunValues
from diffopt_widgets.cli.run import add_command
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.store.own_runs import about_run
from diffopt_widgets.widgets.bench.run_bar import UNSHOWN
from diffopt_widgets.widgets.tables.differences import compare_settings

ALL = {option.name: option.type for option in fields(RunOptions)}
POSITIONAL = {"task", "steps"}


def check_lists(where, listed):
    missing, strange = ALL.keys() - set(listed), set(listed) - ALL.keys()
    assert not missing, f"{where} lacks {', '.join(sorted(missing))}"
    assert not strange, f"{where} has {', '.join(sorted(strange))}, which RunOptions has not"


def flags():
    commands = argparse.ArgumentParser().add_subparsers()
    add_command(commands)
    parser = commands.choices["run"]
    return {action.dest for action in parser._actions} & (ALL.keys() | RESERVED)


def test_type_checkers_see_every_option_with_its_type():
    keywords = {name: hint.__forward_arg__ for name, hint in RunKeywords.__annotations__.items()}
    check_lists("RunKeywords", keywords.keys() | POSITIONAL)
    assert {**ALL, **keywords} == ALL
    assert {name: hint.__forward_arg__ for name, hint in RunValues.__annotations__.items()} == ALL


@pytest.mark.parametrize("function", [dw.train, dw.stream, dw.sweep, dw.RunPlan], ids=lambda it: it.__name__)
def test_signatures_and_docstrings_list_every_option(function):
    signature = inspect.signature(function)
    own = {"settings", "over", "executor", "progress", "store", "seeds", "search", "trials", "resume", "most"}
    own |= {"prune", "study_storage", "stacked"}
    check_lists(f"the signature of {function.__name__}", signature.parameters.keys() - own)
    assert [name for name in signature.parameters if name in ALL] == list(ALL), "they stand in one order everywhere"
    for option in fields(RunOptions):
        assert signature.parameters[option.name].default == option.default
        task = (
            option.name == "task" and function is not dw.RunPlan
        )  # there a key only; elsewhere a task of one's own too
        assert signature.parameters[option.name].annotation == ("str | Task" if task else option.type)
        assert f"\n        {option.name}: " in "\n" + inspect.getdoc(function).replace("\n", "\n    ")
    doc = " ".join(function.__doc__.split())
    for use in RUN_OPTIONS.values():
        assert use.option.help.replace("empty", "None") in doc
        assert all(repr(choice) in doc for choice in use.option.choices)
    assert "options:" not in doc


def test_a_wrong_name_is_refused_at_the_call_with_the_one_that_was_meant():
    settings = dw.Settings("ADAM")
    for call in (dw.train, dw.stream, lambda settings, **more: dw.sweep(settings, {}, **more)):
        with pytest.raises(TypeError, match="no argument 'acumulation'; did you mean accumulation"):
            call(settings, acumulation=2)
    with pytest.raises(TypeError, match="there are steps, batch_size"):
        dw.train(settings, colour="red")


def test_the_command_line_has_a_flag_for_every_option():
    check_lists("diffopt run", flags() & ALL.keys())


def test_the_run_bar_has_a_field_for_every_option_that_it_shows():
    bar = dw.RunBar()
    check_lists("the run bar", {"task", *bar.fields, *UNSHOWN})
    assert not UNSHOWN & bar.fields.keys()
    check_lists("what the run bar says", bar.values.keys() | UNSHOWN)
    for name, field in bar.fields.items():
        assert (field.description, field.tooltip) == (RUN_OPTIONS[name].option.title, RUN_OPTIONS[name].option.help)
    start = RunOptions(steps=bar.values["steps"])  # the task's own
    assert bar.plan(dw.Settings("ADAM")) == RunPlan(dw.Settings("ADAM"), **vars(start))


def test_the_form_the_store_the_plan_and_the_table_of_differences_know_every_option():
    plan = RunPlan(dw.Settings("ADAM"))
    check_lists("the form", vars(dw.Form("ADAM").run))
    check_lists("the store", about_run(Run(plan))["plan"].keys() - {"settings"})
    check_lists("the plan", plan.options())
    assert plan.options() == {option.name: option.default for option in fields(RunOptions)}
    lines = {line.name: line.title for line in compare_settings([plan])}
    assert {name: lines.get(name) for name in RUN_OPTIONS} == {n: use.option.title for n, use in RUN_OPTIONS.items()}
    check_lists("the names that an optimizer's option cannot have", RESERVED & ALL.keys())


@pytest.mark.slow
def test_every_option_can_be_given_by_every_way_in():
    given = {"batch_size": 8, "accumulation": 2, "seed": 3, "device": "cpu", "dtype": "bfloat16", "grad_norm": True}
    check_lists("this test", given.keys() | POSITIONAL)
    settings = dw.Settings("ADAM")
    plan = RunPlan(settings, "swiss_roll", 2, **given)
    assert dw.train(settings, "swiss_roll", 2, progress=False, **given).plan == plan
    (run,) = dw.sweep(settings, {"lr": [settings.lr]}, "swiss_roll", 2, progress=False, **given)
    assert (run.plan, run.status) == (plan, "done")
    assert "grad_norm" in run.history.names()
    assert [record.grad_norm is not None for record in dw.stream(settings, "swiss_roll", 2, **given)] == [True, True]


MADE_UP = """
import dataclasses, inspect, pathlib, sys, types
from diffopt_widgets import catalogue

name, path = "diffopt_widgets.catalogue.run_options", pathlib.Path(sys.argv[1])
text = path.read_text(encoding="utf-8")
for line, more in (
    (
        "    grad_norm: bool = _option(",
        '    clip: float | None = _option(None, "Clip", "float", "Cuts.", nullable=True)\\n'
        '    mirror: bool = _option(False, "Mirror", "bool", "Flips.")\\n'
        '    order: str | None = _option(None, "Order", "choice", "Sorts.", choices=("up", "down"), nullable=True)\\n',
    ),
    ("    grad_norm: bool\\n", "    clip: float | None\\n    mirror: bool\\n    order: str | None\\n"),
):
    assert text.count(line) == 1
    text = text.replace(line, more + line)
module = sys.modules[name] = types.ModuleType(name)
exec(compile(text, str(path), "exec"), module.__dict__)

import argparse
import diffopt_widgets as dw
from diffopt_widgets.catalogue.introspect.signatures import RESERVED
from diffopt_widgets.cli.arguments import read_plan
from diffopt_widgets.cli.run import add_command
from diffopt_widgets.runs.run import Run
from diffopt_widgets.store.own_runs import about_run
from diffopt_widgets.widgets.tables.differences import compare_settings

settings = dw.Settings("ADAM")
for function in (dw.train, dw.stream, dw.sweep):
    assert inspect.signature(function).parameters["clip"].default is None, function
    assert "clip: Cuts." in function.__doc__, function
run = dw.train(settings, "swiss_roll", 1, clip=0.5, progress=False)
assert (run.status, run.plan.clip) == ("done", 0.5), run.message
assert [r.plan.clip for r in dw.sweep(settings, {"clip": [1, 2]}, "swiss_roll", 1, progress=False)] == [1.0, 2.0]
assert len(list(dw.stream(settings, "swiss_roll", 1, clip=0.5))) == 1
commands = argparse.ArgumentParser()
add_command(commands.add_subparsers())
assert commands.parse_args(["run", "--optimizer", "ADAM", "--clip", "2"]).clip == "2"
assert read_plan("ADAM", {"mirror": "true,false", "order": "up"})[1] == {"mirror": [True, False]}
assert read_plan("ADAM", {"clip": "1,2"})[1] == {"clip": [1.0, 2.0]}
bar = dw.RunBar()
bar.fields["clip"].value = "0.25"
assert bar.plan(settings).clip == 0.25
assert (bar.plan(settings).mirror, bar.plan(settings).order) == (False, None)
bar.fields["mirror"].value, bar.fields["order"].value = "true", "down"
assert (bar.plan(settings).mirror, bar.plan(settings).order) == (True, "down")
bar.fields["clip"].value = "much"
assert bar.problem.startswith("Clip: "), bar.problem
form = dw.Form(settings)
form.run = dataclasses.replace(form.run, clip=1.0)
assert form.draft.run.clip == 1.0
assert about_run(run)["plan"]["clip"] == 0.5
store = dw.RunStore(sys.argv[2])
dw.train(settings, "swiss_roll", 1, clip=0.5, progress=False, store=store)
assert store.load(store.list()[0].id).plan.clip == 0.5
assert ("Clip", ("0.5",)) in [(line.title, line.values) for line in compare_settings([run.plan])]
assert "clip" in RESERVED
"""


@pytest.mark.slow
def test_an_option_that_is_added_where_they_stand_is_everywhere(tmp_path):
    command = [sys.executable, "-c", MADE_UP, run_options.__file__, str(tmp_path / "runs.sqlite")]
    root = pathlib.Path(dw.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr


def test_what_is_wrong_with_a_run_is_told_at_once():
    with pytest.raises(dw.SettingsError) as told:
        replace(RunPlan(dw.Settings("ADAM")), steps=0, device="tpu", grad_norm=3)
    assert [fault.option for fault in told.value.faults] == ["steps", "device", "grad_norm"]
