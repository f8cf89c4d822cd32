"""A task of the user's own: in every way to train, in the bench, in a store and in other processes."""

import asyncio
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import own_tasks
import pytest
import torch
from own_tasks import DRAWN, LINE, Line, build

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import drive, run_to_end, saver_for
from diffopt_widgets.tasks import ParameterGroup, get_task
from diffopt_widgets.training.checkpoint import Checkpoint
from diffopt_widgets.training.loop import Training

ADAMW = dw.Settings("ADAMW", lr=1e-2)
OWN_TASKS = Path(own_tasks.__file__).parent


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """No task of one test is known in another."""
    own = {}
    monkeypatch.setattr("diffopt_widgets.tasks.registry._OWN", own)
    return own


def trained(task, steps=4, **options):
    return dw.train(ADAMW, task, steps, progress=False, **options)


def losses(run):
    return run.history.column("loss").tolist()


# ---------------------------------------------------------------------------------------------------- the registry


def test_a_registered_task_is_known_by_its_key():
    dw.register_task(LINE)
    assert dw.list_tasks() == ("swiss_roll", "digits", "digits_lora", "digits_finetune", "line")
    assert get_task("line") is LINE
    run = trained("line")
    assert (run.status, run.plan.task, run.samples_per_step) == ("done", "line", 16)
    dw.register_task(LINE)  # the same again


@pytest.mark.parametrize("way", [dw.train, lambda *a, **k: dw.sweep(a[0], {"lr": [1e-2]}, *a[1:], **k)[0]])
def test_a_task_can_be_given_itself(way):
    run = way(ADAMW, task=LINE, steps=4, progress=False)
    assert (run.status, run.plan.task, len(run.history)) == ("done", "line", 4)
    assert losses(run) == [record.loss for record in dw.stream(ADAMW, LINE, 4)]
    assert get_task("line") is LINE
    assert run.eval_after != run.eval_before


def test_one_given_takes_the_place_of_an_earlier_one_of_its_key_as_when_a_cell_runs_again():
    again = replace(LINE, batch_size=2)
    trained(LINE)
    assert trained(again).samples_per_step == 2
    with pytest.raises(ValueError, match=r"there is a task 'line' already.*replace=True"):
        dw.register_task(LINE)
    dw.register_task(LINE, replace=True)
    assert get_task("line") is LINE


@pytest.mark.slow
def test_the_benchs_own_keys_are_taken():
    theirs = replace(LINE, key="digits")
    for refused in (lambda: dw.register_task(theirs, replace=True), lambda: trained(theirs)):
        with pytest.raises(ValueError, match=r"task 'digits' of its own; give yours another key"):
            refused()
    assert get_task("digits") is not theirs
    assert trained(get_task("swiss_roll"), 1).plan.task == "swiss_roll"


@pytest.mark.parametrize("key", ["", "my task", "1st", "a,b", "../up", "größe", None])
def test_a_key_with_odd_characters_is_refused(key):
    with pytest.raises(ValueError, match="letters, digits, _ and -.*" + re.escape(repr(key))):
        replace(LINE, key=key)


def test_what_is_no_task_is_named():
    with pytest.raises(TypeError, match=r"takes a dw\.Task, and this is the class Line"):
        dw.register_task(Line)
    with pytest.raises(TypeError, match=r"task is of type function; give a key such as 'digits', or a dw\.Task"):
        trained(build)
    with pytest.raises(TypeError, match=r"build of the task 'line' is a str"):
        replace(LINE, build="build")
    with pytest.raises(ValueError, match="batch_size of the task 'line' is 0"):
        replace(LINE, batch_size=0)
    with pytest.raises(
        KeyError,
        match=r"no task 'mine'; choose one of swiss_roll, digits, digits_lora, digits_finetune\..*dw\.register_task",
    ):
        trained("mine")


# ---------------------------------------------------------------------------------------------------- what build returns


class Bare:
    """Not yet a problem."""


def built(**parts):
    """A task whose problem is that of `Line` with some parts put in, or taken away where they are None."""

    def make(seed, device, batch_size, dtype):
        line, problem = Line(device, batch_size, dtype), Bare()
        for name, part in {"model": line.model, "loss": line.loss, "evaluate": line.evaluate, **parts}.items():
            if part is not None:
                setattr(problem, name, part(line) if name in parts else part)
        return problem

    return replace(LINE, build=make)


@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"loss": None}, r"an object with loss\(step, micro=0\), evaluate\(\).*Bare without loss\(\)"),
        ({"evaluate": None, "model": None}, r"Bare without evaluate\(\) and without model or groups"),
        ({"model": lambda line: [1]}, "model must be a torch.nn.Module, and it is a list"),
        ({"groups": lambda line: [{"params": []}]}, r"tuple of diffopt_widgets\.tasks\.ParameterGroup"),
        ({"model": lambda line: line.model.requires_grad_(requires_grad=False)}, "no parameter that trains"),
        ({"model": lambda line: line.model.double()}, r"none of its parameters is in torch\.float32.*model\.to"),
        ({"model": lambda line: line.model.to("meta")}, "parameters on meta, and the run is on cpu"),
        ({"loss": lambda line: lambda step: 0.5}, "loss must return a tensor with one number.*returned a float"),
        ({"loss": lambda line: lambda step: line.loss(step).detach()}, "without a graph"),
        ({"loss": lambda line: lambda step: line.model(torch.ones(2, 3))}, r"shape \(2, 1\); take its mean"),
        ({"samples": lambda line: lambda: [1, 2]}, r"samples must return diffopt_widgets\.tasks\.Samples.*a list"),
    ],
)
def test_what_is_missing_or_wrong_is_named_with_what_is_allowed(parts, words):
    run = trained(built(**parts), device="cpu")
    assert run.status == "failed"
    assert re.search(r"the task 'line' cannot be trained: .*" + words, run.message), run.message


@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_accumulation_needs_a_loss_that_takes_the_part():
    def of_steps(line):
        def loss(step):
            return line.loss(step)

        return loss

    task = built(loss=of_steps)
    assert trained(task).status == "done"
    run = trained(task, accumulation=2)
    assert "its loss takes no second argument" in run.message
    assert trained(LINE, accumulation=2).status == "done"


def test_a_model_is_one_group_with_the_names_of_its_parameters_and_groups_are_taken_as_they_are():
    trained(LINE)
    (group,) = Training(dw.RunPlan(ADAMW, "line", 1)).groups
    assert (group.name, group.names) == ("model", ("0.weight", "0.bias", "2.weight", "2.bias"))

    def parts(line):
        return tuple(
            ParameterGroup(name, tuple(part.parameters()))
            for name, part in line.model.named_children()
            if list(part.parameters())
        )

    run = trained(built(groups=parts, model=None))
    assert run.status == "done"
    assert run.history.groups == ("0", "2")


def test_it_may_have_weights_in_bfloat16():
    run = trained(LINE, dtype="bfloat16")
    assert (run.status, run.state_bytes) == (
        "done",
        trained(LINE).state_bytes // 2 + 2 * 4,
    )  # 4 counts of steps, 4 bytes each


# ---------------------------------------------------------------------------------------------------- fair and repeatable


def test_random_numbers_of_the_task_depend_on_seed_and_step_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = trained(LINE)
    torch.rand(7)
    assert losses(trained(LINE)) == losses(first)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), before)
    trained(LINE)
    assert torch.equal(torch.get_rng_state(), before)
    assert losses(trained(LINE, seed=1)) != losses(first)
    assert len(set(losses(first))) == 4
    still = dw.train(dw.Settings("SGD", lr=1e-30), "line", 4, progress=False)
    assert losses(still)[0] == losses(first)[0]  # the same weights and the same batch
    assert still.eval_before == first.eval_before == still.eval_after
    parts = Training(dw.RunPlan(ADAMW, "line", 1, accumulation=2))
    list(parts.steps())
    assert len(set(parts.problem.seen)) == 2


def test_a_stopped_run_goes_on_bit_for_bit_from_a_checkpoint_too():
    whole = trained(LINE, 6)
    plan = whole.plan
    run, training = dw.Run(plan), Training(plan)
    going = drive(run)
    for _ in range(4):
        next(going)
    going.close()
    assert losses(run_to_end(run, progress=False)) == losses(whole)
    steps = training.steps()
    for _ in range(3):
        next(steps)
    again = Checkpoint.of(training).restored(plan)
    assert [float(record.loss) for record in again.steps()] == losses(whole)[3:]


# ---------------------------------------------------------------------------------------------------- samples


@pytest.mark.slow
def test_samples_are_optional_and_what_is_real_beside_them_too(tmp_path):
    plain, drawn = trained(LINE, store=tmp_path / "a.sqlite"), trained(DRAWN, store=tmp_path / "a.sqlite")
    assert (plain.status, plain.samples, plain.wanted, plain.samples_after) == ("done", {}, None, None)
    assert (drawn.status, drawn.wanted) == ("done", None)
    assert {0, 4} <= set(drawn.samples)
    assert np.array_equal(drawn.samples_before.values, drawn.samples_after.values)  # from the same noise
    store = dw.RunStore(tmp_path / "a.sqlite")
    assert store.load(plain.key).samples == {}
    assert np.array_equal(store.load(drawn.key).samples_after.values, drawn.samples_after.values)


@pytest.mark.slow
def test_the_bench_offers_it_trains_it_and_shows_samples_only_where_there_are():
    async def script():
        bench = dw.lab(ADAMW, task=LINE, steps=3)
        assert ("A line", "line") in bench.bar.task.options
        assert bench.bar.fields["batch_size"].placeholder == "16"
        bench.bar.run.click()
        await bench.wait()
        (run,) = bench.runs
        assert (run.status, run.plan.task) == ("done", "line")
        assert bench.samples.strips == {}
        assert bench.samples.children[0].layout.display == "none"  # the title of nothing
        bench.add(trained(DRAWN))
        assert len(bench.samples.strips) == 1

    asyncio.run(script())


# ---------------------------------------------------------------------------------------------------- stores


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_a_stored_run_shows_without_its_task_and_goes_on_once_it_is_registered(tmp_path, registry):
    path = tmp_path / "runs.sqlite"
    whole = trained(LINE, 6)

    stopped, saver = dw.Run(whole.plan), saver_for(path)
    going = drive(stopped, on_publish=saver.save)
    for _ in range(4):
        next(going)
    going.close()
    assert (stopped.status, len(stopped.history)) == ("stopped", 3)

    registry.clear()  # as in a new process
    run = dw.RunStore(path).load(stopped.key)
    assert isinstance(run, dw.Run)
    assert (losses(run), run.settings, run.samples_per_step) == (losses(whole)[:3], ADAMW, None)
    assert losses(run) in [list(trace.y) for trace in run.figure().data]
    assert not any(len(trace.x) for trace in dw.compare([run], x="samples").data)  # how many a step saw is not known

    async def show():
        bench = dw.lab(store=path)
        bench.add(run)
        assert bench.table.visible == {run.key: True}

    asyncio.run(show())
    before = run.history.step.tolist()
    dw.resume(run, progress=False)
    assert run.status == "stopped"
    assert run.message.startswith("It cannot go on yet: there is no task 'line'")
    assert "dw.register_task(task)" in run.message
    assert run.history.step.tolist() == before
    dw.register_task(LINE)
    dw.resume(run, progress=False)
    assert (run.status, losses(run)) == ("done", losses(whole))


# ---------------------------------------------------------------------------------------------------- other processes


@pytest.mark.slow
@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_it_goes_along_to_an_executors_processes(start):
    over = {"lr": [1e-2, 1e-3]}
    here = dw.sweep(ADAMW, over, LINE, 3, progress=False)
    with ProcessPoolExecutor(1, mp_context=get_context(start)) as executor:
        executor.submit(int).result()  # the process is there before the task is registered
        there = dw.sweep(ADAMW, over, LINE, 3, executor=executor)
    assert [run.status for run in there] == ["done", "done"]
    assert [losses(run) for run in there] == [losses(run) for run in here]


@pytest.mark.slow
def test_one_that_cannot_travel_is_refused_with_what_to_do():
    local = built()
    with ProcessPoolExecutor(1) as executor, pytest.raises(dw.SettingsError, match=r"module, a \.py file") as caught:
        dw.sweep(ADAMW, {"lr": [1e-2]}, local, 3, executor=executor)
    assert [fault.option for fault in caught.value.faults] == ["task"]
    with ThreadPoolExecutor(1) as executor:
        (run,) = dw.sweep(ADAMW, {"lr": [1e-2]}, local, 3, executor=executor)
    assert run.status == "done"


@pytest.mark.slow
def test_one_of_a_notebook_is_refused_in_words_where_processes_are_spawned():
    """A function of a cell lives in __main__, which a new process does not have."""
    code = """
import sys
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import diffopt_widgets as dw
from own_tasks import Line
def build(seed, device, batch_size, dtype):
    return Line(device, batch_size, dtype)
task = dw.Task(key="cell", title="C", summary="C", build=build)
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
    try:
        dw.sweep(dw.Settings("ADAMW"), {"lr": [1e-3]}, task, 2, executor=executor, progress=False)
    except RuntimeError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=OWN_TASKS, capture_output=True, text=True, check=True)
    assert re.match(r"the task 'cell' cannot be loaded in another process: .*\.py file", done.stdout), done


@pytest.mark.slow
def test_tasks_can_be_varied():
    runs = dw.sweep(ADAMW, {"task": ["swiss_roll", LINE]}, steps=2, progress=False)
    assert [run.plan.task for run in runs] == ["swiss_roll", "line"]
    assert {run.status for run in runs} == {"done"}
