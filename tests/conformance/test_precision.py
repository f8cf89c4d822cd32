"""Runs with weights in bfloat16: every optimizer trains them, and whatever tells of a run knows its precision."""

import asyncio
import contextlib
import json
import re
import sqlite3

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.cli.main import main
from diffopt_widgets.execution.driver import run_to_end
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.tasks import list_tasks
from diffopt_widgets.training.checkpoint import Checkpoint
from diffopt_widgets.training.loop import Training, fetch
from diffopt_widgets.widgets.tables.differences import compare_settings

KEYS = dw.list_optimizers()


def plan(settings, steps=3, *, dtype="bfloat16", task="swiss_roll"):
    return RunPlan(settings, task, steps, batch_size=64, device="cpu", dtype=dtype, grad_norm=True)


def weights(training):
    return [p for group in training.problem.groups for p in group.params]


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_every_optimizer_trains_weights_in_bfloat16(key):
    training = Training(plan(dw.preset(key, "recommended"), 5))  # the first four steps of one only measure
    start = [p.detach().clone() for p in weights(training)]
    losses = [record.loss for record in fetch(list(training.steps()))]
    assert {p.dtype for p in weights(training)} == {torch.bfloat16}
    assert all(p.isfinite().all() for p in weights(training))
    assert any(not torch.equal(p, was) for p, was in zip(weights(training), start, strict=True))
    assert np.isfinite([*losses, training.evaluate()]).all()


@pytest.mark.slow
@pytest.mark.parametrize("task", list_tasks())
def test_the_weights_are_those_of_float32_rounded_and_the_loss_is_in_float32(task):
    full, half = (Training(plan(dw.Settings("ADAMW"), task=task, dtype=dtype)) for dtype in ("float32", "bfloat16"))
    assert all(torch.equal(p.bfloat16(), q) for p, q in zip(weights(full), weights(half), strict=True))
    loss = half.problem.loss(0)
    assert loss.dtype is half.problem.evaluate().dtype is torch.float32
    assert loss.item() == pytest.approx(full.problem.loss(0).item(), rel=0.01)
    loss.backward()
    exact = torch.cat([p.grad.float().flatten() for p in weights(half)]).norm()
    half.optimizer.zero_grad()
    assert fetch([next(half.steps())])[0].grad_norm == pytest.approx(float(exact), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ADAMW_ADV", "PRODIGY_PLUS_SCHEDULE_FREE"])
def test_a_run_that_rounds_at_random_goes_on_bit_for_bit_whatever_else_was_trained(key):
    settings = dw.Settings(key, lr=0.01)
    asked = plan(settings, 4)
    whole, stopped = Training(asked), Training(asked)
    *_, last = whole.steps()
    for _ in zip(range(2), stopped.steps(), strict=False):
        pass
    kept = Checkpoint.of(stopped)
    run_to_end(dw.Run(asked), progress=False)
    torch.rand(1)
    again = kept.restored(asked)
    *_, end = again.steps()
    assert all(torch.equal(p, q) for p, q in zip(weights(whole), weights(again), strict=True))
    assert float(last.loss) == float(end.loss)
    plain = Training(plan(settings.replace(stochastic_rounding=False), 4))
    list(plain.steps())
    assert not all(torch.equal(p, q) for p, q in zip(weights(whole), weights(plain), strict=True))


@pytest.mark.parametrize("key", KEYS)
def test_no_option_for_bfloat16_says_that_the_tasks_cannot_have_it(key):
    for use in dw.spec(key).uses:
        if use.only_in:
            assert not re.search(r"tasks of th\w+ bench|bench's tasks", f"{use.option.help} {use.note}"), use.name


def test_a_store_keeps_it_and_a_run_of_former_days_was_in_float32(tmp_path):
    path = tmp_path / "runs.sqlite"
    run = dw.train(dw.Settings("ADAMW"), "swiss_roll", 2, dtype="bfloat16", progress=False, store=path)
    found = dw.RunStore(path).load(run.key)
    assert found.plan == run.plan
    assert repr(found) == "<Run 'ADAMW' on swiss_roll in bfloat16: done, 2 of 2 steps>"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        (about,) = connection.execute("SELECT about FROM runs").fetchone()
        former = json.loads(about)
        del former["plan"]["dtype"]
        connection.execute("UPDATE runs SET about = ?", (json.dumps(former),))
    former = dw.RunStore(path).load(run.key)
    assert former.plan.dtype == "float32"
    (line,) = (line for line in compare_settings([found.plan, former.plan]) if line.differs)
    assert (line.title, line.values) == ("Weights", ("bfloat16", "float32"))


@pytest.mark.slow
def test_precisions_are_compared_like_all_else_of_a_plan():
    over = {"dtype": ["float32", "bfloat16"]}
    runs = dw.sweep(dw.Settings("ADAMW"), over, "swiss_roll", 2, progress=False)
    assert [run.name for run in runs] == ["ADAMW · dtype float32", "ADAMW · dtype bfloat16"]
    assert runs[0].state_bytes == pytest.approx(2 * runs[1].state_bytes, rel=0.01)
    with pytest.raises(dw.SettingsError, match=r"dtype = float16: .*float32, bfloat16"):
        dw.train(dw.Settings("ADAMW"), dtype="float16")


@pytest.mark.slow
def test_the_command_line_takes_it_and_tells_what_does_nothing_without_it(tmp_path, capsys):
    words = ["run", "--optimizer", "ADAMW", "--set", "stochastic_rounding=false,true"]
    words += ["--task", "swiss_roll", "--steps", "2", "--out", str(tmp_path)]
    assert main([*words, "--dtype", "bfloat16"]) == 0
    assert capsys.readouterr().err == ""
    assert main(words) == 0
    assert "diffopt: note: Stochastic rounding needs weights in bfloat16" in capsys.readouterr().err


@pytest.mark.slow
def test_the_run_bar_chooses_it_and_the_form_says_which_options_feel_it():
    async def script():
        bench = dw.lab(dw.Settings("ADAMW", stochastic_rounding=True), task="swiss_roll", steps=2)
        marks = lambda: bench.form.state["controls"]["stochastic_rounding"]  # noqa: E731
        assert marks()["mark"] == "bfloat16 only"
        assert marks()["warning"].startswith("Stochastic rounding needs weights in bfloat16")
        assert "bfloat16" not in bench.form.code.partition("optimizer = ")[0]
        bench.form.type("beta1", "0.8")
        bench.bar.fields["dtype"].value = "bfloat16"
        assert marks()["mark"] == "✓ bfloat16"
        assert "warning" not in marks()
        assert "model.to(torch.bfloat16)" in bench.form.code
        bench.bar.run.click()
        await bench.wait()
        (run,) = bench.runs
        assert (run.status, run.plan.dtype) == ("done", "bfloat16")
        bench.form.undo()  # what was typed before is checked for the run as it is now
        assert "warning" not in marks()
        bench.bar.fields["dtype"].value = "float32"
        assert marks()["mark"] == "bfloat16 only"
        assert marks()["warning"]

    asyncio.run(script())
