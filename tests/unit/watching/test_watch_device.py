"""Recording never waits for the device: only publishing, about ten times a second, may read a tensor's value."""

from __future__ import annotations

import contextlib
import functools
import gc
import math
import weakref

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import diffopt_widgets as dw
from diffopt_widgets.training.measures import MEASURES, _gather

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch itself tells of waiting, but only on a GPU")
aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense.default,  # what item(), float(), int(), bool() and index() of a tensor come to
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
}
READERS = {"__array__", "__bool__", "__float__", "__index__", "__int__", "cpu", "item", "numpy", "tolist"}


class Waited(AssertionError):
    """A tensor's value was read."""


class NoWaiting(TorchDispatchMode):
    """Refuses what waits for the device, also from within torch's own functions."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in WAITING:
            raise Waited(func)
        return func(*args, **kwargs or {})


class NoReading(TorchFunctionMode):
    """Refuses methods that copy a tensor to the host: on a CPU some of them reach no dispatcher."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in READERS:
            raise Waited(func)
        return func(*args, **kwargs or {})


@contextlib.contextmanager
def as_on_a_device(monkeypatch):
    """Tensors pretend not to be on the CPU, and none can be read."""
    with monkeypatch.context() as patched, NoWaiting(), NoReading():
        patched.setattr(torch.Tensor, "is_cpu", property(lambda _: False))
        yield


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=GPU)])
def device(request, monkeypatch):
    """Return where the tensors are, and what a watch's own calls are to be made in there."""
    if request.param == "cuda":
        return "cuda", strictly
    return "cpu", functools.partial(as_on_a_device, monkeypatch)


@contextlib.contextmanager
def strictly():
    """Have torch raise where a GPU is waited for."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def watch_within(refusing, optimizer, **options):
    """Watch, the watch's own hooks and `log` within a context; the optimizer's step may do what it does."""

    def guarded(call):
        def within(*args, **kwargs):
            with refusing():
                return call(*args, **kwargs)

        return within

    w = dw.watch(optimizer, **options)
    recorder = w._recorder
    recorder._due = math.inf  # nothing is published
    recorder._report = raise_it
    recorder.log = guarded(recorder.log)
    for hooks in (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks):
        for key, hook in hooks.items():
            if getattr(hook, "__self__", None) is recorder:
                hooks[key] = guarded(hook)
    return w


def raise_it(doing, error):
    raise error


def step_some(optimizer, params, w):
    if hasattr(optimizer, "train"):
        optimizer.train()
    for _ in range(3):
        optimizer.zero_grad()
        loss = sum(p.float().square().sum() for p in params)
        loss.backward()
        optimizer.step()
        w.log(loss=loss)
    assert len(w._recorder.published) == 0
    assert len(w.history) == 3


def weights(device, dtype=torch.float32):
    shapes = ((4, 6), (24,))
    return [torch.nn.Parameter(torch.linspace(0.5, 1.5, 24).reshape(shape).to(device, dtype)) for shape in shapes]


def test_the_spies_see_every_way_to_read_a_value(monkeypatch):
    value = torch.tensor(1.0)
    reads = [float, int, bool, torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu]
    others = [lambda x: x if x > 0 else -x, lambda x: [1, 2][x.long()], lambda x: torch.equal(x, x), torch.nonzero]
    with as_on_a_device(monkeypatch):
        for read in (*reads, *others):
            with pytest.raises(Waited):
                read(value)
    with pytest.raises(Waited), NoWaiting():
        value.item()  # without the other spy, as torch's own functions do it


@pytest.mark.parametrize("key", dw.list_optimizers())
def test_rates_and_values_are_recorded_without_waiting(key, device):
    where, refusing = device
    params = weights(where)
    optimizer = dw.build_optimizer(dw.Settings(key), params)
    with watch_within(refusing, optimizer) as w:
        step_some(optimizer, params, w)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_measures_are_taken_without_waiting(dtype, every, device):
    where, refusing = device
    params = weights(where, dtype)
    optimizer = torch.optim.AdamW([{"params": [p]} for p in params], lr=0.1)
    with watch_within(refusing, optimizer, measure=list(MEASURES), every=every) as w:
        step_some(optimizer, params, w)
    assert set(MEASURES) - set(w.history.names()) == ({"bf16_lost"} if dtype is torch.float32 else set())


@pytest.mark.parametrize("options", [{"relative_step": True, "lr": None}, {"fused_back_pass": True}])
def test_other_ways_to_step_are_recorded_without_waiting(options, device):
    where, refusing = device
    params = weights(where)
    optimizer = dw.build_optimizer(dw.Settings("ADAFACTOR", **options), params)
    with watch_within(refusing, optimizer, measure=["grad_norm", "update_rms"]) as w:
        step_some(optimizer, params, w)


def test_a_rate_and_a_skipped_step_on_the_device_are_not_waited_for(device):
    where, refusing = device
    params = weights(where)
    optimizer = torch.optim.Adam(params, lr=torch.tensor(0.1, device=where), fused=True)
    scaler = torch.amp.GradScaler(where, init_scale=4.0)
    with watch_within(refusing, optimizer, measure="grad_norm") as w:
        for step in range(3):
            optimizer.zero_grad()
            scaler.scale(sum(p.square().sum() for p in params) * (math.inf if step == 1 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.param_groups[0]["lr"].mul_(0.5)  # as a schedule does it
        assert len(w._recorder.published) == 0
    assert w.history.column("lr")[:, 0].tolist() == pytest.approx([0.1, 0.025])
    assert w.history.step.tolist() == [1, 2]


def test_a_value_is_kept_as_it_was_when_it_was_logged(device):
    where, refusing = device
    optimizer = torch.optim.SGD(weights(where), lr=0.1)
    running = torch.zeros(1, device=where)
    with watch_within(refusing, optimizer) as w:
        for _ in range(3):
            optimizer.step()
            running += 1
            w.log(running=running)
    assert w.history.column("running").tolist() == [1.0, 2.0, 3.0]


@pytest.mark.slow
@pytest.mark.parametrize("closure", [False, True])
def test_nothing_of_a_loss_is_kept_but_its_value(closure, device):
    """Its graph holds the activations of the whole model."""

    class Activation:
        def __init__(self, tensor):
            self.tensor = tensor

    kept = weakref.WeakSet()

    def pack(tensor):
        held = Activation(tensor)
        kept.add(held)
        return held

    where, refusing = device
    params = weights(where)
    optimizer = torch.optim.SGD(params, lr=0.1)
    with watch_within(refusing, optimizer, measure="grad_norm") as w:

        def step():
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
                loss = sum(p.square().sum() for p in params)

            def backward():
                loss.backward(retain_graph=True)
                return loss

            if closure:
                optimizer.step(backward)
            else:
                backward()
                optimizer.step()
            w.log(loss=loss)
            assert kept

        step()
        gc.collect()
        assert not kept
        assert w.history.column("loss")[0] > 0


def test_values_of_several_devices_meet_where_the_host_need_not_wait_for_them():
    host, elsewhere = torch.ones(()), torch.ones((), device="meta")
    assert _gather([host, elsewhere]).device.type == "meta"
    assert _gather([host, host]).device.type == "cpu"
