"""dw.watch on loops of one's own: what is recorded of a step, what a bad value does, and what is left behind."""

from __future__ import annotations

import copy
import io
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from quadratic import loss_of, problem, train

import diffopt_widgets as dw
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.training.loop import Training, fetch


def hooks_of(optimizer):
    return [dict(vars(optimizer)[f"_optimizer_step_{when}_hooks"]) for when in ("pre", "post")]


# ---------------------------------------------------------------------------------------------------- rates


@pytest.mark.slow
@pytest.mark.parametrize("key", dw.list_optimizers())
def test_the_rates_are_those_that_our_own_loop_records(key):
    training = Training(RunPlan(dw.Settings(key), task="swiss_roll", steps=4))
    with dw.watch(training.optimizer, training.schedule, names=training.group_names) as w:
        records = fetch(list(training.steps()))
    expected = dw.History(training.group_names)
    expected.extend(records)
    for name in ("lr", "applied_lr", "d", "d_hat"):
        assert (name in w.history.names()) == (name in expected.names())
        if name in expected.names():
            np.testing.assert_array_equal(w.history.column(name), expected.column(name))


@pytest.mark.parametrize("options", [{"fused_back_pass": True}, {"stochastic_rounding": True}])
def test_steps_of_single_tensors_count_as_one_and_rates_are_read_before_the_first(options):
    params = problem(4, 3, 5, dtype=torch.bfloat16 if "stochastic_rounding" in options else torch.float32)
    optimizer = dw.build_optimizer(dw.Settings("ADAFACTOR", relative_step=True, lr=None, **options), params)
    before = hooks_of(optimizer)
    with dw.watch(optimizer, measure=["grad_norm", "update_rms"]) as w:
        for step in range(3):
            expected = dw.applied_lr(optimizer)
            norm = math.sqrt(sum(4 * float(p.detach().float().square().sum()) for p in params))
            loss_of(params).backward()
            optimizer.step()
            optimizer.zero_grad()
            assert len(w.history) == step + 1
            assert w.history.column("applied_lr")[-1].tolist() == pytest.approx(expected)
            assert w.history.column("grad_norm")[-1] == pytest.approx(norm, rel=1e-2)
            assert w.history.column("update_rms")[-1] > 0
    assert hooks_of(optimizer) == before
    assert all(not p._backward_hooks for p in params)


@pytest.mark.slow
def test_a_schedule_and_groups_of_different_rates():
    one, two = problem(4, 3)
    optimizer = torch.optim.SGD([{"params": [one], "lr": 0.1}, {"params": [two], "lr": 0.01}])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with dw.watch(optimizer, schedule, names=["unet", "text"]) as w:
        train(optimizer, [one, two], 3, lambda _: schedule.step())
    assert w.history.column("applied_lr").tolist() == [[0.1, 0.01], [0.05, 0.005], [0.025, 0.0025]]
    assert w.to_frame()["applied_lr[text]"].tolist() == [0.01, 0.005, 0.0025]


def test_a_rate_kept_as_a_tensor_is_recorded_as_it_was_at_each_step():
    params = problem()
    optimizer = torch.optim.Adam(params, lr=torch.tensor(0.5))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with dw.watch(optimizer) as w:
        train(optimizer, params, 3, lambda _: schedule.step())
    assert w.history.column("lr")[:, 0].tolist() == [0.5, 0.25, 0.125]


def test_an_optimizer_without_a_rate_is_watched_without_one():
    class Still(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": None})

        def step(self, closure=None):
            pass

    params = problem()
    optimizer = Still(params)
    with dw.watch(optimizer) as w:
        train(optimizer, params, 2, lambda loss: w.log(loss=loss))
    assert w.history.names() == ("loss", "seconds")


def test_a_scheduler_of_another_optimizer_is_refused():
    params = problem()
    optimizer, other = torch.optim.SGD(params, lr=0.1), torch.optim.Adam(params)
    with pytest.raises(ValueError, match="rates of another optimizer"):
        dw.watch(optimizer, torch.optim.lr_scheduler.ConstantLR(other))
    assert hooks_of(optimizer) == [{}, {}]


# ---------------------------------------------------------------------------------------------------- what a step is


def test_a_step_with_a_closure_is_one_step():
    params = problem()
    optimizer = torch.optim.LBFGS(params, max_iter=3)
    with dw.watch(optimizer) as w:

        def closure():
            optimizer.zero_grad()
            loss = loss_of(params)
            loss.backward()
            w.log(loss=loss)
            return loss

        for _ in range(2):
            optimizer.step(closure)
    assert w.history.step.tolist() == [1, 2]
    assert np.isfinite(w.history.column("loss")).all()


class Below(torch.optim.SGD):
    """A step that calls the one above it: both call the hooks once each was instantiated."""

    def step(self, closure=None):
        super().step(closure)


def test_a_step_that_calls_another_class_s_step_is_one_step():
    params = problem()
    torch.optim.SGD(params)
    optimizer = Below(params, lr=0.1)
    with dw.watch(optimizer) as w:
        train(optimizer, params, 3)
    assert w.history.step.tolist() == [1, 2, 3]


def test_a_step_that_raised_is_none():
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)

    def stumble():
        raise RuntimeError("out of memory")

    with dw.watch(optimizer) as w:
        train(optimizer, params, 1)
        with pytest.raises(RuntimeError, match="out of memory"):
            optimizer.step(stumble)
        train(optimizer, params, 1)
    assert w.history.step.tolist() == [1, 2]


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_scaler_skips_is_none(fused):
    params = problem()
    optimizer = torch.optim.Adam(params, lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with dw.watch(optimizer, measure="grad_norm") as w:
        for step in range(4):
            optimizer.zero_grad()
            weights = params[0].detach().clone()
            loss = loss_of(params) * (math.inf if step == 1 else 1.0)
            scaler.scale(loss).backward()
            w.log(loss=float(step))
            scaler.step(optimizer)
            scaler.update()
            assert torch.equal(weights, params[0]) == (step == 1)
        norm = 2 * float(weights.norm())
    assert w.history.step.tolist() == [1, 2, 3]
    assert w.history.column("loss").tolist() == [0.0, 1.5, 3.0]  # what was logged for the skipped step is not lost
    assert w.history.column("grad_norm")[-1] == pytest.approx(norm)


@pytest.mark.slow
def test_a_compiled_step_is_recorded_each_time():
    params, plain, norms = problem(), problem(), []
    optimizer, same = torch.optim.AdamW(params, lr=0.1), torch.optim.AdamW(plain, lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    other = torch.optim.lr_scheduler.ExponentialLR(same, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about what it does not trace
        compiled = torch.compile(optimizer.step, backend="eager")
        with dw.watch(optimizer, measure="grad_norm") as w:
            for _ in range(3):
                optimizer.zero_grad()
                loss_of(params).backward()
                norms.append(float(params[0].grad.norm()))
                compiled()
                schedule.step()
    train(same, plain, 3, lambda _: other.step())
    assert w.history.column("lr")[:, 0].tolist() == [0.1, 0.05, 0.025]
    assert w.history.column("grad_norm").tolist() == pytest.approx(norms)
    torch.testing.assert_close(params, plain)


def test_watching_changes_no_bit_of_the_training():
    watched, alone = problem(64, 3, dtype=torch.bfloat16), problem(64, 3, dtype=torch.bfloat16)
    first, second = torch.optim.AdamW(watched, lr=0.01), torch.optim.AdamW(alone, lr=0.01)
    with dw.watch(first, measure=["grad_norm", "weight_norm", "update_rms", "update_ratio", "bf16_lost"]) as w:
        train(first, watched, 5, lambda loss: w.log(loss=loss))
    train(second, alone, 5)
    assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True))


def test_a_training_that_goes_on_keeps_counting():
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)
    with dw.watch(optimizer, start=500) as w:
        train(optimizer, params, 2)
    assert w.history.step.tolist() == [501, 502]


def test_a_group_that_is_added_is_recorded_from_then_on(tmp_path):
    one, two = problem(4, 3)
    optimizer = torch.optim.SGD([one], lr=0.1)
    store = dw.RunStore(tmp_path / "runs.sqlite")
    expected = np.array([[0.1, math.nan], [0.1, math.nan], [0.1, 0.5], [0.1, 0.5]])

    def check(history):
        assert history.groups == ("all", "text")
        rows = expected[: len(history)]
        np.testing.assert_array_equal(history.column("applied_lr"), rows)
        assert np.isnan(history.column("update_rms")).tolist() == np.isnan(rows).tolist()

    with dw.watch(optimizer, measure="update_rms", store=store) as w:
        train(optimizer, [one], 2, lambda loss: w.log(loss=loss))
        w._recorder.publish()
        w._writer.flush()
        optimizer.add_param_group({"params": [two], "lr": 0.5, "name": "text"})
        train(optimizer, [one, two], 2, lambda loss: w.log(loss=loss))
        w._recorder.publish()
        w._writer.flush()
        (kept,) = store.list()
        assert kept.steps == 3  # in two pieces, of one group and of two
        check(store.load(kept.id).history)
    check(store.load(kept.id).history)
    check(w.history)
    labels = {trace.hovertemplate for trace in w.figure().data}
    assert any("text" in label for label in labels if label)


@pytest.mark.parametrize("key", dw.list_optimizers())
def test_no_step_is_lost_when_a_group_comes(key):
    """Of some optimizers each group has an estimate of its own."""
    params = [torch.nn.Parameter(torch.linspace(0.5, 1.5, 12).reshape(shape)) for shape in ((3, 4), (4, 3))]
    optimizer = dw.build_optimizer(dw.Settings(key), [{"params": params[:1]}])
    if hasattr(optimizer, "train"):
        optimizer.train()
    with dw.watch(optimizer) as w:
        train(optimizer, params[:1], 2)
        own = {name: value for name, value in optimizer.param_groups[0].items() if name not in {"params", "name"}}
        optimizer.add_param_group({**own, "params": params[1:]})
        train(optimizer, params, 2)
    assert w.history.step.tolist() == [1, 2, 3, 4]
    assert w.history.column("lr").shape == (4, 2)
    assert np.isnan(w.history.column("lr")[:2, 1]).all()
    assert np.isfinite(w.history.column("lr")[2:, 1]).all()


def test_an_average_of_past_rates_goes_on_when_a_group_comes():
    one, two = problem(4, 3)
    optimizer = dw.build_optimizer(dw.Settings("DADAPT_ADAM"), [{"params": [one]}])
    with dw.watch(optimizer) as w:
        train(optimizer, [one], 3)
        own = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
        optimizer.add_param_group({**own, "params": [two]})
        train(optimizer, [one, two], 3)
    beta, d = optimizer.param_groups[0]["betas"][0], w.history.column("d")
    assert len(set(d)) > 2
    weights = [beta ** np.arange(step, -1, -1) for step in range(6)]
    expected = [float((weight * d[: len(weight)]).sum() / weight.sum()) for weight in weights]
    np.testing.assert_allclose(w.history.column("applied_lr")[:, 0], expected, rtol=1e-6)
    # The momentum of the new group holds the gradients of its own steps alone.
    own_rates = [float((weight * d[3 : 3 + len(weight)]).sum() / weight.sum()) for weight in weights[:3]]
    np.testing.assert_allclose(w.history.column("applied_lr")[3:, 1], own_rates, rtol=1e-6)


def test_a_group_that_is_taken_away_is_told_once_and_the_others_go_on():
    one, two = problem(4, 3)
    optimizer = torch.optim.SGD([{"params": [one], "lr": 0.1}, {"params": [two], "lr": 0.5}])
    with dw.watch(optimizer) as w, pytest.warns(UserWarning, match="1 parameter groups now, and had 2") as told:  # noqa: PT031
        train(optimizer, [one, two], 1)
        del optimizer.param_groups[1]
        train(optimizer, [one, two], 2)
    assert len(told) == 1
    np.testing.assert_array_equal(w.history.column("lr"), [[0.1, 0.5], [0.1, math.nan], [0.1, math.nan]])


# ---------------------------------------------------------------------------------------------------- which optimizers


def test_wrappers_are_looked_into():
    import schedulefree
    from pytorch_optimizer import SAM, Lookahead, ScheduleFreeWrapper

    for wrap in (
        schedulefree.ScheduleFreeWrapper,
        schedulefree.ScheduleFreeWrapperReference,
        ScheduleFreeWrapper,
        Lookahead,
    ):
        params = problem()
        optimizer = wrap(torch.optim.SGD(params, lr=0.1))
        if hasattr(optimizer, "train"):
            optimizer.train()
        with dw.watch(optimizer) as w:
            train(optimizer, params, 3)
        assert w.history.column("applied_lr")[:, 0].tolist() == [0.1, 0.1, 0.1], wrap

    params = problem()
    optimizer = SAM(params, torch.optim.SGD, lr=0.1)
    with dw.watch(optimizer) as w:
        for _ in range(2):
            loss_of(params).backward()
            optimizer.first_step(zero_grad=True)
            loss_of(params).backward()
            optimizer.second_step(zero_grad=True)
            optimizer.step(lambda: loss_of(params).backward())
    assert w.history.step.tolist() == [1, 2]


class NoHooks:
    param_groups = ()

    def step(self):
        """Do nothing."""


def test_an_optimizer_without_hooks_is_refused():
    with pytest.raises(
        TypeError, match="NoHooks cannot be watched: neither it nor an optimizer inside it has the step hooks"
    ):
        dw.watch(NoHooks())


def test_two_watches_on_one_optimizer_both_record():
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)
    with dw.watch(optimizer) as first:
        train(optimizer, params, 1)
        with dw.watch(optimizer) as second:
            train(optimizer, params, 2, lambda loss: second.log(loss=loss))
        train(optimizer, params, 1)
    assert (len(first.history), len(second.history)) == (4, 2)
    assert "loss" not in first.history.names()


def test_names_of_groups():
    model = torch.nn.ModuleDict({"unet": torch.nn.Linear(2, 2), "text": torch.nn.Linear(2, 2)})
    optimizer = torch.optim.SGD([{"params": part.parameters()} for part in model.values()])
    assert dw.watch(optimizer).history.groups == ("group 0", "group 1")
    assert dw.watch(optimizer, model=model).history.groups == ("unet", "text")
    with pytest.raises(ValueError, match="has 2 parameter groups, and each needs its own name"):
        dw.watch(optimizer, names=["unet"])


# ---------------------------------------------------------------------------------------------------- leaving


def test_closing_leaves_the_optimizer_as_it_was():
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    before = hooks_of(optimizer), {**vars(schedule)}, set(vars(optimizer)) | {"_opt_called"}  # that is the schedule's
    w = dw.watch(optimizer, schedule, measure="update_rms")
    train(optimizer, params, 2)
    w.close()
    w.close()
    assert (hooks_of(optimizer), {**vars(schedule)}, set(vars(optimizer))) == before
    train(optimizer, params, 1)
    assert (len(w.history), len(seen), w.status) == (2, 3, "done")


@pytest.mark.parametrize("key", ["ADAMW", "PRODIGY"])
def test_a_watched_optimizer_is_copied_and_kept_without_its_watch(key):
    params = problem()
    optimizer = dw.build_optimizer(dw.Settings(key), params)
    with dw.watch(optimizer, measure="update_rms") as w:
        assert w.plot.runs
        train(optimizer, params, 2)
        torch.save(optimizer, io.BytesIO())
        for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert hooks_of(copied) == [{}, {}]
            copied.step()
        assert len(w.history) == 2
        optimizer.load_state_dict(optimizer.state_dict())
        train(optimizer, params, 1)
    assert w.history.step.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [(ValueError("no such file"), "failed", "ValueError: no such file"), (KeyboardInterrupt(), "stopped", "")],
)
def test_a_loop_that_ends_early_closes_the_watch(error, status, message):
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)
    with pytest.raises(type(error)), dw.watch(optimizer) as w:  # noqa: PT012
        train(optimizer, params, 2)
        raise error
    assert (w.status, w.message, len(w.history), w.closed) == (status, message, 2, True)
    assert hooks_of(optimizer) == [{}, {}]


def test_a_closed_watch_says_once_that_it_records_no_more():
    params = problem()
    optimizer = torch.optim.SGD(params, lr=0.1)
    w = dw.watch(optimizer)
    w.close()
    with pytest.warns(UserWarning, match="this watch is closed") as told:
        train(optimizer, params, 3, lambda loss: w.log(loss=loss))
    assert len(told) == 1
    assert told[0].filename == __file__
    assert len(w.history) == 0


def test_arguments_that_cannot_be_used():
    optimizer = torch.optim.SGD(problem(), lr=0.1)
    with pytest.raises(ValueError, match="there is no measure 'gradnorm'; there are grad_norm"):
        dw.watch(optimizer, measure="gradnorm")
    with pytest.raises(ValueError, match="every = 0: must be a whole number, at least 1"):
        dw.watch(optimizer, every=0)
    fused = dw.build_optimizer(dw.Settings("ADAMW", fused_back_pass=True), problem())
    with pytest.raises(ValueError, match="fused_back_pass frees them"):
        dw.watch(fused, measure="bf16_lost")
    assert hooks_of(optimizer) == [{}, {}]
