"""What went wrong, or will, is said at the call: a run that failed, one that cannot go on, a warm-up that outlasts its run."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.cli.main import main
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.execution.outcome import RunFailed
from diffopt_widgets.training.checkpoint import Checkpoint

WILD = dw.Settings("SGD", lr=1e30)
LONG = dw.Settings("ADAMW", warmup=50)


def train(settings, steps=20, **options):
    return dw.train(settings, "swiss_roll", steps, progress=False, **options)


def test_a_run_that_diverged_says_so_and_what_to_write():
    with pytest.warns(RunFailed) as told:
        run = train(WILD)
    (warning,) = told
    text = str(warning.message)
    assert run.status == "failed"
    assert run.message in text
    assert "the loss was no longer a finite number" in text
    assert f"settings.replace(lr={run.fix['lr']!r})" in text
    assert warning.filename == __file__, "the line of the caller's own code"
    assert run.message in repr(run)


def test_an_error_inside_a_back_end_is_told_with_where_its_traceback_is(monkeypatch):
    def step(self, *_, **__):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.warns(
        RunFailed, match=r"RuntimeError after 0 steps: no such kernel\. `run\.trace` has the traceback\."
    ):
        run = train("ADAMW")
    assert "no such kernel" in run.trace


@pytest.mark.slow
@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor])
def test_a_sweep_names_those_that_failed(executor):
    over = {"lr": [1e-3, 1e30]}
    if executor is not None:
        executor = executor(1)
    with pytest.warns(RunFailed, match=r"^1 of 2 runs failed\.\nSGD · lr 1e30: Failed at step") as told:
        fine, failed = dw.sweep("SGD", over, "swiss_roll", 5, progress=False, executor=executor)
    assert len(told) == 1
    assert (fine.status, failed.status) == ("done", "failed")


def test_a_checkpoint_that_cannot_be_used_is_told():
    run = dw.Run(dw.RunPlan("ADAMW", "swiss_roll", 5))
    steps = drive(run)
    for _ in range(3):
        next(steps)
    steps.close()
    run.keep(Checkpoint(2, b"damaged"))
    with pytest.warns(RunFailed, match="It cannot go on here"):
        assert dw.resume(run, progress=False).status == "stopped"


def test_the_command_tells_it_once(tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["run", "SGD", "--lr", "1e30", "--task", "swiss_roll", "--steps", "5", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("no longer a finite number") == 1


@pytest.mark.slow
def test_a_run_that_is_well_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(dw.Settings("ADAMW", warmup=19)).status == "done"
        assert train(dw.Settings("ADAMW", warmup=0.95)).status == "done"


# ---------------------------------------------------------------------------------------- a warm-up that outlasts its run


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        lambda: train(LONG),
        lambda: dw.stream(LONG, "swiss_roll", 20),
        lambda: dw.sweep(LONG, {"lr": [1e-3, 1e-2]}, "swiss_roll", 20, progress=False),
        lambda: dw.sweep(LONG, {"steps": [20, 60]}, "swiss_roll", progress=False),
        lambda: dw.sweep("ADAMW", {"warmup": [0, 50]}, "swiss_roll", 20, progress=False),
    ],
    ids=["train", "stream", "sweep", "sweep over steps", "sweep over warm-ups"],
)
def test_a_warm_up_that_outlasts_its_run_is_told_once_where_it_is_called(call):
    with pytest.warns(
        UserWarning, match=r"^warmup = 50, steps = 20: The warm-up is not over when the run ends"
    ) as told:
        call()
    assert [warning.filename for warning in told] == [__file__]


@pytest.mark.slow
def test_a_warm_up_as_long_as_the_run_is_told_too():
    for warmup in (20, 1.0):
        with pytest.warns(UserWarning, match=r"The warm-up is not over"):
            train(dw.Settings("ADAMW", warmup=warmup))


@pytest.mark.slow
def test_the_command_and_the_form_tell_it(tmp_path, capsys):
    words = ["run", "ADAMW", "--warmup", "50", "--task", "swiss_roll", "--steps", "20", "--out", str(tmp_path)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(words) == 0
    assert capsys.readouterr().err.count("diffopt: note: The warm-up is not over when the run ends") == 1
    form = dw.Form(LONG, steps=20)
    assert form.draft.parsed.warnings["warmup"].startswith("The warm-up is not over when the run ends")
    form.run = type(form.run)(steps=60)
    assert "warmup" not in form.draft.parsed.warnings


@pytest.mark.parametrize("schedule", ["CONSTANT", "COSINE"])
def test_exported_code_says_it(schedule):
    settings = LONG.replace(schedule=schedule)
    assert "# After 20 steps the warm-up of 50 is not over" in dw.export(settings, steps=20)
    assert "is not over" not in dw.export(settings, steps=60)
