"""Train mode for steps, eval mode for whatever looks at the weights; the path of the training never feels it."""

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.optimizers.modes import eval_mode, has_modes, train_mode
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.training.loop import Training

AVERAGING = tuple(key for key in dw.list_optimizers() if dw.spec(key).has_modes)
STEPS = 40


def training(key, **values):
    if key == "SCHEDULE_FREE_SGD":
        values = {"lr": 0.3, **values}
    return Training(RunPlan(dw.Settings(key, **values), task="swiss_roll", steps=STEPS, device="cpu"))


def weights(of):
    return torch.cat([p.detach().flatten() for group in of.problem.groups for p in group.params])


def modes(of):
    return [group["train_mode"] for group in of.optimizer.param_groups]


@pytest.mark.slow
@pytest.mark.parametrize("key", AVERAGING)
def test_looking_changes_no_bit_of_the_path(key):
    watched, alone = training(key), training(key)
    watched.evaluate()
    for step, (here, there) in enumerate(zip(watched.steps(), alone.steps(), strict=True)):
        if step % 5 == 0:
            watched.evaluate()
            watched.samples()
        assert torch.equal(here.loss, there.loss)
        assert (here.applied_lr, here.d, here.d_hat) == (there.applied_lr, there.d, there.d_hat)
        assert torch.equal(weights(watched), weights(alone))
    assert watched.evaluate() == alone.evaluate()
    np.testing.assert_array_equal(watched.samples().values, alone.samples().values)


@pytest.mark.slow
@pytest.mark.parametrize("key", AVERAGING)
def test_what_is_evaluated_and_sampled_is_the_average(key):
    run = training(key)
    list(run.steps())
    beta = run.optimizer.param_groups[0].get("momentum") or run.optimizer.param_groups[0]["betas"][0]
    seen, drawn = run.evaluate(), run.samples().values
    trained = float(run.problem.evaluate())
    with torch.no_grad():
        for group in run.problem.groups:
            for p in group.params:  # y = beta·x + (1 − beta)·z
                p.copy_((p - (1 - beta) * run.optimizer.state[p]["z"]) / beta)
    assert seen == pytest.approx(float(run.problem.evaluate()), rel=1e-5)
    assert abs(seen - trained) > 1e-4 * trained, "the two points differ"
    np.testing.assert_allclose(drawn, run.problem.samples().values, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("key", AVERAGING)
def test_what_raises_while_looking_leaves_the_training_as_it_was(key, monkeypatch):
    run, alone = training(key), training(key)
    steps, others = run.steps(), alone.steps()
    for _ in range(STEPS // 2):
        next(steps), next(others)

    def evaluate():
        assert not any(modes(run))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(run.problem, "evaluate", evaluate)
    with pytest.raises(RuntimeError, match="out of memory"):
        run.evaluate()
    assert all(modes(run))
    list(steps), list(others)
    assert torch.equal(weights(run), weights(alone))


@pytest.mark.slow
@pytest.mark.parametrize("key", AVERAGING)
def test_a_change_of_mode_that_raises_leaves_the_weights_too(key, monkeypatch):
    run = training(key)
    list(run.steps())
    before = weights(run)

    def half_done():
        run.problem.groups[0].params[0].data.zero_()
        raise ZeroDivisionError

    monkeypatch.setattr(run.optimizer, "eval", half_done)
    with pytest.raises(ZeroDivisionError):
        run.evaluate()
    assert torch.equal(weights(run), before)


def test_an_optimizer_without_modes_is_left_alone(monkeypatch):
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([p], lr=0.1)
    monkeypatch.setattr(torch.Tensor, "clone", lambda *_: pytest.fail("nothing is kept"))
    train_mode(optimizer)
    with eval_mode(optimizer):
        p.data.fill_(2.0)
    assert p.tolist() == [2.0] * 3
    assert not has_modes(optimizer)


@pytest.mark.parametrize("key", AVERAGING)
def test_what_is_built_is_ready_to_step(key):
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = dw.build_optimizer(dw.Settings(key), [p])
    p.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.param_groups[0]["train_mode"]


@pytest.mark.slow
def test_each_group_has_its_own_estimate_in_the_history():
    own = dw.train(dw.Settings("PRODIGY_PLUS_SCHEDULE_FREE"), "swiss_roll", STEPS, progress=False)
    assert own.history.groups == ("text_encoder", "unet")
    for name in ("d", "d_hat"):
        column = own.history.column(name)
        assert column.shape == (STEPS, 2)
        assert not np.array_equal(column[:, 0], column[:, 1])
    np.testing.assert_array_equal(own.history.column("applied_lr"), own.history.column("d"))  # at a rate of 1
    assert {"d[text_encoder]", "d[unet]", "d_hat[unet]"} <= own.history.to_columns().keys()
    for values in ({"split_groups": False}, {"split_groups_mean": True}):
        together = dw.train(dw.Settings("PRODIGY_PLUS_SCHEDULE_FREE", **values), "swiss_roll", STEPS, progress=False)
        assert together.history.column("d").shape == (STEPS,)
