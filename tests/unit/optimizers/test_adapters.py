"""Fused back pass, both ways to round, and percentile clipping: what they do, what they cost, and what they refuse."""

import copy
import functools
import math
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.execution.driver import drive, run_to_end
from diffopt_widgets.optimizers.adapters import adapt, clip_to_percentile, round_and_keep_rest, round_stochastically
from diffopt_widgets.rates.applied import applied_lr
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.state_size.measured import state_bytes
from diffopt_widgets.training.checkpoint import Checkpoint
from diffopt_widgets.training.loop import Training, fetch

ALONE = [key for key in list_optimizers() if spec(key).steps_each_tensor]
OURS = [key for key in ALONE if "stochastic_rounding" in spec(key).adapter_options({"stochastic_rounding": True})]
"""Those that the adapter rounds. adv_optm's round by themselves, from one stream for all tensors, whose order then counts."""
KAHAN = [key for key in ALONE if "kahan_summation" in spec(key).adapter_options({"kahan_summation": True})]
ALL = {"fused_back_pass": True, "stochastic_rounding": True, "percentile_clipping": 50}


def everything(key):
    return {**ALL, "stochastic_rounding": key in OURS}


def kahan(**options):
    """Kahan summation, with adv_optm's own rounding off."""
    return {"kahan_summation": True, "stochastic_rounding": False, **options}


@pytest.mark.parametrize("key", ["SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD"])
def test_a_schedule_free_average_cannot_be_had_of_weights_that_are_rounded(key):
    optimizer, params = built(dw.Settings(key), torch.bfloat16)
    adapt(optimizer, stochastic_rounding=True)
    walk(optimizer, params, 1)
    with pytest.raises(RuntimeError, match="dtype"):
        optimizer.eval()
    with pytest.raises(dw.SettingsError, match="eval mode"):
        dw.Settings(key, stochastic_rounding=True)


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((72, 64), (64,), (64, 72))
    return [torch.nn.Parameter((0.3 * torch.randn(shape, generator=generator)).to(dtype)) for shape in shapes]


def backward(step, params):
    first, bias, second = params
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 72, generator=generator)
    scale = 10.0 if step % 5 == 4 else 1.0  # spikes, for clipping
    loss = scale * ((torch.tanh(x @ first.float() + bias.float()) @ second.float() - x) ** 2).mean()
    loss.backward()


def groups_of(params):
    return [{"params": params[:1]}, {"params": params[1:]}]


def walk(optimizer, params, steps, schedule=None, start=0):
    for step in range(start, start + steps):
        backward(step, params)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        optimizer.zero_grad()
    return torch.cat([param.detach().flatten() for param in params])


def built(settings, dtype=torch.float32):
    params = parameters(dtype)
    return dw.build_optimizer(settings, groups_of(params)), params


# ---------------------------------------------------------------------------------------------------- fused back pass


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made while it is on that are still alive, and the most that they came to."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        before = {tensor.untyped_storage().data_ptr() for tensor in self.tensors((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for tensor in self.tensors(made):
            if tensor.untyped_storage().data_ptr() not in before:  # else it was changed in place, or seen otherwise
                self.count(tensor.untyped_storage())
        return made

    @staticmethod
    def tensors(values):
        return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]

    def count(self, storage):
        address, size = storage.data_ptr(), storage.nbytes()
        if address and address not in self.seen:
            self.seen.add(address)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.free, address, size)

    def free(self, address, size):
        self.seen.discard(address)
        self.now -= size


def test_gradients_never_exist_all_together():
    peaks, weights = {}, 0
    for fused in (False, True):
        training = Training(RunPlan(dw.Settings("ADAMW", fused_back_pass=fused), "digits", 1, batch_size=2))
        params = [p for group in training.problem.groups for p in group.params]
        arrived = []

        def note(gradient, params=params, arrived=arrived):
            arrived.append(gradient.nbytes + sum(p.grad.nbytes for p in params if p.grad is not None))

        for p in params:
            p.register_hook(note)
        list(training.steps())
        peaks[fused] = max(arrived)
        sizes = [p.nbytes for p in params]
        weights, largest = sum(sizes), max(sizes)
    assert peaks == {False: weights, True: largest}
    assert largest < weights / 5


def test_the_peak_of_all_memory_falls_by_nearly_the_size_of_the_weights():
    """Everything counts: activations, temporaries of the step, states."""
    layers = 16
    peaks = {}
    for fused in (False, True):
        model = torch.nn.Sequential(*(torch.nn.Linear(128, 128, bias=False) for _ in range(layers)))
        settings = dw.Settings("ADAMW", foreach=False, fused_back_pass=fused)
        optimizer = dw.build_optimizer(settings, model.parameters())
        x = torch.ones(1, 128)
        for _ in range(2):  # the states are made in the first
            with LiveBytes() as live:
                model(x).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        peaks[fused] = live.most
    one = 4 * 128 * 128
    assert peaks[False] > layers * one
    assert peaks[False] - peaks[True] > 0.8 * layers * one


@pytest.mark.slow
@pytest.mark.parametrize("key", ALONE)
def test_a_fused_run_records_what_a_plain_one_does(key):
    values = {"relative_step": True, "schedule": "ADAFACTOR"} if key == "ADAFACTOR" else {"schedule": "COSINE"}
    if key == "SCHEDULE_FREE_SGD":
        values["lr"] = 0.1  # its own is too high for this task

    def records(**options):
        plan = RunPlan(dw.Settings(key, **values, **options), task="swiss_roll", steps=6, grad_norm=True)
        return fetch(list(Training(plan).steps()))

    for fused, plain in zip(records(fused_back_pass=True), records(), strict=True):
        assert (fused.loss, fused.lr, fused.applied_lr) == (plain.loss, plain.lr, plain.applied_lr)
        assert fused.grad_norm == pytest.approx(plain.grad_norm, rel=1e-6)


def test_the_schedule_reaches_every_tensor_and_groups_keep_their_own_rate():
    params = parameters()
    settings = dw.Settings("SGD", lr=0.5, schedule="LINEAR", fused_back_pass=True)
    optimizer = dw.build_optimizer(settings, [{"params": params[:1], "lr": 0.25}, {"params": params[1:]}])
    schedule = dw.build_schedule(settings, optimizer, 4)
    for step, factor in enumerate((1.0, 0.75, 0.5, 0.25)):
        assert applied_lr(optimizer) == [0.25 * factor, 0.5 * factor]
        before = [param.detach().clone() for param in params]
        sum(param.sum() for param in params).backward()
        moved = [float((old - param.detach()).mean()) for old, param in zip(before, params, strict=True)]
        assert moved == pytest.approx([0.25 * factor, 0.5 * factor, 0.5 * factor], rel=1e-5), step
        optimizer.step()
        schedule.step()


def test_what_joins_later_or_has_no_hook_is_stepped_when_the_step_is_closed():
    late, frozen = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    frozen.requires_grad_(False)
    first = torch.nn.Parameter(torch.ones(3))
    optimizer = dw.build_optimizer(dw.Settings("SGD", lr=0.5, fused_back_pass=True), [first, frozen])
    optimizer.add_param_group({"params": [late]})
    (first + late).sum().backward()
    assert (first.tolist(), late.tolist()) == ([0.5] * 3, [1.0] * 3)
    optimizer.step()
    assert (first.tolist(), late.tolist(), frozen.tolist()) == ([0.5] * 3, [0.5] * 3, [1.0] * 3)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]


def test_a_second_backward_before_the_step_is_refused():
    _, params = built(dw.Settings("SGD", fused_back_pass=True))
    backward(0, params)
    with pytest.raises(RuntimeError, match=r"optimizer\.step\(\) after each backward.*turn fused_back_pass off"):
        backward(1, params)


@pytest.mark.parametrize("unscales", [True, False])
def test_a_grad_scaler_is_refused_before_a_weight_moves(unscales):
    optimizer, params = built(dw.Settings("SGD", lr=1.0, fused_back_pass=True))
    before = [p.detach().clone() for p in params]
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    for bad in (True, False):  # a step that is skipped, for an infinite gradient, shows nothing yet
        loss = sum(p.sum() for p in params) * (math.inf if bad else 1.0)
        scaler.scale(loss).backward()
        if unscales:
            scaler.unscale_(optimizer)
        if bad:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    with pytest.raises(RuntimeError, match=r"fused_back_pass cannot train with a GradScaler.*To fix it"):
        scaler.step(optimizer)
    assert all(torch.equal(p, old) for p, old in zip(params, before, strict=True))


class OwnScaler(torch.amp.GradScaler):
    """Scales by itself, as torch's ShardedGradScaler does."""

    def scale(self, outputs):
        if self._scale is None:
            self._lazy_init_scale_growth_tracker(outputs.device)
        return outputs * self._scale


def of_a_new_class():
    """Return a scaler of a class that did not exist when the optimizer was built."""
    return type("NewScaler", (OwnScaler,), {"scale": OwnScaler.scale})("cpu")


def with_a_wrapped_scale():
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale = functools.partial(scaler.scale)
    return scaler


def used_for_another_optimizer():
    scaler, other = torch.amp.GradScaler("cpu"), torch.nn.Parameter(torch.ones(3))
    others = torch.optim.SGD([other], lr=0.1)
    scaler.scale(other.sum()).backward()
    scaler.step(others)
    scaler.update()
    return scaler


SCALERS = [
    lambda: torch.amp.GradScaler("cpu"),
    lambda: OwnScaler("cpu"),
    of_a_new_class,
    with_a_wrapped_scale,
    used_for_another_optimizer,
]


@pytest.mark.parametrize("order", ["before the optimizer", "before a step", "after a step", "between"])
@pytest.mark.parametrize("make", SCALERS)
def test_no_weight_moves_whenever_a_grad_scaler_is_made(make, order):
    scaler = make() if order == "before the optimizer" else None
    optimizer, params = built(dw.Settings("SGD", lr=1.0, fused_back_pass=True))
    if order == "before a step":
        scaler = make()
    if order != "before the optimizer":
        backward(0, params)
        if order == "between":  # its loss belongs to the second backward
            scaler = make()
            late = scaler.scale(sum(p.sum() for p in params))
        optimizer.step()
        optimizer.zero_grad()
    scaler = scaler or make()
    before = [p.detach().clone() for p in params]
    (late if order == "between" else scaler.scale(sum(p.sum() for p in params))).backward()
    with pytest.raises(RuntimeError, match=r"fused_back_pass cannot train with a GradScaler.*To fix it"):
        scaler.step(optimizer)
    assert all(torch.equal(p, old) for p, old in zip(params, before, strict=True))


def test_a_scaled_backward_after_a_plain_one_moves_nothing():
    first, second, other = (torch.nn.Parameter(torch.ones(3)) for _ in range(3))
    optimizer = dw.build_optimizer(dw.Settings("SGD", lr=0.5, fused_back_pass=True), [first, second])
    scaler = torch.amp.GradScaler("cpu")
    scaled = scaler.scale([second.sum(), (other.sum(),)])
    scaler.unscale_(torch.optim.SGD([other], lr=0.1))
    scaler.update(256.0)  # ends the step of other losses
    first.sum().backward()
    assert first.tolist() == [0.5] * 3
    scaled[0].backward()
    with pytest.raises(RuntimeError, match="cannot train with a GradScaler"):
        scaler.step(optimizer)
    assert second.tolist() == [1.0] * 3


def test_a_grad_scaler_of_another_optimizer_delays_a_step_only_before_its_update():
    optimizer, params = built(dw.Settings("ADAMW", fused_back_pass=True))
    other = torch.nn.Parameter(torch.ones(3))
    others = torch.optim.SGD([other], lr=0.1)
    scaler, off = torch.amp.GradScaler("cpu"), torch.amp.GradScaler("cpu", enabled=False)
    waited = []
    for step in range(6):
        off.scale(torch.ones(()))
        if step in (1, 2):
            scaler.scale(other.sum()).backward()
            scaler.step(others)
            scaler.update()
        if step == 3:
            scaler.scale(other.sum())  # and left over
        backward(step, params)
        waited.append(params[0].grad is not None)
        optimizer.step()
        optimizer.zero_grad()
    assert waited == [False, False, False, True, False, False]
    plain, same = built(dw.Settings("ADAMW"))
    walk(plain, same, 6)
    assert all(torch.equal(p, q) for p, q in zip(params, same, strict=True))


PATCHED_WHEN_BUILT = """
import functools
import torch
before = vars(torch.amp.GradScaler)["scale"]
import diffopt_widgets as dw
weight = torch.nn.Parameter(torch.ones(3))
dw.build_optimizer(dw.Settings("SGD"), [weight])
assert vars(torch.amp.GradScaler)["scale"] is before
wrapped, used = torch.amp.GradScaler("cpu"), torch.amp.GradScaler("cpu")
wrapped.scale = functools.partial(wrapped.scale)
waiting = used.scale(weight.sum())
for scaler, loss in ((used, waiting), (wrapped, None)):
    optimizer = dw.build_optimizer(dw.Settings("SGD", lr=0.5, fused_back_pass=True), [weight])
    (wrapped.scale(weight.sum()) if loss is None else loss).backward()
    try:
        scaler.step(optimizer)
    except RuntimeError as error:
        assert "cannot train with a GradScaler" in str(error)
    else:
        raise SystemExit("not refused")
    assert weight.tolist() == [1.0] * 3
    weight = torch.nn.Parameter(torch.ones(3))
once = vars(torch.amp.GradScaler)["scale"]
assert once.__wrapped__ is before and (once.__name__, once.__doc__) == (before.__name__, before.__doc__)
dw.build_optimizer(dw.Settings("SGD", fused_back_pass=True), [weight])
assert vars(torch.amp.GradScaler)["scale"] is once
"""


@pytest.mark.slow
def test_torch_is_changed_once_and_only_for_a_fused_back_pass_and_earlier_scalers_are_known():
    done = subprocess.run([sys.executable, "-c", PATCHED_WHEN_BUILT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_accumulation_is_refused_with_its_fix():
    settings = dw.Settings("ADAMW", fused_back_pass=True)
    for refused in (
        lambda: RunPlan(settings, accumulation=4),
        lambda: dw.build_optimizer(settings, parameters(), accumulation=4),
    ):
        with pytest.raises(dw.SettingsError, match=r"fused_back_pass.*over 4 batches.*accumulation to 1") as caught:
            refused()
        (fault,) = caught.value.faults
        RunPlan(settings.replace(**fault.fix), accumulation=4)
    assert RunPlan(settings).accumulation == 1


@pytest.mark.parametrize("options", [{"fused_back_pass": True}, {"percentile_clipping": 50}], ids=str)
def test_a_closure_is_refused(options):
    optimizer, _ = built(dw.Settings("SGD", **options))
    for call in (lambda: optimizer.step(lambda: 0.0), lambda: optimizer.step(closure=lambda: 0.0)):
        with pytest.raises(ValueError, match="no closure"):
            call()


def test_the_groups_are_whole_after_a_step_that_raised():
    optimizer, params = built(dw.Settings("ADAMW", fused_back_pass=True))
    groups = optimizer.param_groups

    def break_off(*_):
        raise ArithmeticError

    optimizer.register_step_pre_hook(break_off)
    with pytest.raises(ArithmeticError):
        backward(0, params)
    assert optimizer.param_groups is groups
    assert [len(group["params"]) for group in groups] == [1, 2]


# ---------------------------------------------------------------------------------------------------- stochastic rounding


def neighbours(value):
    """The two bfloat16 around a float32, from its bits."""
    bits = np.float32(value).view(np.uint32)
    low, high = ((bits >> 16 << 16) + step for step in (0, 1 << 16))
    return float(np.uint32(low).view(np.float32)), float(np.uint32(high).view(np.float32))


@pytest.mark.parametrize("value", [1.001, -0.3337, 3.1415926e-5, 1.0 - 2**-20, -65504.7, 1e-39, 2.0 + 2**-16])
def test_rounding_is_unbiased(value):
    draws = 200_000
    value = float(np.float32(value))
    rounded = round_stochastically(torch.full((draws,), value), torch.Generator().manual_seed(1)).double()
    near, far = neighbours(value)
    assert set(rounded.tolist()) <= {near, far}
    share = (value - near) / (far - near)
    spread = abs(far - near) * math.sqrt(share * (1 - share) / draws)
    assert abs(float(rounded.mean()) - value) < 4 * spread


def test_what_needs_no_rounding_stays():
    exact = torch.tensor([0.0, -0.0, 1.0, -2.5, math.inf, -math.inf, 3.0e38]).bfloat16().float().repeat(1000)
    assert torch.equal(round_stochastically(exact, torch.Generator()).float(), exact)
    low_bits = torch.tensor([0x7F800001, 0x7FFFFFFF, -1], dtype=torch.int32).view(torch.float32).repeat(1000)
    assert round_stochastically(low_bits, torch.Generator()).isnan().all()


def test_updates_below_the_precision_count_on_average():
    """Steps of 1e-4 from 1.0, where bfloat16 has a spacing of 2⁻⁸ below: plain rounding loses all of them."""

    def after_100_steps(**options):
        weight = torch.nn.Parameter(torch.ones(20_000, dtype=torch.bfloat16))
        optimizer = dw.build_optimizer(dw.Settings("SGD", lr=1e-4, **options), [weight])
        for _ in range(100):
            weight.sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return weight.detach().double()

    assert (after_100_steps() == 1.0).all()
    rounded = after_100_steps(stochastic_rounding=True)
    # A walk of 100 roundings, each with a variance of at most (2⁻⁸/2)²; the mean of 20,000 such walks.
    spread = 2**-9 * math.sqrt(100) / math.sqrt(20_000)
    assert abs(float(rounded.mean()) - 0.99) < 4 * spread
    assert len(rounded.unique()) > 2


def test_it_rounds_what_the_optimizer_computes_in_32_bits():
    """After one step every weight is one of the two neighbours of the exact result."""
    for key in OURS:
        exact_params = [torch.nn.Parameter(p.detach().float()) for p in parameters(torch.bfloat16)]
        optimizer, params = built(dw.Settings(key, stochastic_rounding=True), torch.bfloat16)
        exact = dw.build_optimizer(dw.Settings(key), groups_of(exact_params))
        backward(0, params)
        for p, q in zip(params, exact_params, strict=True):
            q.grad = p.grad.float()
        optimizer.step()
        exact.step()
        for p, q in zip(params, exact_params, strict=True):
            bits = q.detach().view(torch.int32)
            low = bits.bitwise_and(-(1 << 16)).view(torch.float32)
            high = (bits.bitwise_and(-(1 << 16)) + (1 << 16)).view(torch.float32)
            rounded = p.detach().float()
            assert ((rounded == low) | (rounded == high)).all(), key
            tensors = [value for value in optimizer.state[p].values() if isinstance(value, torch.Tensor)]
            assert not any(value.dtype is torch.bfloat16 for value in tensors), key


def test_the_states_are_those_of_32_bit_weights():
    plain, params = built(dw.Settings("ADAMW"), torch.bfloat16)
    rounding, others = built(dw.Settings("ADAMW", stochastic_rounding=True), torch.bfloat16)
    walk(plain, params, 1)
    walk(rounding, others, 1)
    weights = sum(p.numel() for p in params)
    assert state_bytes(plain) == 4 * weights + 3 * 4  # and a count of steps each
    assert state_bytes(rounding) == 8 * weights + 3 * 4


def test_weights_in_other_precisions_are_stepped_as_ever():
    def after(**options):
        half = torch.nn.Parameter(torch.linspace(-1, 1, 64).bfloat16())
        full = torch.nn.Parameter(torch.linspace(-1, 1, 64))
        optimizer = dw.build_optimizer(dw.Settings("ADAMW", **options), [half, full])
        for _ in range(5):
            (half.float() * full).square().sum().backward()
            half.grad.fill_(1.0)
            full.grad.fill_(1.0)
            optimizer.step()
            optimizer.zero_grad()
        return half.detach(), full.detach()

    (half, full), (plain_half, plain_full) = after(stochastic_rounding=True), after()
    assert torch.equal(full, plain_full)
    assert not torch.equal(half, plain_half)


def test_rounding_is_repeatable_differs_by_step_and_tensor_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    settings = dw.Settings("SGD", lr=1e-4, stochastic_rounding=True)
    weights = [torch.nn.Parameter(torch.ones(4096, dtype=torch.bfloat16)) for _ in range(2)]
    optimizer = dw.build_optimizer(settings, weights)
    moved = []
    for _ in range(2):
        for weight in weights:
            weight.data.fill_(1.0)
            weight.grad = torch.ones_like(weight)
        optimizer.step()
        moved += [(weight.detach() < 1.0).tolist() for weight in weights]
    assert len({tuple(mask) for mask in moved}) == 4
    assert all(0 < sum(mask) < 4096 for mask in moved)
    assert torch.equal(torch.random.get_rng_state(), before)
    paths = [walk(*built(settings.replace(lr=0.1), torch.bfloat16), 5) for _ in range(2)]
    assert torch.equal(*paths)


@pytest.mark.parametrize("name", ["stochastic_rounding", "kahan_summation"])
def test_a_rounding_without_weights_to_round_is_told_and_changes_nothing(name, caplog):
    rounded, plain = (walk(*built(dw.Settings("ADAMW", **{name: on})), 3) for on in (True, False))
    assert torch.equal(rounded, plain)
    assert f"{name} does nothing: it rounds parameters in bfloat16" in caplog.text
    adapt(torch.optim.SGD(parameters(), lr=0.1), **{name: True})
    run = dw.train(dw.Settings("ADAMW", **{name: True}), "swiss_roll", 2, progress=False)
    assert run.status == "done"


# ---------------------------------------------------------------------------------------------------- Kahan summation


def half_spacing(value):
    """Half the distance from a bfloat16, of 8 significant bits, to its next one towards 0."""
    significand, exponent = math.frexp(value)
    return 2.0 ** (exponent - 9 if significand > 0.5 else exponent - 10)


@pytest.mark.parametrize("value", [1.0, 1.5, 0.75, 0.25])
def test_half_a_spacing_is_what_rounds_away(value):
    step = value - torch.tensor([0.99, 1.01]).double() * half_spacing(value)
    assert (step.bfloat16() == value).tolist() == [True, False]


def test_updates_below_half_a_spacing_add_up():
    """Random steps of at most an eighth of half a spacing, which a plain step in bfloat16 loses one and all."""
    steps, count = 400, 500
    most = half_spacing(1.0) / 8
    generator = torch.Generator().manual_seed(0)
    updates = most * torch.rand(steps, count, generator=generator)  # of one sign, so that their sum grows

    def after(**options):
        weight = torch.nn.Parameter(torch.ones(count, dtype=torch.bfloat16))
        optimizer = dw.build_optimizer(dw.Settings("SGD", lr=1.0, **options), [weight])
        exact = torch.ones(count, dtype=torch.float64)
        for update in updates:
            weight.grad = update.bfloat16()
            exact -= weight.grad.double()
            optimizer.step()
        return weight.detach().double(), exact, optimizer.state[weight]

    still, exact, _ = after()
    assert (still == 1.0).all()
    assert float((1 - exact).min()) > 20 * half_spacing(1.0)
    moved, exact, state = after(kahan_summation=True)
    # What is kept is at most half a spacing and has 8 bits, so each step rounds it by no more than 2⁻⁹ of that. The weight
    # by itself is off by no more than what is kept.
    kept = state["kahan_compensation"]
    assert kept.dtype is torch.bfloat16
    worst = steps * half_spacing(1.0) / 2**9
    assert float((moved + kept.double() - exact).abs().max()) < worst
    assert float((moved + kept.double() - exact).abs().max()) < 0.01 * float((1 - exact).min())
    assert float((moved - exact).abs().max()) <= half_spacing(1.0) + worst


def test_steps_that_bfloat16_holds_are_those_of_the_plain_path():
    """Where nothing is rounded away, nothing is kept, and the path is the plain one to the bit."""
    spacing = 2 * half_spacing(1.0)

    def path(**options):
        weight = torch.nn.Parameter(torch.ones(64, dtype=torch.bfloat16))
        optimizer = dw.build_optimizer(dw.Settings("SGD", lr=1.0, **options), [weight])
        seen = []
        for step in range(20):
            weight.grad = torch.full_like(weight, (1 + step % 3) * spacing)
            optimizer.step()
            seen.append(weight.detach().clone())
        return torch.stack(seen), optimizer.state[weight]

    plain, _ = path()
    summed, state = path(kahan_summation=True)
    assert torch.equal(plain, summed)
    assert not state["kahan_compensation"].any()
    assert len(plain[:, 0].unique()) == 20


@pytest.mark.slow
@pytest.mark.parametrize("key", KAHAN)
def test_kahan_summation_stays_closest_to_the_path_in_32_bits(key):
    """At a small rate, against the same gradients on float32 weights: bfloat16 alone strays much farther."""
    lr = {} if key == "ADAFACTOR" else {"lr": 1e-5}

    def path(dtype, **options):
        starts = [p.detach() for p in parameters(torch.bfloat16)]
        params = [torch.nn.Parameter(p.to(dtype)) for p in starts]
        optimizer = dw.build_optimizer(dw.Settings(key, **lr, **options), groups_of(params))
        generator = torch.Generator().manual_seed(1)
        for _ in range(30):
            for p in params:
                p.grad = (0.1 + torch.rand(p.shape, generator=generator)).bfloat16().to(dtype)
            optimizer.step()
        kept = [optimizer.state[p].get("kahan_compensation", torch.zeros(1)).double() for p in params]
        whole = torch.cat([(p.detach().double() + c).flatten() for p, c in zip(params, kept, strict=True)])
        return whole, torch.cat([p.double().flatten() for p in starts])

    exact, start = path(torch.float32)
    plain, _ = path(torch.bfloat16, stochastic_rounding=False)
    summed, _ = path(torch.bfloat16, **kahan())
    off, off_plain = float((summed - exact).abs().mean()), float((plain - exact).abs().mean())
    assert off < 0.1 * off_plain
    assert off < 0.05 * float((exact - start).abs().mean())


def test_what_is_kept_is_what_rounding_took():
    values = torch.tensor([1.001, -0.3337, 3.1415926e-5, 65504.7, 0.0, math.inf, -math.inf, math.nan, 3.4e38])
    rounded, rest = round_and_keep_rest(values)
    assert torch.equal(rounded.nan_to_num(7.0), values.bfloat16().nan_to_num(7.0))
    took = values[:5].double() - rounded[:5].double()
    assert ((rest[:5].double() - took).abs() <= took.abs() / 2**8).all()
    assert rest[5:].tolist() == [0.0] * 4  # 3.4e38 is beyond the largest bfloat16


def test_kahan_summation_is_repeatable_and_draws_no_random_numbers():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    settings = dw.Settings("ADAMW", lr=1e-4, kahan_summation=True)
    paths = [walk(*built(settings, torch.bfloat16), 6) for _ in range(2)]
    assert torch.equal(*paths)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize("key", KAHAN)
def test_a_fused_back_pass_sums_as_a_step_afterwards_does(key):
    options = kahan(percentile_clipping=50)
    optimizer, params = built(dw.Settings(key, **options), torch.bfloat16)
    plain = walk(optimizer, params, 8)
    fused, others = built(dw.Settings(key, **options, fused_back_pass=True), torch.bfloat16)
    assert torch.equal(walk(fused, others, 8), plain)
    assert torch.isfinite(plain).all()
    for p, q in zip(params, others, strict=True):
        kept = optimizer.state[p]["kahan_compensation"]
        assert kept.any()
        assert torch.equal(kept, fused.state[q]["kahan_compensation"])


@pytest.mark.slow
@pytest.mark.parametrize("key", KAHAN)
def test_a_saved_sum_goes_on_bit_for_bit(key):
    settings = dw.Settings(key, **kahan(fused_back_pass=True))
    first, params = built(settings, torch.bfloat16)
    walk(first, params, 4)
    second, others = built(settings, torch.bfloat16)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for p, q in zip(params, others, strict=True):
        q.data.copy_(p.detach())
    assert state_bytes(second) == state_bytes(first)
    assert torch.equal(walk(first, params, 4, start=4), walk(second, others, 4, start=4))


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ADAMW", "ADAMW_8BIT", "MUON"])
def test_a_checkpoint_keeps_the_sum(key):
    plan = RunPlan(dw.Settings(key, lr=1e-4, **kahan()), "swiss_roll", 8, dtype="bfloat16")
    straight, stopped = Training(plan), Training(plan)
    losses = [float(record.loss) for record in straight.steps()]
    steps = stopped.steps()
    for _ in range(4):
        next(steps)
    again = Checkpoint.of(stopped).restored(plan)
    assert [float(record.loss) for record in again.steps()] == losses[4:]
    for group, other in zip(straight.problem.groups, again.problem.groups, strict=True):
        for p, q in zip(group.params, other.params, strict=True):
            assert torch.equal(p, q)
            kept = straight.optimizer.state[p]["kahan_compensation"]
            assert torch.equal(kept, again.optimizer.state[q]["kahan_compensation"])


def test_only_bfloat16_is_summed_so():
    half, full = torch.nn.Parameter(torch.ones(8).bfloat16()), torch.nn.Parameter(torch.ones(8))
    optimizer = dw.build_optimizer(dw.Settings("SGD", lr=1e-4, kahan_summation=True), [half, full])
    for p in (half, full):
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert "kahan_compensation" in optimizer.state[half]
    assert not optimizer.state[full]
    assert full.tolist() == [float(np.float32(1) - np.float32(1e-4))] * 8


def test_kahan_summation_is_refused_where_it_cannot_be_with_the_fix():
    with pytest.raises(dw.SettingsError, match=r"[Oo]nly one can be on") as caught:
        dw.Settings("ADAMW", kahan_summation=True, stochastic_rounding=True)
    (fault,) = caught.value.faults
    assert fault.fix == {"stochastic_rounding": False}
    (asked,) = dw.Settings("ADAMW", kahan_summation=True).warnings({"dtype": "float32"})
    assert (asked.severity, asked.fix) == ("warning", {"kahan_summation": False})
    assert not dw.Settings("ADAMW", kahan_summation=True).warnings({"dtype": "bfloat16"})
    for key in ("SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD"):
        with pytest.raises(dw.SettingsError, match="eval mode"):
            dw.Settings(key, kahan_summation=True)
    with pytest.raises(ValueError, match="two ways to round"):
        adapt(torch.optim.SGD(parameters(torch.bfloat16), lr=0.1), kahan_summation=True, stochastic_rounding=True)


def test_it_is_the_benchs_own_and_no_preset_of_onetrainer_names_it():
    for key in KAHAN:
        for preset in spec(key).presets:
            assert "kahan_summation" not in preset.values


# ---------------------------------------------------------------------------------------------------- percentile clipping


class ReferenceClipping:
    """bitsandbytes' rule before 0.50, from its source: a ring of 100 squared norms, full of the first one at step 1."""

    def __init__(self, percentile):
        self.percentile, self.step, self.ring = percentile, 0, np.zeros(100)

    def scale(self, gradient):
        self.step += 1
        square = float(np.sum(np.asarray(gradient, dtype=np.float64) ** 2))
        if self.step == 1:
            self.ring[:] = square
        else:
            self.ring[self.step % 100] = square
        current, limit = math.sqrt(square), math.sqrt(sorted(self.ring)[self.percentile])
        return limit / current if current > limit else 1.0


@pytest.mark.parametrize("percentile", [1, 5, 50, 95, 99])
def test_clipping_is_the_older_bitsandbytes(percentile):
    generator = torch.Generator().manual_seed(percentile)
    reference, norms = ReferenceClipping(percentile), None
    clipped = 0
    for _ in range(330):  # the ring goes round three times
        size = math.exp(2 * float(torch.randn((), generator=generator)))
        gradient = size * torch.randn(7, 5, generator=generator)
        scale = reference.scale(gradient)
        expected = gradient * scale
        norms = clip_to_percentile(gradient, norms, percentile)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=0)
        clipped += scale < 1.0
    assert norms.shape == (100,)
    assert abs(clipped / 330 - (99 - percentile) / 100) < 0.1


@pytest.mark.parametrize("key", ["ADAMW", "SGD", "ADAMW_8BIT", "ADAFACTOR"])
def test_an_optimizer_steps_with_the_clipped_gradients_of_each_tensor(key):
    optimizer, params = built(dw.Settings(key, percentile_clipping=50))
    plain, others = built(dw.Settings(key))
    references = [ReferenceClipping(50) for _ in params]
    scales = []
    for step in range(12):
        backward(step, params)
        for p, q, reference in zip(params, others, references, strict=True):
            scales.append(reference.scale(p.grad))
            q.grad = p.grad * scales[-1]
        optimizer.step()
        plain.step()
        optimizer.zero_grad()
        for p, q in zip(params, others, strict=True):
            torch.testing.assert_close(p.detach(), q.detach(), rtol=1e-4, atol=1e-6)
            q.data.copy_(p.detach())  # rounding of the scale must not add up
    assert min(scales) < 0.5


@pytest.mark.parametrize("unscales", [True, False])
@pytest.mark.parametrize("options", [{}, {"kahan_summation": True}], ids=str)
def test_a_grad_scaler_does_not_change_the_clipping_of_a_step_that_undoes_the_scale(options, unscales):
    """Torch's fused Adam divides by the scale itself, and skips a step where a gradient is infinite."""

    def trained(*, scaled):
        generator = torch.Generator().manual_seed(1)
        dtype = torch.bfloat16 if options else torch.float32
        weight = torch.nn.Parameter(torch.ones(64, dtype=dtype))
        optimizer = dw.build_optimizer(
            dw.Settings("ADAM", lr=0.01, fused=True, percentile_clipping=50, **options), [weight]
        )
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2, enabled=scaled)
        for step in range(14):
            slope = torch.randn(64, generator=generator) * (1 + step % 3)
            infinite = step in (0, 5)
            if infinite and not scaled:
                continue  # as the scaler does
            scaler.scale((weight.float() * (slope * math.inf if infinite else slope)).sum()).backward()
            if unscales:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        return weight.detach(), optimizer.state[weight]["gnorm_vec"]

    for by_scaler, plain in zip(trained(scaled=True), trained(scaled=False), strict=True):
        torch.testing.assert_close(by_scaler, plain, rtol=1e-5, atol=0)


def test_a_gradient_of_zero_is_left_alone():
    gradient = torch.zeros(3)
    norms = clip_to_percentile(gradient, None, 50)
    assert gradient.tolist() == [0.0] * 3
    assert norms.tolist() == [0.0] * 100


def test_the_limit_follows_each_tensor_by_itself():
    small, large = (torch.nn.Parameter(torch.zeros(4)) for _ in range(2))
    optimizer = dw.build_optimizer(dw.Settings("SGD", lr=1.0, percentile_clipping=50), [small, large])
    for size in (1.0, 1.0, 10.0):
        small.grad, large.grad = torch.full((4,), size), torch.full((4,), 100.0)
        before = [p.detach().clone() for p in (small, large)]
        optimizer.step()
        moved = [float((old - p.detach())[0]) for old, p in zip(before, (small, large), strict=True)]
    assert moved == pytest.approx([1.0, 100.0])


@pytest.mark.parametrize("percentile", [0, 101])
def test_a_percentile_out_of_range_is_refused(percentile):
    with pytest.raises(ValueError, match="from 1 to 100"):
        adapt(torch.optim.SGD(parameters(), lr=0.1), percentile_clipping=percentile)


# ---------------------------------------------------------------------------------------------------- all together


@pytest.mark.slow
@pytest.mark.parametrize("key", ALONE)
def test_a_fused_back_pass_walks_the_same_path_with_the_other_two(key):
    options = {**everything(key), "fused_back_pass": False}
    plain = walk(*built(dw.Settings(key, **options), torch.bfloat16), 8)
    assert torch.equal(walk(*built(dw.Settings(key, **everything(key)), torch.bfloat16), 8), plain)
    assert torch.isfinite(plain).all()


@pytest.mark.parametrize("key", ALONE)
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)], ids=str)
def test_a_saved_state_goes_on_bit_for_bit(key, dtype):
    options = everything(key) if dtype is torch.bfloat16 else {"fused_back_pass": True, "percentile_clipping": 50}
    settings = dw.Settings(key, **options)
    first, params = built(settings, dtype)
    walk(first, params, 4)
    second, others = built(settings, dtype)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for p, q in zip(params, others, strict=True):
        q.data.copy_(p.detach())
    assert state_bytes(second) == state_bytes(first)
    assert torch.equal(walk(first, params, 4, start=4), walk(second, others, 4, start=4))


def test_a_loaded_state_is_a_copy():
    settings = dw.Settings("ADAMW", **ALL)
    first, params = built(settings, torch.bfloat16)
    walk(first, params, 1)
    second, others = built(settings, torch.bfloat16)
    second.load_state_dict(first.state_dict())
    saved = first.state[params[0]]["exp_avg"].clone()
    walk(second, others, 2)
    assert torch.equal(first.state[params[0]]["exp_avg"], saved)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ADAMW", "ADAFACTOR", "LAMB_8BIT"])
def test_a_stopped_run_goes_on_bit_for_bit(key):
    settings = dw.Settings(key, fused_back_pass=True, percentile_clipping=50)
    plan = RunPlan(settings, task="swiss_roll", steps=9, grad_norm=True)
    run, straight = Run(plan), run_to_end(Run(plan), progress=False)
    going = drive(run)
    for _ in range(5):
        next(going)
    going.close()
    assert run.can_continue
    run_to_end(run, progress=False)
    for name in straight.history.names():
        if name != "seconds":
            np.testing.assert_array_equal(run.history.column(name), straight.history.column(name), err_msg=name)


def test_the_optimizer_stays_the_back_ends_own():
    optimizer, params = built(dw.Settings("ADAMW", **ALL), torch.bfloat16)
    assert type(optimizer) is torch.optim.AdamW
    walk(optimizer, params, 1)
    assert set(optimizer.state) == set(params)
    assert [group["params"] for group in optimizer.param_groups] == [params[:1], params[1:]]
    assert optimizer.state_dict().keys() == {"state", "param_groups"}
