"""Which reader reads: classes that are known, their subclasses and wrappers, and classes that are not known."""

import functools
import gc
import logging
import math
import time
import types
import weakref

import prodigyopt
import pytest
import pytorch_optimizer
import torch

import diffopt_widgets as dw
from diffopt_widgets.rates.applied import RateMeter
from diffopt_widgets.rates.choice import NOT_KNOWN, READERS, load_reader, rate_kind
from diffopt_widgets.rates.unwrap import hooked_optimizer

LOG = logging.getLogger(__name__)
newer = pytest.mark.skipif(not hasattr(torch.optim, "Adafactor"), reason="torch has Adafactor from 2.5 on")


def weight():
    return torch.nn.Parameter(torch.linspace(-1.0, 1.0, 6).reshape(2, 3))


def give(*params):
    for p in params:
        p.grad = torch.full_like(p, 0.5)


def told(optimizer, steps, parameter):
    """The rates of some steps, as a meter that was there from the beginning says them."""
    meter, rates = RateMeter(optimizer), []
    for _ in range(steps):
        give(parameter)
        meter.before()
        optimizer.step()
        rates.append([float(rate) for rate in meter.after()])
    return rates


class Mine(torch.optim.Optimizer):
    """An optimizer of somebody's own: it moves by half its rate."""

    def __init__(self, params, lr=0.1, **entries):
        super().__init__(params, {"lr": lr, **entries})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad, alpha=0.5 * group["lr"])


class Adam(Mine):
    """A class of somebody's own with the name of a known one."""


class Labelled(torch.optim.NAdam):
    """A known class with a name."""

    label = "unet"


class Counted(torch.optim.NAdam):
    """A subclass that counts its steps and says so, which changes nothing."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.count = 0

    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        self.count += 1
        if self.count % 2 == 0:
            LOG.debug("step %d", self.count)
        return loss


class ByName(torch.optim.NAdam):
    """A subclass that calls its base by name."""

    def step(self, closure=None):
        return torch.optim.NAdam.step(self, closure)


class OfItsOwn(torch.optim.NAdam):
    """A subclass that steps in its own way."""

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.sub_(p.grad, alpha=3 * group["lr"])


class OfThatOne(OfItsOwn):
    """A bare subclass of it."""


class Holding:
    """A wrapper as trainers have them."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self, closure=None):
        return self.optimizer.step(closure)


class Scaling(Holding):
    """A wrapper that scales gradients, so that its optimizer's rate is not the one that acts."""

    def step(self, closure=None):
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                p.grad.mul_(0.01)
        return self.optimizer.step(closure)


class Lookahead(Holding):
    """A Lookahead of somebody's own, whose pull hides in another method."""

    def step(self, closure=None):
        self.optimizer.step(closure)
        self.pull()

    def pull(self):
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                p.data.mul_(0.5)


# ---------------------------------------------------------------------------------------------------- not known


@pytest.mark.parametrize("cls", [Mine, Adam, pytorch_optimizer.SWATS, pytorch_optimizer.SPAM])
def test_what_an_unknown_class_applies_is_not_said(cls):
    a, b = weight(), weight()
    optimizer = cls([{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.2}])
    assert all(math.isnan(rate) for rate in dw.applied_lr(optimizer))
    assert len(dw.applied_lr(optimizer)) == 2
    meter = RateMeter(optimizer)
    assert not meter.plain
    assert not meter.known
    with dw.watch(optimizer) as w:
        give(a, b)
        optimizer.step()
    assert w.history.column("lr").tolist() == [[0.1, 0.2]]
    assert "applied_lr" not in w.history.names()
    titles = [annotation.text.replace("<br>", " ") for annotation in w.figure().layout.annotations]
    assert titles[1] == "Group's learning rate; what is applied is not known"
    assert "Applied learning rate" not in titles


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
def test_what_torchs_adam_applies_is_its_groups_rate_also_as_a_tensor(lr):
    assert dw.applied_lr(torch.optim.Adam([weight()], lr=lr)) == [pytest.approx(0.1)]


def test_the_estimate_of_an_unknown_class_is_recorded_where_its_groups_hold_one():
    p = weight()
    optimizer = Mine([p], d=1e-4, d0=1e-6, d_coef=1.0)
    with dw.watch(optimizer) as w:
        give(p)
        optimizer.step()
    assert w.history.column("d").tolist() == [1e-4]
    assert "applied_lr" not in w.history.names()


@newer
def test_a_d_that_is_no_estimate_is_not_taken_for_one():
    p = weight()
    optimizer = torch.optim.Adafactor([p])  # its d is a threshold for clipping
    assert optimizer.param_groups[0]["d"] == 1.0
    with dw.watch(optimizer) as w:
        give(p)
        optimizer.step()
    assert "d" not in w.history.names()
    assert RateMeter(Mine([p], d=1.0)).d is None


def test_a_group_without_a_rate_is_not_known():
    class Without(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

        def step(self, closure=None): ...

    assert all(math.isnan(rate) for rate in dw.applied_lr(Without([weight()])))
    assert math.isnan(dw.applied_lr(torch.optim.LBFGS([weight()]))[0])


def test_a_class_whose_step_goes_along_two_lines_is_not_known_with_a_rank():
    a, b = weight(), weight()
    optimizer = pytorch_optimizer.GaLore([{"params": [a]}, {"params": [b], "rank": 1, "update_proj_gap": 9}], lr=0.1)
    first, second = dw.applied_lr(optimizer)
    assert first == 0.1
    assert math.isnan(second)


def test_every_reader_that_the_table_names_exists():
    names = {name for kinds in READERS.values() for name in kinds.values()}
    assert all(load_reader(name) for name in names)


# ---------------------------------------------------------------------------------------------------- subclasses


@pytest.mark.parametrize("cls", [Labelled, Counted, ByName])
@pytest.mark.parametrize("base_first", [True, False])
def test_a_subclass_that_steps_as_its_base_does_is_read_like_it(cls, base_first):
    if base_first:  # torch puts its hooks around the step of a class when the first of it is made
        torch.optim.NAdam([weight()])
    p = weight()
    rates = told(cls([p], lr=0.01), 2, p)
    assert rates == [[pytest.approx(0.010565, rel=1e-3)], [pytest.approx(0.007837, rel=1e-3)]]


@pytest.mark.parametrize("cls", [OfItsOwn, OfThatOne])
def test_a_subclass_with_a_step_of_its_own_is_not_known(cls):
    assert rate_kind(cls([weight()])) == NOT_KNOWN
    assert math.isnan(dw.applied_lr(cls([weight()]))[0])


# ---------------------------------------------------------------------------------------------------- wrappers


@pytest.mark.parametrize("layers", [1, 2, 12])
def test_wrappers_are_looked_through_however_many(layers):
    p = weight()
    optimizer = prodigyopt.Prodigy([p], d0=1e-3)
    wrapped = optimizer
    for _ in range(layers):
        wrapped = Holding(wrapped)
    assert dw.applied_lr(wrapped) == [1e-3]
    with dw.watch(wrapped) as w:
        give(p)
        wrapped.step()
    assert w.name == "Prodigy"
    assert w.history.column("applied_lr").tolist() == [[1e-3]]


@pytest.mark.parametrize("wrapper", [Scaling, Lookahead])
def test_a_wrapper_that_changes_what_is_applied_is_not_known(wrapper):
    p = weight()
    wrapped = wrapper(torch.optim.SGD([p], lr=0.1))
    assert math.isnan(dw.applied_lr(wrapped)[0])
    with dw.watch(wrapped) as w:
        give(p)
        wrapped.step()
    assert w.history.names() == ("lr", "seconds")


def test_an_object_that_holds_itself_or_fails_when_asked_ends_the_search():
    class Failing:
        @property
        def optimizer(self):
            raise RuntimeError("not ready")

    round_and_round = Holding(None)
    round_and_round.optimizer = Holding(round_and_round)
    for thing in (round_and_round, Failing()):
        with pytest.raises(TypeError, match=r"cannot be read.*pass the torch optimizer"):
            dw.applied_lr(thing)
        with pytest.raises(TypeError, match=r"cannot be watched.*pass the torch optimizer"):
            dw.watch(thing)


def test_lookahead_says_the_rate_inside_but_not_for_the_steps_that_pull():
    p = weight()
    optimizer = pytorch_optimizer.Lookahead(torch.optim.NAdam([p], lr=0.01), k=3)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer.optimizer)  # of the one inside
    with dw.watch(optimizer, schedule) as w:
        for _ in range(7):
            give(p)
            optimizer.step()
    assert w.name == "Lookahead of NAdam"
    (rates,) = w.history.column("applied_lr").T
    assert [math.isnan(rate) for rate in rates] == [False, False, True, False, False, True, False]
    q = weight()
    inside = told(torch.optim.NAdam([q], lr=optimizer.param_groups[0]["lr"]), 7, q)
    known = [place for place in range(7) if (place + 1) % 3]
    assert [rates[place] for place in known] == pytest.approx([inside[place][0] for place in known])


def test_ranger_does_not_know_the_steps_that_pull_and_turns_back_in_its_first():
    p = weight()
    rates = [rate for (rate,) in told(pytorch_optimizer.Ranger([p], lr=0.1, k=4), 8, p)]
    assert [math.isnan(rate) for rate in rates] == [False, False, False, True] * 2
    assert rates[:3] == [-0.1] * 3
    assert 0 < rates[5] < 0.01


# ---------------------------------------------------------------------------------------------------- steps of one's own


def twice(function):
    """A decorator that keeps the name of what it calls two times."""

    @functools.wraps(function)
    def both(*args):
        function(*args)
        return function(*args)

    return both


def shrink(optimizer):
    for p in optimizer.param_groups[0]["params"]:
        p.data.mul_(0.5)


def clips(self, closure=None):
    torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.01)
    return super(type(self), self).step(closure)


def pulls_back(self, closure=None):
    loss = super(type(self), self).step(closure)
    for group in self.param_groups:
        for p in group["params"]:
            p.data.lerp_(torch.ones_like(p), 0.5)
    return loss


def twice_in_a_row(self, closure=None):
    super(type(self), self).step(closure)
    return super(type(self), self).step(closure)


def twice_by_a_name(self, closure=None):
    step = super(type(self), self).step
    step(closure)
    return step(closure)


def again_and_again(self, closure=None):
    count = 0
    while count < 2:
        count += 1
        super(type(self), self).step(closure)


def at_times(self, closure=None):
    if closure is None:
        return None
    return super(type(self), self).step(closure)


def scales_gradients(self, closure=None):
    for p in self.param_groups[0]["params"]:
        p.grad *= 0.1
    return super(type(self), self).step(closure)


def scales_the_rate(self, closure=None):
    self.param_groups[0]["lr"] *= 0.1
    return super(type(self), self).step(closure)


def asks_a_function(self, closure=None):
    shrink(self)
    return super(type(self), self).step(closure)


def asks_a_method(self, closure=None):
    self.info()
    return super(type(self), self).step(closure)


def asks_a_method_by_another_name(self, closure=None):
    loss = super(type(self), self).step(closure)
    me = self
    me.info()
    return loss


def asks_a_value(self, closure=None):
    self.helper()
    return super(type(self), self).step(closure)


def defines_a_function(self, closure=None):
    def inside():
        shrink(self)

    inside()
    return torch.optim.SGD.step(self, closure)


def with_no_gradients(self, closure=None):
    self.zero_grad()
    return super(type(self), self).step(closure)


def of_another(self, closure=None):
    return self.optimizer.step(closure)


def base_step(self, closure=None):
    return torch.optim.SGD.step(self, closure)


@pytest.mark.parametrize(
    "step",
    [
        *(
            clips,
            pulls_back,
            twice_in_a_row,
            twice_by_a_name,
            again_and_again,
            at_times,
            scales_gradients,
            scales_the_rate,
        ),
        *(
            asks_a_function,
            asks_a_method,
            asks_a_method_by_another_name,
            asks_a_value,
            defines_a_function,
            with_no_gradients,
            of_another,
        ),
        *(twice(base_step), functools.partialmethod(base_step), twice(torch.optim.SGD.step)),
    ],
    ids=lambda step: getattr(step, "__name__", type(step).__name__),
)
def test_a_step_that_does_more_than_its_bases_is_not_known(step):
    optimizer = type("Own", (torch.optim.SGD,), {"step": step, "info": shrink})([weight()], lr=0.1)
    optimizer.helper = functools.partial(shrink, optimizer)
    assert math.isnan(dw.applied_lr(optimizer)[0])
    bare = type("Bare", (type(optimizer),), {})([weight()], lr=0.1)
    assert math.isnan(dw.applied_lr(bare)[0])


@pytest.mark.parametrize("name", ["_init_group", "_single_tensor_adam", "_multi_tensor"])
def test_a_subclass_with_its_own_version_of_what_a_step_calls_is_not_known(name):
    own = type("Own", (torch.optim.Adam,), {name: lambda self, *args: None})
    assert math.isnan(dw.applied_lr(own([weight()]))[0])
    other = type("Own", (torch.optim.Adam,), {"note": lambda self: None, "zero_grad": torch.optim.Adam.zero_grad})
    assert dw.applied_lr(other([weight()], lr=0.1)) == [0.1]


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("own", [scales_gradients, base_step])
def test_a_step_that_is_set_on_the_object_is_not_known(own, scheduled):
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    optimizer.step = types.MethodType(own, optimizer)
    if scheduled:  # torch puts a function around the one that it finds
        torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    assert math.isnan(dw.applied_lr(optimizer)[0])
    assert math.isnan(dw.applied_lr(Holding(optimizer))[0])


def test_what_torchs_schedulers_put_around_a_step_leaves_it_known():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    assert "step" in vars(optimizer)
    assert dw.applied_lr(optimizer) == [0.1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_leaves_it_known():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    optimizer.step = torch.compile(optimizer.step, backend="eager")
    assert dw.applied_lr(optimizer) == [0.1]
    optimizer.step = torch.compile(types.MethodType(scales_gradients, optimizer), backend="eager")
    assert math.isnan(dw.applied_lr(optimizer)[0])


class Noam(Holding):
    """The schedule of the transformer's paper, as it is often written."""

    turn = 0

    def step(self, closure=None):
        self.turn += 1
        for group in self.optimizer.param_groups:
            group["lr"] = 0.5 * self.turn
        return self.optimizer.step(closure)


class Helped(Holding):
    """A wrapper whose change hides in another method."""

    def step(self, closure=None):
        loss = self.optimizer.step(closure)
        self.info()
        return loss

    def info(self):
        shrink(self.optimizer)


class Twofold(Holding):
    """A wrapper that steps two times."""

    def step(self, closure=None):
        self.optimizer.step(closure)
        self.optimizer.step(closure)


class AllAtOnce(Holding):
    """A wrapper that scales all gradients in one call."""

    def step(self, closure=None):
        torch._foreach_mul_(self.grads, 0.1)
        return self.optimizer.step(closure)

    grads = ()


class EverySecond(Holding):
    """A wrapper that steps at every second call."""

    turn = 0

    def step(self, closure=None):
        self.turn += 1
        if self.turn % 2 == 0:
            self.optimizer.step(closure)


class InPlace(Holding):
    """A wrapper that shrinks a tensor which it holds."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.first = optimizer.param_groups[0]["params"][0].data

    def step(self, closure=None):
        self.first *= 0.5
        return self.optimizer.step(closure)


class OnTop(Helped):
    """A wrapper that only passes on to a base which does more."""

    def step(self, closure=None):
        return super().step(closure)


@pytest.mark.parametrize("wrapper", [Noam, Helped, Twofold, AllAtOnce, EverySecond, InPlace, OnTop])
def test_a_wrapper_that_does_more_than_to_pass_on_is_not_known(wrapper):
    assert math.isnan(dw.applied_lr(wrapper(torch.optim.SGD([weight()], lr=0.1)))[0])


def test_a_wrapper_with_a_step_on_the_object_is_not_known():
    wrapped = Holding(torch.optim.SGD([weight()], lr=0.1))
    wrapped.step = lambda: shrink(wrapped.optimizer)
    assert math.isnan(dw.applied_lr(wrapped)[0])


class Counting(Holding):
    """A wrapper that counts, times and logs."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.count, self.losses = 0, []

    def step(self, closure=None):
        begun = time.perf_counter()
        loss = self.optimizer.step(closure)
        self.optimizer.zero_grad()
        self.count = self.count + 1
        self.losses.append(loss)
        LOG.info("step %d took %.3f s", self.count, time.perf_counter() - begun)
        print(self.count)
        return loss


class Evaluating(Holding):
    """A wrapper that calls the closure itself."""

    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.optimizer.step()
        return loss


class Anything(Holding):
    """A wrapper that passes on whatever it gets."""

    def step(self, *args, **kwargs):
        with torch.no_grad():
            return self.optimizer.step(*args, **kwargs)


class Upon(Counting):
    """A wrapper on top of another."""

    def step(self, closure=None):
        return super().step(closure)


class WithScaler(Holding):
    """A wrapper for mixed precision."""

    scaler = None

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)

    def step(self):
        self.scaler.step(self.optimizer)
        self.scaler.update()


@pytest.mark.parametrize("wrapper", [Counting, Evaluating, Anything, Upon, WithScaler])
def test_a_wrapper_that_counts_logs_and_passes_on_is_looked_through(wrapper):
    p = weight()
    wrapped = wrapper(torch.optim.SGD([p], lr=0.1))
    for _ in range(2):  # what the first step sets does not hide the second
        assert dw.applied_lr(wrapped) == [0.1]
        give(p)
        before = p.detach().clone()
        wrapped.step()
        assert torch.allclose(before - p.detach(), torch.full_like(p, 0.05))


# ---------------------------------------------------------------------------------------------------- groups and tensors


@pytest.mark.parametrize("name", ["RAdam", "Adagrad", pytest.param("Adafactor", marks=newer), "ASGD"])
def test_the_rate_of_an_empty_group_is_the_one_it_says(name):
    optimizer = getattr(torch.optim, name)([{"params": [weight()]}, {"params": [], "lr": 0.25}])
    assert dw.applied_lr(optimizer)[1] == 0.25


@pytest.fixture
def overrides():
    """The configurations of single tensors that bitsandbytes keeps for all optimizers."""
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs the extra diffopt-widgets[bitsandbytes]")
    manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
    kept = dict(vars(manager))
    manager.initialize()
    yield bitsandbytes, manager
    vars(manager).update(kept)


@pytest.mark.parametrize(
    ("override", "known"), [({"lr": 0.5}, False), ({"max_unorm": 0.1}, False), ({"optim_bits": 32}, True)]
)
@pytest.mark.parametrize("when", ["by index", "by tensor", "by module", "late"])
def test_bitsandbytes_override_of_one_tensors_rate_makes_its_group_not_known(overrides, override, known, when):
    bitsandbytes, manager = overrides
    module = torch.nn.Linear(3, 2)
    a, b = module.weight, module.bias
    if when == "by tensor":
        manager.override_config(a, key_value_dict=override)
    elif when == "by index":
        manager.pid2config[id(a)] = override
        manager.register_parameters([a, b])
        manager.pid2config.clear()
    elif when == "by module":
        manager.register_module_override(module, "weight", override)
    optimizer = bitsandbytes.optim.AdamW([{"params": [a]}, {"params": [b]}], lr=0.001)
    meter = RateMeter(optimizer)
    if when == "late":
        manager.override_config(a, key_value_dict=override)
    for rates in (dw.applied_lr(optimizer), dw.applied_lr(Holding(optimizer)), meter.before(), meter.after()):
        assert math.isnan(rates[0]) is not known
        assert rates[1] == 0.001
    assert meter.plain is known


# ---------------------------------------------------------------------------------------------------- wrong objects


class LayerWise(torch.optim.Optimizer):
    """transformers' LayerWiseDummyOptimizer in short: it holds an optimizer for each layer, which backward steps."""

    def __init__(self, optimizer_dict):
        self.optimizer_dict = optimizer_dict
        super().__init__([torch.zeros(1)], {"lr": 1e-3})

    def step(self, closure=None): ...


def test_an_optimizer_that_holds_one_for_each_layer_says_what_to_pass():
    params = [weight(), weight()]
    dummy = LayerWise({p: torch.optim.Adam([p], lr=0.1) for p in params})
    for refuse in (dw.applied_lr, dw.watch):
        with pytest.raises(TypeError, match=r"holds 2 \(Adam\).*next\(iter\(optimizer.optimizer_dict.values\(\)\)\)"):
            refuse(dummy)
    assert dw.applied_lr(next(iter(dummy.optimizer_dict.values()))) == [0.1]


def a_list_of_optimizers():
    return [torch.optim.SGD([weight()], lr=0.1), torch.optim.Adam([weight()], lr=0.1)]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: torch.nn.Linear(2, 2), "the optimizer that trains this model"),
        (lambda: torch.optim.SGD, r"such as SGD\(model.parameters\(\)\)"),
        (lambda: Holding, "pass the torch optimizer"),
        (lambda: None, "pass the torch optimizer"),
        (lambda: "adam", "pass the torch optimizer"),
        (lambda: [weight()], "pass the torch optimizer"),
        (a_list_of_optimizers, r"holds 2 \(Adam, SGD\).*one of"),
    ],
)
def test_what_is_no_optimizer_is_refused_with_what_to_pass(make, what):
    for refuse in (dw.applied_lr, dw.watch):
        with pytest.raises(TypeError, match=what):
            refuse(make())


def test_an_optimizer_whose_init_failed_is_refused_by_the_watch_and_not_read_wrongly():
    class Broken(torch.optim.SGD):
        def __init__(self):
            made.append(self)
            raise ValueError("broken")

    made = []
    with pytest.raises(ValueError, match="broken"):
        Broken()
    for refuse in (dw.applied_lr, dw.watch):
        with pytest.raises(TypeError, match="after its __init__ has run"):
            refuse(made[0])


def test_the_innermost_optimizer_is_the_one_with_hooks():
    optimizer = torch.optim.SGD([weight()])
    assert hooked_optimizer(Holding(Holding(optimizer))) is optimizer


# ---------------------------------------------------------------------------------------------------- rates that are taught


def test_an_average_that_began_before_the_watch_is_not_known_until_that_has_faded():
    p = weight()
    optimizer = pytorch_optimizer.DAdaptAdam([p], betas=(0.5, 0.9))
    told(optimizer, 3, p)
    late = [rate for (rate,) in told(optimizer, 16, p)]
    faded = math.ceil(math.log(1e-4) / math.log(0.5))
    assert [math.isnan(rate) for rate in late] == [True] * (faded - 1) + [False] * (16 - faded + 1)


def test_the_first_groups_rate_stands_for_all_in_pytorch_optimizers_prodigy():
    a, b = weight(), weight()
    optimizer = pytorch_optimizer.Prodigy([{"params": [a], "lr": 1.0}, {"params": [b], "lr": 0.0}], d0=1e-3)
    give(a, b)
    before = b.detach().clone()
    assert dw.applied_lr(optimizer) == [1e-3, 1e-3]
    optimizer.step()
    assert not torch.equal(before, b)


def test_rprops_coming_step_sizes_are_not_known_before_the_step():
    p = weight()
    optimizer = torch.optim.Rprop([p], lr=0.01)
    assert dw.applied_lr(optimizer) == [0.01]
    assert told(optimizer, 3, p)[-1] == [pytest.approx(0.01 * 1.2**2)]
    assert math.isnan(dw.applied_lr(optimizer)[0])


def test_trust_ratios_need_a_gradient():
    p = weight()
    optimizer = pytorch_optimizer.LARS([p], lr=0.1)
    assert math.isnan(dw.applied_lr(optimizer)[0])
    give(p)
    assert dw.applied_lr(optimizer) == [pytest.approx(0.1 * 1e-3 * float(p.detach().norm() / p.grad.norm()))]


def lars(*params, **options):
    return pytorch_optimizer.LARS([{"params": [p]} for p in params], lr=0.1, trust_coefficient=0.1, **options)


def test_the_average_of_lars_that_began_before_the_meter_is_not_known_until_that_has_faded():
    matrix, vector = weight(), torch.nn.Parameter(torch.ones(4))
    optimizer = lars(matrix, vector, momentum=0.5)
    faded = math.ceil(math.log(1e-4) / math.log(0.5))
    first, late, columns = RateMeter(optimizer), None, []
    for step in range(3 + faded):
        if step == 3:
            late = RateMeter(optimizer)
        for p in (matrix, vector):
            p.grad = torch.full_like(p, 10.0 ** (step % 3))
        meters = [meter for meter in (first, late) if meter is not None]
        for meter in meters:
            meter.before()
        optimizer.step()
        columns.append([[float(rate) for rate in meter.after()] for meter in meters])
    for known, told in columns[3:-1]:
        assert math.isfinite(known[0])
        assert math.isnan(told[0])
        assert told[1] == pytest.approx(0.1)  # the ratio of a vector is always 1
    known, told = columns[-1]
    assert told == pytest.approx(known, rel=1e-2)


def test_a_tensor_that_gets_its_first_gradient_late_has_a_lars_rate_from_then_on():
    a, b = weight(), weight()
    optimizer = lars(a, b)
    meter = RateMeter(optimizer)
    for step in range(4):
        give(a, *([b] if step >= 2 else []))
        old, ratio = b.detach().clone(), 0.1 * float(b.detach().norm()) / (0.5 * math.sqrt(6))
        meter.before()
        optimizer.step()
        told = [float(rate) for rate in meter.after()]
        assert math.isfinite(told[0])
        if step == 2:  # its first step, at the rate of that gradient alone
            assert told[1] == pytest.approx(0.1 * ratio)
            assert float((b.detach() - old).norm()) == pytest.approx(told[1] * 0.5 * math.sqrt(6), rel=1e-5)
    assert math.isfinite(told[1])


@pytest.mark.slow
def test_the_averages_of_lars_keep_no_weights_alive_that_were_replaced():
    optimizer = lars(weight())
    meter, past = RateMeter(optimizer), []
    for _ in range(3):
        new = weight()
        give(new)
        optimizer.param_groups[0]["params"] = [new]
        optimizer.state.clear()
        meter.before()
        optimizer.step()
        meter.after()
        past.append(weakref.ref(new))
        del new
    gc.collect()
    assert [ref() is None for ref in past] == [True, True, False]


@pytest.mark.parametrize("options", [{}, {"dampening": 0.5}, {"momentum": 0.0}])
@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_moves_along_a_steady_gradient_by_the_rate_that_is_told(nesterov, options):
    p = weight()
    optimizer = lars(p, nesterov=nesterov, **{"momentum": 0.5, **options})
    (group,) = optimizer.param_groups
    meter, gathered = RateMeter(optimizer), 0.0
    for _ in range(5):
        give(p)
        size, old = float(p.grad.norm()), p.detach().clone()
        meter.before()
        optimizer.step()
        (told,) = meter.after()
        # The weights of all steps in the direction, as the package gathers them: its momentum is not divided by their sum.
        gathered = group["momentum"] * gathered + (1.0 - group["dampening"] if group["momentum"] else 1.0)
        weights = 1.0 + group["momentum"] * gathered if nesterov else gathered
        assert float((p.detach() - old).norm()) == pytest.approx(float(told) * weights * size, rel=1e-4)


class Batch:
    """Something large in a frame of the loop."""


@pytest.mark.slow
@pytest.mark.parametrize("at", ["before", "after"])
def test_an_error_of_a_reading_keeps_nothing_of_the_loop_alive(at):
    def loop():
        batch, p = Batch(), weight()
        optimizer = torch.optim.Adagrad([p], lr=0.1, lr_decay=0.1) if at == "before" else lars(p)
        meter = RateMeter(optimizer)
        give(p)
        if at == "before":
            optimizer.state[p]["step"] = "no number"
        meter.before()
        if at == "after":
            optimizer.param_groups[0]["momentum"] = "no number"
            meter.after()
        return meter, weakref.ref(batch)

    meter, batch = loop()
    gc.collect()
    assert meter.trouble is not None
    assert batch() is None


def test_the_first_version_of_dadaptadam_is_read_like_the_later_one():
    from dadaptation import DAdaptAdam
    from dadaptation.experimental.dadapt_adam_preprint import DAdaptAdamPreprint

    columns = []
    for cls in (DAdaptAdam, DAdaptAdamPreprint):
        p = weight()
        optimizer = cls([p], d0=1e-3, growth_rate=1.0)  # the estimate stays, which they make in different ways
        with dw.watch(optimizer) as w:
            for step in range(3):
                optimizer.param_groups[0]["lr"] = 1.0 - step / 4
                give(p)
                optimizer.step()
        columns.append(w.history.column("applied_lr")[:, 0].tolist())
    assert columns[0] == columns[1]
    assert columns[0] == pytest.approx([1e-3, 1e-3 * (0.9 + 0.75) / 1.9, 1e-3 * (0.81 + 0.9 * 0.75 + 0.5) / 2.71])
