"""The applied rate of groups at a rate of 0, of groups that change, and of trainings that are resumed.

As in test_applied_lr, each rate is held against how far the weights really moved.
"""

import copy
import math

import dadaptation
import numpy as np
import prodigyopt
import pytest
import pytorch_optimizer
import torch

import diffopt_widgets as dw
from diffopt_widgets.optimizers.factory import build_optimizer, build_schedule
from diffopt_widgets.rates.applied import RateMeter

F64 = torch.float64
GRADIENTS = (torch.linspace(0.5, 1.5, 12, dtype=F64), torch.linspace(-2.0, -0.25, 7, dtype=F64))
ESTIMATING = [key for key in dw.list_optimizers() if dw.spec(key).estimates_rate]
VALUES = {"PRODIGY_PLUS_SCHEDULE_FREE": {"d0": 0.01}}  # float32 inside: steps must be visible


def parameters(dtype=F64):
    starts = (torch.linspace(0.25, 0.75, 12), torch.linspace(-1.0, 2.0, 7))
    return [torch.nn.Parameter(start.to(dtype)) for start in starts]


def give(params):
    for p, g in zip(params, GRADIENTS, strict=True):
        p.grad = g.to(p.dtype)


def step(meter, optimizer, params, schedule=None):
    """Take one step; return the rates before and after it, and how far each tensor moved."""
    give(params)
    old = [p.detach().clone() for p in params]
    asked = [float(rate) for rate in meter.before()]
    optimizer.step()
    told = [float(rate) for rate in meter.after()]
    if schedule is not None:
        schedule.step()
    return asked, told, [float((p.detach() - before).norm()) for p, before in zip(params, old, strict=True)]


def groups_of(params, **second):
    return [{"params": [params[0]]}, {"params": [params[1]], **second}]


# ---------------------------------------------------------------------------------------------- a rate of 0


@pytest.mark.parametrize("order", [1, -1], ids=["second at 0", "first at 0"])
@pytest.mark.parametrize("key", ESTIMATING)
def test_a_group_at_0_is_told_0_if_and_only_if_it_stays_still(key, order):
    params = parameters(torch.float32 if key == "PRODIGY_PLUS_SCHEDULE_FREE" else F64)
    settings = dw.Settings(key, lr=1.0, **VALUES.get(key, {}))
    optimizer = build_optimizer(settings, groups_of(params))
    train, rest = (0, 1)[::order]
    optimizer.param_groups[rest]["lr"] = 0.0  # some refuse other rates by group when they are built
    meter = RateMeter(optimizer)
    ended = []
    for _ in range(4):
        _, told, moved = step(meter, optimizer, params)
        still = moved[rest] < 1e-12
        assert still == (told[rest] == 0), (told, moved)
        assert (moved[train] == 0) == (told[train] == 0), (told, moved)
        ended.append(still)
    assert ended == [ended[0]] * 4


MOVED_AT_0 = {
    # what moves a group at a rate of 0 by d · lr times this
    "weight decay": (
        lambda params, **values: prodigyopt.Prodigy(params, weight_decay=0.1, decouple=True, **values),
        lambda p, g: 0.1 * p.norm(),
    ),
    "no momentum": (
        lambda params, **values: prodigyopt.Prodigy(params, betas=(0.0, 0.999), eps=1.0, **values),
        lambda p, g: g.norm(),  # eps is 1, and nothing else is in the divisor
    ),
    "weight decay of DAdaptAdam": (
        lambda params, **values: dadaptation.DAdaptAdam(params, weight_decay=0.1, decouple=True, **values),
        lambda p, g: 0.1 * p.norm(),
    ),
}


@pytest.mark.parametrize("name", MOVED_AT_0)
def test_what_moves_a_group_at_0_all_the_same_moves_it_at_the_rate_that_is_told(name):
    cls, size = MOVED_AT_0[name]
    params = parameters()
    optimizer = cls(groups_of(params, lr=0.0), d0=1e-3)
    meter = RateMeter(optimizer)
    for _ in range(4):
        before, d = params[1].detach().clone(), optimizer.param_groups[0]["d"]
        asked, told, moved = step(meter, optimizer, params)
        assert asked[1] == told[1] == pytest.approx(d)
        assert moved[1] == pytest.approx(told[1] * float(size(before, GRADIENTS[1])), rel=1e-6)


@pytest.mark.parametrize("key", ["PRODIGY", "DADAPT_ADAM", "DADAPT_SGD"])
def test_a_momentum_moves_a_group_on_that_is_set_to_0(key):
    """The rate told is the one that multiplies the direction, which no longer changes."""
    params = parameters()
    options = {"momentum": 0.9} if key == "DADAPT_SGD" else {}
    optimizer = build_optimizer(dw.Settings(key, lr=1.0, **options), groups_of(params))
    meter = RateMeter(optimizer)
    for _ in range(5):
        _, told, moved = step(meter, optimizer, params)
    optimizer.param_groups[1]["lr"] = 0.0
    if key == "DADAPT_SGD":  # the weights approach their point by the same share at each step
        for _ in range(3):
            last = moved[1] / told[1]
            _, told, moved = step(meter, optimizer, params)
            assert moved[1] > 0
            # the average decays like the way that is left, corrected for the weights that sum to 1
            assert moved[1] / told[1] == pytest.approx(last, rel=0.2)
        return
    state = optimizer.state[params[1]]
    for _ in range(3):
        asked, told, moved = step(meter, optimizer, params)
        assert asked[1] == told[1]
        if key == "PRODIGY":
            unit = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + optimizer.param_groups[0]["d"] * 1e-8)
        else:
            unit = (1 - 0.9**5) * GRADIENTS[1] / (state["exp_avg_sq"].sqrt() + 1e-8)
        assert moved[1] == pytest.approx(told[1] * float(unit.norm()), rel=1e-6)


def test_a_layer_scale_of_dadapt_adam_is_part_of_the_rate():
    params = parameters()
    optimizer = dadaptation.DAdaptAdam(groups_of(params, layer_scale=0.25))
    meter = RateMeter(optimizer)
    for t in range(1, 5):
        _, told, moved = step(meter, optimizer, params)
        for rate, p, g, way in zip(told, params, GRADIENTS, moved, strict=True):
            unit = (1 - 0.9**t) * g / (optimizer.state[p]["exp_avg_sq"].sqrt() + 1e-8)
            assert way == pytest.approx(rate * float(unit.norm()), rel=1e-6)


def test_a_rate_that_is_a_tensor_is_read_like_a_number():
    params = parameters()
    optimizer = build_optimizer(dw.Settings("PRODIGY", lr=1.0), groups_of(params))
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = torch.tensor(1.0), torch.tensor(0.0)
    assert dw.applied_lr(optimizer) == [pytest.approx(1e-6), 0.0]


# ---------------------------------------------------------------------------------------------- begun in mid-run

AVERAGING = {
    "DADAPT_ADAM": {"lr": 1.0},
    "DADAPT_ADAN": {"lr": 1.0},
    "DADAPT_SGD": {"lr": 1.0, "momentum": 0.9},
    "ADAFACTOR": {"lr": 0.01, "relative_step": False, "scale_parameter": False, "beta1": 0.9},
    "ADAFACTOR scaled": {"lr": 0.01, "relative_step": False, "scale_parameter": True, "beta1": 0.9},
}


def averaging(name):
    params = parameters()
    settings = dw.Settings(name.split(" ")[0], schedule="COSINE", **AVERAGING[name])
    optimizer = build_optimizer(settings, groups_of(params))
    return params, optimizer, build_schedule(settings, optimizer, 1200)


@pytest.mark.slow
@pytest.mark.parametrize("name", AVERAGING)
def test_an_average_of_past_rates_is_not_known_until_its_unseen_part_is_small(name):
    params, optimizer, schedule = averaging(name)
    whole = RateMeter(optimizer)
    for _ in range(10):
        step(whole, optimizer, params, schedule)
    late = RateMeter(optimizer)
    beta = 0.98 if name == "DADAPT_ADAN" else 0.9
    steps = math.ceil(math.log(1e-4) / math.log(beta))
    for at in range(1, steps + 3):
        late.before()
        _, expected, _ = step(whole, optimizer, params, schedule)
        told = [float(rate) for rate in late.after()]
        if at < steps:
            assert np.isnan(told).all(), at
    assert told == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", AVERAGING)
def test_a_loaded_state_makes_the_average_unknown_and_a_fresh_one_does_not(name):
    params, optimizer, schedule = averaging(name)
    fresh = copy.deepcopy(optimizer.state_dict())
    meter = RateMeter(optimizer)
    for _ in range(4):
        step(meter, optimizer, params, schedule)
    saved = copy.deepcopy(optimizer.state_dict())
    for _ in range(4):
        _, told, _ = step(meter, optimizer, params, schedule)
        assert np.isfinite(told).all()
    optimizer.load_state_dict(saved)
    _, told, _ = step(meter, optimizer, params, schedule)
    assert np.isnan(told).all()
    optimizer.load_state_dict(fresh)
    _, told, _ = step(meter, optimizer, params, schedule)
    assert np.isfinite(told).all()


def test_a_momentum_of_zeros_is_known_whenever_it_is_seen():
    params = parameters()
    optimizer = build_optimizer(dw.Settings("DADAPT_ADAM", lr=1.0), groups_of(params, lr=0.0))
    first = RateMeter(optimizer)
    for _ in range(5):
        step(first, optimizer, params)
    _, told, moved = step(RateMeter(optimizer), optimizer, params)
    assert math.isnan(told[0])
    assert (told[1], moved[1]) == (0, 0)


def walk(optimizer, params, schedule, steps, *, start=0, seed=0):
    """Take steps along random gradients; return the rates as a meter tells them that began here."""
    meter, told, random = RateMeter(optimizer), [], torch.Generator()
    for at in range(start, start + steps):
        random.manual_seed(1000 * seed + at)
        for p in params:
            p.grad = torch.randn(p.shape, generator=random, dtype=F64)
        meter.before()
        optimizer.step()
        told.append([float(rate) for rate in meter.after()])
        schedule.step()
    return told


def checkpoint(optimizer, params, schedule):
    return copy.deepcopy((optimizer.state_dict(), schedule.state_dict(), [p.detach() for p in params]))


def watch_resumed(training, saved, store, order, *, start, **more):
    """Resume a training in new objects; return the applied rates that a watch records of three steps, None if not known."""
    params, optimizer, schedule = averaging(training)
    if order == "watch first":
        w = dw.watch(optimizer, store=store, start=start, **more)
    optimizer.load_state_dict(copy.deepcopy(saved[0]))
    schedule.load_state_dict(saved[1])
    for p, old in zip(params, saved[2], strict=True):
        p.data.copy_(old)
    if order == "load first":
        w = dw.watch(optimizer, store=store, start=start, **more)
    with w:
        walk(optimizer, params, schedule, 3, start=start)
    return w.history.column("applied_lr") if "applied_lr" in w.history.names() else None


ORDERS = pytest.mark.parametrize("order", ["load first", "watch first"])


@pytest.mark.slow
@ORDERS
@pytest.mark.parametrize("name", AVERAGING)
def test_the_record_of_a_watch_carries_the_average_over_a_break(name, order, tmp_path):
    store = tmp_path / "runs.sqlite"
    params, optimizer, schedule = averaging(name)
    with dw.watch(optimizer, store=store):
        walk(optimizer, params, schedule, 12)
    saved = checkpoint(optimizer, params, schedule)
    params, optimizer, schedule = averaging(name)
    known = walk(optimizer, params, schedule, 15)[12:]  # what the steps apply, told by a meter that saw them all
    np.testing.assert_allclose(watch_resumed(name, saved, store, order, start=12), known, rtol=1e-6)
    assert watch_resumed(name, saved, store, order, start=12, name="another") is None
    assert watch_resumed(name, saved, store, order, start=11) is None  # the record of another step


@ORDERS
@pytest.mark.parametrize("name", AVERAGING)
def test_the_record_of_another_training_is_not_taken_for_that_of_this_one(name, order, tmp_path):
    store = tmp_path / "runs.sqlite"
    params, optimizer, schedule = averaging(name)
    with dw.watch(optimizer, store=store):
        walk(optimizer, params, schedule, 12)
    params, optimizer, schedule = averaging(name)  # the same options and name
    walk(optimizer, params, schedule, 12, seed=1)
    assert watch_resumed(name, checkpoint(optimizer, params, schedule), store, order, start=12) is None


@pytest.mark.parametrize("name", [name for name in AVERAGING if name.startswith("DADAPT")])
def test_an_estimate_continues_the_record_of_a_run_that_went_on_after_its_checkpoint(name, tmp_path):
    store = tmp_path / "runs.sqlite"
    params, optimizer, schedule = averaging(name)
    with dw.watch(optimizer, store=store) as w:
        walk(optimizer, params, schedule, 9)
        saved = checkpoint(optimizer, params, schedule)
        walk(optimizer, params, schedule, 3, start=9)
    known = w.history.column("applied_lr")[9:]
    np.testing.assert_allclose(watch_resumed(name, saved, store, "load first", start=9), known, rtol=1e-6)


# ---------------------------------------------------------------------------------------------- groups that change


def test_a_tensor_without_gradients_does_not_keep_the_others_averages():
    """A group that gets no gradient for some steps keeps the average that its momentum holds."""
    params = parameters()
    optimizer = build_optimizer(dw.Settings("DADAPT_ADAM", lr=1.0), groups_of(params))
    meter = RateMeter(optimizer)
    entered = {0: [], 1: []}
    for t in range(1, 9):
        give(params)
        if t in {3, 4, 6}:
            params[1].grad = None
        d = optimizer.param_groups[0]["d"]
        old = [p.detach().clone() for p in params]
        meter.before()
        optimizer.step()
        told = [float(rate) for rate in meter.after()]
        for i, p in enumerate(params):
            if p.grad is None:
                continue
            entered[i].append(d)
            n = len(entered[i])
            unit = (1 - 0.9**n) * GRADIENTS[i] / (optimizer.state[p]["exp_avg_sq"].sqrt() + 1e-8)
            assert float((p.detach() - old[i]).norm()) == pytest.approx(told[i] * float(unit.norm()), rel=1e-6)


PER_TENSOR = {
    "ADAFACTOR": {"relative_step": False, "scale_parameter": True, "weight_decay": 0.0},
    "ADAFACTOR momentum": {"relative_step": False, "scale_parameter": True, "weight_decay": 0.0, "beta1": 0.9},
    "LAMB": {"max_unorm": 0.1},
    "LARS": {"max_unorm": 0.02},
    "NADAM": {},
    "ADOPT_ADV": {},
    "MUON": {},
    "MUON_ADV": {"rms_rescaling": False},
    "ADAMUON_ADV": {"rms_rescaling": False},
    "DADAPT_ADAM": {"lr": 1.0},
    "PRODIGY": {"lr": 1.0},
    "SCHEDULE_FREE_ADAMW": {},
}


def fresh(rows, value):
    return torch.nn.Parameter(torch.full((rows, 4), value, dtype=torch.float32))


def first_without_gradient(group, _):
    return group["params"][1:]


def joined(group, at):
    if at == 2:
        group["params"].append(fresh(40, 8.0))
    return group["params"]


def replaced(group, at):
    if at == 2:
        group["params"][0] = fresh(30, 4.0)
    return group["params"]


def grown(group, at):
    if at == 2:
        group["params"][0] = grown_one = fresh(2, 1.0)
        grown_one.data = torch.full((50, 4), 6.0)
    return group["params"]


def with_an_empty_tensor(group, at):
    if at == 0:
        group["params"].insert(0, torch.nn.Parameter(torch.zeros(0, 4)))
    return group["params"]


def emptied(group, at):
    if at == 2:
        group["params"].pop()
    return group["params"]


CHANGES = (first_without_gradient, joined, replaced, grown, with_an_empty_tensor, emptied)


def change(name, change, meter_of=RateMeter, steps=4):
    """Yield what a meter tells from the first step on, what one made anew tells, and the optimizer, for each step."""
    group = {"params": [fresh(8, 0.5), fresh(2, 2.0)]}
    second = {"params": [fresh(3, 1.0)]}
    if "MUON" in name:
        group["use_muon"], second["use_muon"] = True, True
    settings = dw.Settings(name.split(" ")[0], **{"lr": 0.01, **PER_TENSOR[name]})
    optimizer = build_optimizer(settings, [group, second])
    meter = RateMeter(optimizer)
    for at in range(steps):
        moving = change(optimizer.param_groups[0], at)
        for p in moving + optimizer.param_groups[1]["params"]:
            p.grad = torch.ones_like(p) * 0.3
        asked, anew = meter.before(), RateMeter(optimizer).before()
        old = [p.detach().clone() for p in moving]
        optimizer.step()
        moved = [(p.detach() - before).square().sum().sqrt() for p, before in zip(moving, old, strict=True)]
        yield [float(x) for x in asked], [float(x) for x in anew], [float(x) for x in meter.after()], moving, moved
        optimizer.zero_grad()
    assert meter.trouble is None


@pytest.mark.parametrize(
    ("name", "changing"),
    [
        pytest.param(name, changing, id=f"{name}-{changing.__name__}")
        for name in PER_TENSOR
        for changing in CHANGES
        if (name, changing) != ("MUON", with_an_empty_tensor)  # where the package itself divides by 0
    ],
)
def test_a_group_is_read_as_it_is_now(name, changing):
    for asked, anew, told, *_ in change(name, changing):
        assert asked == pytest.approx(anew, rel=1e-6)
        assert np.isfinite(asked).all()
        assert np.isfinite(told).all()


@pytest.mark.parametrize("changing", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["ADAFACTOR", "ADAFACTOR momentum"])
def test_the_mean_of_a_changing_group_is_how_its_weights_move(name, changing):
    """Adafactor's step along a constant gradient is the sign, times what its momentum has gathered."""
    ages = {}
    for _, _, told, moving, moved in change(name, changing):
        total = count = 0
        for p, way in zip(moving, moved, strict=True):
            ages[id(p)] = ages.get(id(p), 0) + 1
            gathered = 1 - 0.9 ** ages[id(p)] if "momentum" in name else 1.0
            total += float(way) * p.numel() ** 0.5 / gathered  # the sum over the tensor's weights, which all move alike
            count += p.numel()
        assert told[0] == pytest.approx(total / count, rel=2e-3)


EMPTY = [key for key in dw.list_optimizers() if key != "PRODIGY_PLUS_SCHEDULE_FREE"]  # which raises by itself


@pytest.mark.slow
@pytest.mark.parametrize("key", EMPTY)
@pytest.mark.parametrize("shape", [None, (0, 4)], ids=["no tensor", "no element"])
def test_a_group_without_weights_does_not_hide_the_others(key, shape):
    weights = fresh(8, 0.5)
    nothing = [] if shape is None else [("n", torch.nn.Parameter(torch.zeros(shape)))]
    both = build_optimizer(dw.Settings(key), [{"params": [("w", weights)]}, {"params": nothing}])
    alone = build_optimizer(dw.Settings(key), [{"params": [("w", fresh(8, 0.5))]}])
    told = []
    for optimizer in (both, alone):
        with dw.watch(optimizer) as w:
            for _ in range(3):
                for group in optimizer.param_groups:
                    for p in group["params"]:
                        p.grad = torch.full_like(p, 0.3)
                optimizer.step()
        told.append(w.history.column("applied_lr"))
    np.testing.assert_allclose(told[0][:, 0], told[1][:, 0], rtol=1e-6)
    if told[0].shape[1] > 1:
        assert np.isfinite(told[0]).all()


def test_a_muon_of_its_package_with_an_empty_group_is_watched():
    weights = fresh(8, 0.5)
    groups = [{"params": [weights], "use_muon": True}, {"params": [], "use_muon": True}]
    optimizer = pytorch_optimizer.Muon(groups, lr=0.01)
    assert dw.applied_lr(optimizer) == [pytest.approx(0.01 * math.sqrt(8 / 4)), 0.01]
    with dw.watch(optimizer):
        weights.grad = torch.ones_like(weights)
        optimizer.step()


def test_what_cannot_be_read_is_nan_and_never_stops_the_loop():
    params = parameters()
    optimizer = build_optimizer(dw.Settings("PRODIGY"), groups_of(params))
    with dw.watch(optimizer) as w, pytest.warns(UserWarning, match="not known") as told:  # noqa: PT031
        for at in range(4):
            give(params)
            d = optimizer.param_groups[0].pop("d") if at == 1 else None
            if d is None:
                optimizer.step()
                continue
            handle = optimizer.register_step_pre_hook(lambda *_, d=d: optimizer.param_groups[0].update(d=d))
            optimizer.step()  # the watch's hook came first, and found no d
            handle.remove()
    assert np.isnan(w.history.column("applied_lr")).all(axis=1).tolist() == [False, True, False, False]
    assert len(told) == 1
    del optimizer.param_groups[0]["d"]
    assert np.isnan(dw.applied_lr(optimizer)).all()


def test_a_group_added_to_prodigy_adv_enters_with_its_own_estimate():
    params = parameters()
    optimizer = build_optimizer(dw.Settings("PRODIGY_ADV"), [{"params": [params[0]]}])
    meter = RateMeter(optimizer)
    for _ in range(6):
        step(meter, optimizer, params)
    optimizer.add_param_group({"params": [params[1]]})
    _, told, moved = step(meter, optimizer, params)
    assert told[0] > 2e-6
    assert told[1] == pytest.approx(1e-6)
    assert moved[1] == pytest.approx(1e-6 * 0.1 / 0.001**0.5 * 7**0.5, rel=1e-3)


@pytest.mark.parametrize("values", [{"beta1": 0.9, "scale_parameter": True, "relative_step": False}, {}], ids=str)
def test_a_fused_back_pass_is_told_the_rates_of_a_plain_one(values):
    """Its gradients are gone after a step, and all but one have not come before it."""
    told = []
    for fused in (True, False):
        params = [fresh(8, 0.5), fresh(3, 2.0)]
        optimizer = build_optimizer(dw.Settings("ADAFACTOR", fused_back_pass=fused, **values), params)
        with dw.watch(optimizer) as w:
            for _ in range(5):
                sum(p.square().sum() for p in params).backward()
                optimizer.step()
                optimizer.zero_grad()
        told.append(w.history.column("applied_lr"))
    np.testing.assert_allclose(told[0], told[1], rtol=1e-6)
