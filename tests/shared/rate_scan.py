"""Scan of optimizer classes: the rate that is said for each of them, against how far its weights move.

A class gets a constant gradient, for which the direction of its step is known: the gradient, its sign, an average of either
that starts at zero. The learning rate falls at every step, so that a rate read at another moment is seen, and tensors of
several shapes and sizes show a scale of their own. If the movement is the said rate times one of these directions, at all
steps and for all tensors, the rate is right. If no direction fits, it is WRONG: give the class another reader in
`rates/choice.py`, let it be not known, or add the law of its direction here.

`python tests/shared/rate_scan.py` writes docs/applied-rates.md.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import re
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.rates.applied import RateMeter, applied_lr
from diffopt_widgets.rates.choice import GROUP, INNER, NOT_KNOWN, rate_kind

PAGE = Path(__file__).parents[2] / "docs" / "applied-rates.md"
STEPS = 12
MODULES = {
    "torch": ("torch.optim",),
    "prodigyopt": ("prodigyopt", "prodigyopt.prodigy_reference"),
    "dadaptation": (
        "dadaptation",
        "dadaptation.experimental.dadapt_adam_preprint",
        "dadaptation.experimental.dadapt_adan_ip",
    ),
    "schedulefree": ("schedulefree",),
    "prodigyplus": ("prodigyplus",),
    "lion_pytorch": ("lion_pytorch",),
    "came_pytorch": ("came_pytorch",),
    "bitsandbytes": ("bitsandbytes.optim",),
    "adv_optm": ("adv_optm",),
    "pytorch_optimizer": ("pytorch_optimizer",),
    "transformers": ("transformers.optimization",),
}
"""Modules whose optimizer classes are scanned, by package."""
DISTRIBUTIONS = {
    "prodigyplus": "prodigy-plus-schedule-free",
    "lion_pytorch": "lion-pytorch",
    "came_pytorch": "came-pytorch",
}

# ---------------------------------------------------------------------------------------------------- tensors


def parameters(shapes="all"):
    """Make parameters of several sizes; each is a group of its own in a scan."""
    starts = [torch.linspace(0.25, 0.75, 12), torch.linspace(-1.0, 2.0, 7), torch.linspace(-0.3, 0.4, 30).reshape(6, 5)]
    if shapes == "matrices":
        starts = [torch.linspace(-1.0, 1.0, 400).reshape(40, 10), torch.linspace(-0.3, 0.4, 400).reshape(10, 40)]
    return [torch.nn.Parameter(start) for start in starts]


def gradients(params):
    """Make the constant gradients: sizes of rank 1, so that factored averages are exact, and signs of full rank."""
    torch.manual_seed(0)
    result = []
    for p in params:
        if p.ndim == 1:
            size, sign = torch.linspace(0.5, 1.5, len(p)), torch.ones(len(p))
            sign[::3] = -1.0
        else:
            size = torch.outer(torch.linspace(0.5, 1.5, p.shape[0]), torch.linspace(0.4, 1.0, p.shape[1]))
            sign = torch.randn(p.shape).sign()
        result.append(size * sign)
    return result


# ---------------------------------------------------------------------------------------------------- directions


def laws(defaults):
    """Return the directions that a step may have under a constant gradient g, by what the page calls them.

    Each takes g, the number of the step from 1, and the estimates before each step so far (1 where there are none).
    """
    betas = [b for b in (defaults.get("betas") or ()) if isinstance(b, float)]
    singles = [defaults[name] for name in ("momentum", "beta1", "beta") if isinstance(defaults.get(name), float)]
    beta1 = next((b for b in (*betas[:1], *singles, 0.9) if 0 < b < 1), 0.9)
    last = max(betas[:2]) if betas else defaults.get("alpha", defaults.get("beta2", 0.999))
    beta2 = last if isinstance(last, float) and 0 < last < 1 else 0.999

    def full(t):
        return (1 - beta1**t) / (1 - beta1)

    return {
        "the sign of the gradient": lambda g, t, past: g.sign(),
        "the gradient": lambda g, t, past: g,
        "the momentum": lambda g, t, past: g * full(t),
        "the averaged gradient": lambda g, t, past: g * (1 - beta1**t),
        "the averaged sign": lambda g, t, past: g.sign() * (1 - beta1**t),
        "Adagrad's step": lambda g, t, past: g.sign() / math.sqrt(t),
        "RMSprop's step": lambda g, t, past: g.sign() / math.sqrt(1 - beta2**t),
        "Adam's step without bias correction": lambda g, t, past: g.sign() * (1 - beta1**t) / math.sqrt(1 - beta2**t),
        "LAMB's step": lambda g, t, past: g.sign() / math.sqrt(1 - beta2**t) / (1 - beta1),
        "Adadelta's step": adadelta,
        "AdEMAMix's step": lambda g, t, past: g.sign() * (1 + 5 * (1 - 0.9999**t)),
        "Prodigy's step": functools.partial(prodigy, beta1, beta2),
    }


def adadelta(g, t, past):
    square = change = torch.zeros_like(g)
    step = torch.zeros_like(g)
    for _ in range(t):
        square = 0.9 * square + 0.1 * g * g
        step = ((change + 1e-6) / (square + 1e-6)).sqrt() * g
        change = 0.9 * change + 0.1 * step * step
    return step


def prodigy(beta1, beta2, g, t, past):
    """Both averages are weighted by the estimates of their steps."""
    m = sum((1 - beta1) * beta1 ** (t - 1 - i) * d for i, d in enumerate(past))
    v = sum((1 - beta2) * beta2 ** (t - 1 - i) * d * d for i, d in enumerate(past))
    return g.sign() * m / math.sqrt(v)


# ---------------------------------------------------------------------------------------------------- classes


@dataclass
class How:
    """How a class is built and looked at."""

    options: dict = field(default_factory=dict)
    lr: float | None = None
    shapes: str = "all"
    at_z: bool = False
    """Whether the point z takes the step and the weights follow."""
    law: str = ""
    """The only direction to try; empty for all. `orthogonal`: a matrix whose singular values lie near 1."""


SCHEDULE_FREE = How(at_z=True, options={"warmup_steps": 4})
FROM_A_LARGER_D = How({"d0": 1e-3}, lr=1.0)
HOW = {
    "torch.Muon": How(shapes="matrices", law="orthogonal"),
    "dadaptation.DAdaptAdam": How({"d0": 1e-3}, 1.0, law="Adam's step without bias correction"),
    "dadaptation.DAdaptLion": FROM_A_LARGER_D,
    "dadaptation.DAdaptAdamPreprint": How({"d0": 1e-3}, 1.0, law="Adam's step without bias correction"),
    "prodigyopt.Prodigy": FROM_A_LARGER_D,
    "prodigyopt.ProdigyReference": FROM_A_LARGER_D,
    "schedulefree.AdamWScheduleFree": SCHEDULE_FREE,
    "schedulefree.AdamWScheduleFreePaper": SCHEDULE_FREE,
    "schedulefree.AdamWScheduleFreeReference": SCHEDULE_FREE,
    "schedulefree.SGDScheduleFree": SCHEDULE_FREE,
    "schedulefree.SGDScheduleFreeReference": SCHEDULE_FREE,
    "schedulefree.AdamWScheduleFreeClosure": SCHEDULE_FREE,
    "schedulefree.SGDScheduleFreeClosure": SCHEDULE_FREE,
    "schedulefree.RAdamScheduleFree": How(at_z=True),
    "schedulefree.RAdamScheduleFreeClosure": How(at_z=True),
    "bitsandbytes.SGD": How({"momentum": 0.9}),
    "bitsandbytes.SGD32bit": How({"momentum": 0.9}),
    "bitsandbytes.SGD8bit": How({"momentum": 0.9}),
    "bitsandbytes.LARS": How({"momentum": 0.9}),
    "bitsandbytes.LARS32bit": How({"momentum": 0.9}),
    "bitsandbytes.LARS8bit": How({"momentum": 0.9}),
    "pytorch_optimizer.DAdaptAdam": How({"d0": 1e-3}, 1.0, law="Adam's step without bias correction"),
    "pytorch_optimizer.DAdaptSGD": How({"d0": 1e-3}, 1.0, law="the averaged gradient"),
    "pytorch_optimizer.DAdaptLion": FROM_A_LARGER_D,
    "pytorch_optimizer.Prodigy": FROM_A_LARGER_D,
    "pytorch_optimizer.MARS": How({"weight_decay_1d": 0.0}, lr=1e-3),
    "pytorch_optimizer.Ranger": How({"use_gc": False}),
    "pytorch_optimizer.Ranger21": How({"num_iterations": 12}, law="twin"),
    "pytorch_optimizer.ScheduleFreeAdamW": SCHEDULE_FREE,
    "pytorch_optimizer.ScheduleFreeSGD": SCHEDULE_FREE,
    "pytorch_optimizer.ScheduleFreeRAdam": How(at_z=True),
    "transformers.Adafactor": How({"scale_parameter": True, "relative_step": False}, lr=0.01),
}
UNMEASURED = {"dadaptation.DAdaptAdaGrad": "no single step has a rate; shown as d × rate, and said to be that"}
VARIANTS = {
    "torch.Adagrad": {"lr_decay": 0.5},
    "torch.Muon": {"adjust_lr_fn": "match_rms_adamw"},
    "torch.SGD": {"momentum": 0.9},
    "torch.RAdam": {"betas": (0.9, 0.99)},
    "pytorch_optimizer.Prodigy": {"bias_correction": True},
    "pytorch_optimizer.DAdaptAdam": {"bias_correction": True},
    "pytorch_optimizer.RAdam": {"degenerated_to_sgd": True},
    "pytorch_optimizer.Lamb": {"adam": True},
    "pytorch_optimizer.LARS": {"momentum": 0.0, "nesterov": False},
    "pytorch_optimizer.Ranger21": {"disable_lr_scheduler": True},
}
"""Options that change the rate of a class, tried besides its defaults."""
SAID = {
    GROUP: "the group's rate",
    NOT_KNOWN: "not known",
    INNER: "what the optimizer inside applies",
    "wrappers:Lookahead": "what the optimizer inside applies; not known at the steps that pull to the slow weights",
    "torch_own:Adafactor": "min(rate, 1/√t) × max(eps2, RMS of the tensor)",
    "torch_own:Adagrad": "rate / (1 + steps × lr_decay)",
    "torch_own:ASGD": "the rate that the last step computed for this one",
    "torch_own:Muon": "rate × scale for the shape of each matrix",
    "torch_own:RAdam": "rate × rectification; the rate alone in the first steps, which are SGD's",
    "torch_own:Rprop": "mean of the step sizes of all weights, after the step",
    "pytorch_optimizers:AdaMod": "rate × mean share that its bound leaves, after the step",
    "pytorch_optimizers:DAdaptAdam": "d × rate of the first group, averaged by beta1",
    "pytorch_optimizers:DAdaptSGD": "d × rate of the first group / first gradient norm, averaged by the momentum",
    "pytorch_optimizers:Estimate": "d × rate of the first group",
    "pytorch_optimizers:Lamb": "rate × trust ratio of each tensor, after the step",
    "pytorch_optimizers:Lars": "rate × trust ratio of each matrix, averaged by the momentum",
    "pytorch_optimizers:Mars": "rate, and for vectors rate × lr_1d / lr",
    "pytorch_optimizers:Prodigy": "d × rate of the first group × bias correction",
    "pytorch_optimizers:RAdam": "rate × rectification",
    "pytorch_optimizers:Ranger": "rate × rectification; not known at the steps that pull to the slow weights",
    "pytorch_optimizers:Ranger21": "rate × its own warm-up and warm-down; not known at the steps that pull to the slow weights",
    "pytorch_optimizers:ScheduleFree": "rate of z: the group's × warm-up",
    "pytorch_optimizers:ScheduleFreeRAdam": "rate of z: the group's × rectification",
    "pytorch_optimizers:WithoutRank": "the group's rate; not known for a group with a rank",
    "per_tensor:TransformersAdafactor": "rate or relative step × max(eps2, RMS of the tensor)",
    "estimating:Prodigy": "d × rate × bias correction",
    "preprint:DAdaptAdamPreprint": "d × rate, averaged by beta1",
    "schedule_free:ScheduleFree": "rate of z: the group's × warm-up",
    "schedule_free:ScheduleFreeRAdam": "rate of z: the group's × rectification",
    "per_tensor:Trust": "rate × limit of each tensor, after the step",
}
"""What is said for a class, by its reader; for a class of the catalogue it is its spec's `rate_words`."""


def classes(package):
    """Return the optimizer classes of a package by name; none if it is not installed."""
    try:
        modules = [importlib.import_module(name) for name in MODULES[package]]
    except ImportError:
        return {}
    found = {
        name: thing for module in modules for name, thing in sorted(vars(module).items()) if isinstance(thing, type)
    }
    return {
        name: cls
        for name, cls in found.items()
        if issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
        if cls.__module__.split(".")[0] == package and not inspect.isabstract(cls)
    }


def catalogued():
    """Return the keys of the catalogue by package and class."""
    result = {}
    for key in list_optimizers():
        module, _, name = spec(key).target.partition(":")
        result[f"{module.split('.')[0]}.{name}"] = key
    return result


def kind_of(cls):
    """Return the reader of a class, without making an optimizer."""
    return rate_kind(cls.__new__(cls))


def build(label, cls, params, **more):
    """Make an optimizer of these parameters, each a group of its own, without weight decay, at its own default rate."""
    how = HOW.get(label, How())
    takes = inspect.signature(cls.__init__).parameters
    default = takes["lr"].default if "lr" in takes else None
    lr = how.lr or (default if isinstance(default, float) and default > 0 else 0.01)
    decay = {"weight_decay": 0.0} if "weight_decay" in takes else {}
    optimizer = cls([{"params": [p]} for p in params], lr=lr, **{**decay, **how.options, **more})
    if callable(getattr(optimizer, "train", None)):
        optimizer.train()
    return optimizer, lr


# ---------------------------------------------------------------------------------------------------- measuring


@dataclass
class Seen:
    """What the steps of one optimizer were said and seen to do."""

    said: list[list[float]] = field(default_factory=list)
    asked: list[list[float]] = field(default_factory=list)
    """What `applied_lr` said before each step."""
    begun: list[list[float]] = field(default_factory=list)
    moved: list[list[torch.Tensor]] = field(default_factory=list)
    d: list[float] = field(default_factory=list)


def run(optimizer, lr, params, *, at_z=False, wrapper=None, step=None, steps=STEPS):
    """Take steps at a falling rate."""
    meter, seen, grads = RateMeter(optimizer if wrapper is None else wrapper), Seen(), gradients(params)
    sparse = type(optimizer).__name__ == "SparseAdam"
    stepped = optimizer if wrapper is None else wrapper
    groups = getattr(stepped, "param_groups", optimizer.param_groups)
    closure = "Closure" in type(stepped).__name__ or type(stepped).__name__.endswith("SAM")

    def place(p):
        state = stepped.state[p] if at_z else {}
        return state.get("z", p).detach().double().clone()

    def give():
        for p, g in zip(params, grads, strict=True):
            p.grad = g.to_sparse() if sparse else g.clone()
        return torch.tensor(1.0)

    for t in range(steps):
        for group in groups:
            group["lr"] = lr * (1 - t / 20)
        before = [place(p) for p in params]
        give()
        seen.asked.append(applied_lr(optimizer if wrapper is None else wrapper))
        seen.begun.append([float(rate) for rate in meter.before()])
        seen.d.append(1.0 if meter.d is None else meter.d)
        (step or stepped.step)(*([give] if closure else []))
        seen.said.append([float(rate) for rate in meter.after()])
        seen.moved.append([old - place(p) for p, old in zip(params, before, strict=True)])
    return seen


def fits(seen, grads, law):
    """Return whether all movements are the said rates times a direction; steps that are not known do not count."""
    known = 0
    for t, (rates, moves) in enumerate(zip(seen.said, seen.moved, strict=True), start=1):
        for rate, moved, g in zip(rates, moves, grads, strict=True):
            if math.isnan(rate):
                continue
            known += 1
            should = rate * law(g.double(), t, seen.d[:t])
            if not torch.isfinite(should).all():
                return False
            least = 3e-7  # what float32 keeps of weights near 1
            if abs(moved.abs().mean() - should.abs().mean()) > 2e-3 * should.abs().mean() + least:
                return False
            if rate and not bool((moved.sign() == should.sign())[should.abs() > 2 * least].all()):
                return False
    return 2 * known > len(seen.said) * len(grads)


def then(first, second):
    """Return the direction that is the first one for the first five steps or six, as of rectified classes."""
    return lambda change: lambda g, t, past: (first if t < change else second)(g, t, past)


def verdict(label, cls, **more):
    """Return `right: ...`, `not known` or `WRONG: ...` for a class, with the way in which it was seen."""
    how = HOW.get(label, How())
    params = parameters(how.shapes)
    if kind_of(cls) == NOT_KNOWN:
        return "not known"
    optimizer, lr = build(label, cls, params, **more)
    seen = run(optimizer, lr, params, at_z=how.at_z)
    wrong = [(a, b) for a, b in zip(seen.asked, seen.begun, strict=True) if not same(a, b)]
    if wrong:
        return f"WRONG: applied_lr says {wrong[0][0]}, a meter that was there before {wrong[0][1]}"
    grads = gradients(params)
    if how.law == "orthogonal":
        return orthogonal(seen)
    if how.law == "twin":
        return twin(label, cls, seen, more)
    directions = laws({**optimizer.defaults, **{k: v for k, v in more.items() if k == "momentum"}})
    if how.law:
        directions = {how.law: directions[how.law]}
    else:
        turn = then(directions["the gradient"], directions["the sign of the gradient"])
        directions |= {f"the gradient for {n - 1} steps, then its sign": turn(n) for n in (5, 6)}
    for words, law in directions.items():
        if fits(seen, grads, law):
            return f"right: {words}" + (", of the point z" if how.at_z else "")
    ratios = [float(m.abs().mean() / r) if r else math.nan for m, r in zip(seen.moved[1], seen.said[1], strict=True)]
    return f"WRONG: step 2 moves {ratios} times the rates {seen.said[1]}, and no direction fits"


def same(one, other):
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(one, other, strict=True))


def orthogonal(seen):
    for rates, moves in zip(seen.said, seen.moved, strict=True):
        for rate, moved in zip(rates, moves, strict=True):
            singular = torch.linalg.svdvals(moved) / rate
            if singular.max() > 1.3 or singular.median() < 0.6:
                return f"WRONG: singular values of {singular.min():.2g} to {singular.max():.2g} times {rate:.3g}"
    return "right: a matrix whose singular values lie near 1"


def twin(label, cls, seen, more):
    """Compare with a twin whose own schedule is off, at the said rates from the first step on."""
    params = parameters()
    optimizer, _ = build(label, cls, params, **{**more, "disable_lr_scheduler": True})
    grads = gradients(params)
    for t, (rates, moves) in enumerate(zip(seen.said, seen.moved, strict=True)):
        before = [p.detach().double().clone() for p in params]
        for p, g, group, rate in zip(params, grads, optimizer.param_groups, rates, strict=True):
            p.grad = g.clone()
            if not math.isnan(rate):
                group["lr"] = rate
        optimizer.step()
        moved = [old - p.detach().double() for p, old in zip(params, before, strict=True)]
        for rate, one, other in zip(rates, moved, moves, strict=True):
            if math.isnan(rate):
                continue
            if not torch.allclose(one, other, rtol=2e-3, atol=3e-7):
                return f"WRONG: at step {t + 1} its twin moves by {one.abs().mean():.3g}, not {other.abs().mean():.3g}"
        if any(map(math.isnan, rates)):
            break  # from here on the twin stands elsewhere
    return "right: the step of its twin without a schedule, at the said rate"


def outcome(label, cls):
    """Return what is said for a class, and how it was checked."""
    key = catalogued().get(label)
    kind = kind_of(cls)
    ours = key is not None and kind == spec(key).rate != GROUP
    said = spec(key).rate_words if ours or (key is not None and spec(key).rate_words != AS_SCHEDULED) else SAID[kind]
    if kind == NOT_KNOWN:
        return said, "–"
    if label in UNMEASURED:
        return said, UNMEASURED[label]
    if key is not None and label not in HOW:
        return said, f"by a law of its own, as {key}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checked = verdict(label, cls)
        if (options := VARIANTS.get(label)) is not None:
            other = verdict(label, cls, **options)
            if not other.startswith("right"):
                return said, f"{other} with {options}"
            checked += "; also with " + ", ".join(f"{name}={value}" for name, value in options.items())
    return said, checked.removeprefix("right: ")


# ---------------------------------------------------------------------------------------------------- wrappers


class Holder:
    """A wrapper as trainers have them."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self, closure=None):
        return self.optimizer.step(closure)


class Scaling(Holder):
    """A wrapper that changes gradients."""

    def step(self, closure=None):
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                p.grad.mul_(0.1)
        return self.optimizer.step(closure)


def subclass(optimizer, **members):
    """Make the optimizer one of a subclass of its class."""
    optimizer.__class__ = type("Mine", (type(optimizer),), members)
    return optimizer


def calling(self, closure=None):
    return super(type(self), self).step(closure)


def own(self, closure=None):
    for group in self.param_groups:
        for p in group["params"]:
            p.data.sub_(p.grad)


def accelerated(optimizer):
    from accelerate import Accelerator

    return Accelerator(cpu=True).prepare(optimizer)


def of_lightning(optimizer):
    from lightning.pytorch.core.optimizer import LightningOptimizer

    return LightningOptimizer(optimizer)


def of_pytorch_optimizer(name):
    return getattr(importlib.import_module("pytorch_optimizer"), name)


def sharpness_aware(name):
    def wrap(optimizer):
        groups = [{"params": group["params"]} for group in optimizer.param_groups]
        cls = getattr(importlib.import_module("pytorch_optimizer"), name)
        return cls(groups, base_optimizer=type(optimizer), **arguments_of(optimizer))

    return wrap


def of_schedule_free(name):
    def wrap(optimizer):
        wrapper = getattr(importlib.import_module("schedulefree"), name)(optimizer)
        wrapper.train()
        return wrapper

    return wrap


def schedule_free(optimizer):
    wrapper = of_pytorch_optimizer("ScheduleFreeWrapper")(optimizer)
    wrapper.train()
    return wrapper


def sharded(optimizer):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    groups = [{"params": group["params"]} for group in optimizer.param_groups]
    return ZeroRedundancyOptimizer(groups, optimizer_class=type(optimizer), **arguments_of(optimizer))


def arguments_of(optimizer):
    """Return the arguments that make another optimizer like this one."""
    takes = inspect.signature(type(optimizer).__init__).parameters
    return {name: value for name, value in optimizer.defaults.items() if name in takes}


@dataclass
class Wrapper:
    """One way to wrap an optimizer."""

    package: str
    wrap: object
    said: str = SAID[INNER]
    step: object = None
    """How a loop steps it; by its own `step()` if None."""
    at_z: bool = False
    size_only: bool = False
    """Whether it turns gradients, so that only the length of a step is known."""
    around: tuple = ("torch.SGD", "torch.Adam", "prodigyopt.Prodigy")
    """Optimizers that are wrapped to check it."""


WRAPPERS = {
    "a subclass": Wrapper("torch", subclass, "what its base applies"),
    "a subclass whose step only calls its base's": Wrapper(
        "torch", lambda o: subclass(o, step=calling), "what its base applies"
    ),
    "a subclass with a step of its own": Wrapper("torch", lambda o: subclass(o, step=own), SAID[NOT_KNOWN]),
    "any object that holds it and only calls its step": Wrapper("torch", Holder),
    "an object whose own step changes gradients or weights": Wrapper("torch", Scaling, SAID[NOT_KNOWN]),
    "torch.distributed.optim.ZeroRedundancyOptimizer": Wrapper("torch", sharded),
    "accelerate.AcceleratedOptimizer": Wrapper("accelerate", accelerated),
    "lightning.LightningOptimizer": Wrapper("lightning", of_lightning, step=lambda w: w._optimizer.step),
    "schedulefree.ScheduleFreeWrapper": Wrapper(
        "schedulefree",
        of_schedule_free("ScheduleFreeWrapper"),
        SAID[INNER] + ", to the point z",
        at_z=True,
        around=("torch.SGD",),
    ),
    "schedulefree.ScheduleFreeWrapperReference": Wrapper(
        "schedulefree",
        of_schedule_free("ScheduleFreeWrapperReference"),
        SAID[INNER] + ", to the point z",
        at_z=True,
        around=("torch.SGD",),
    ),
    "pytorch_optimizer.ScheduleFreeWrapper": Wrapper(
        "pytorch_optimizer", schedule_free, SAID[INNER] + ", to the point z", at_z=True
    ),
    "pytorch_optimizer.Lookahead": Wrapper(
        "pytorch_optimizer", of_pytorch_optimizer("Lookahead"), SAID["wrappers:Lookahead"]
    ),
    "pytorch_optimizer.OrthoGrad": Wrapper(
        "pytorch_optimizer", of_pytorch_optimizer("OrthoGrad"), size_only=True, around=("torch.SGD",)
    ),
    "pytorch_optimizer.PCGrad": Wrapper("pytorch_optimizer", of_pytorch_optimizer("PCGrad")),
    "pytorch_optimizer.SAM": Wrapper("pytorch_optimizer", sharpness_aware("SAM")),
    "pytorch_optimizer.FriendlySAM": Wrapper("pytorch_optimizer", sharpness_aware("FriendlySAM")),
    "pytorch_optimizer.LookSAM": Wrapper("pytorch_optimizer", sharpness_aware("LookSAM"), SAID[NOT_KNOWN]),
    "pytorch_optimizer.TRAC": Wrapper("pytorch_optimizer", of_pytorch_optimizer("TRAC"), SAID[NOT_KNOWN]),
}
INSIDE = {"torch.SGD": "the gradient", "torch.Adam": "the sign of the gradient", "prodigyopt.Prodigy": "Prodigy's step"}
"""Optimizers that are wrapped, with the directions of their steps."""


def wrapper_outcome(name):
    """Return how a wrapper was checked: with which optimizers inside it, or what was WRONG."""
    try:
        return _wrapper_outcome(name)
    finally:
        if WRAPPERS[name].wrap is sharded and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _wrapper_outcome(name):
    wrapper, checked = WRAPPERS[name], []
    for label, words in INSIDE.items():
        cls = classes(label.split(".")[0])[label.split(".")[1]]
        if label not in wrapper.around:
            continue
        params = parameters()
        inner, lr = build(label, cls, params)
        wrapped = wrapper.wrap(inner)
        seen = run(inner, lr, params, at_z=wrapper.at_z, wrapper=wrapped, step=wrapper.step and wrapper.step(wrapped))
        if wrapper.said == SAID[NOT_KNOWN]:
            if not all(math.isnan(rate) for rates in seen.said for rate in rates):
                return f"WRONG: it says {seen.said[0]} around {label}"
            continue
        law, grads = laws(inner.defaults)[words], gradients(params)
        if wrapper.size_only:
            sizes = [
                (m.norm(), r * g.norm())
                for ms, rs in zip(seen.moved, seen.said, strict=True)
                for m, r, g in zip(ms, rs, grads, strict=True)
            ]
            good = all(torch.isclose(m, s.double(), rtol=1e-3) for m, s in sizes)
        else:
            good = fits(seen, grads, law)
        if not good:
            return f"WRONG: around {label} step 2 moves {[float(m.abs().mean()) for m in seen.moved[1]]}, said is {seen.said[1]}"
        checked.append(label)
    return f"around {', '.join(checked)}" if checked else "–"


# ---------------------------------------------------------------------------------------------------- the page


AS_SCHEDULED = "the learning rate as scheduled"
REFUSED = {
    "transformers.LayerWiseDummyOptimizer": "refused, since it holds an optimizer for each layer: pass one of them"
}
HEAD = """# Which learning rate is shown for which optimizer

`dw.applied_lr`, `dw.watch` and the plots show the learning rate that a step applies, not the one that the schedule says. Where
it is not known what a class applies, they say so: `dw.applied_lr` gives NaN, and a plot shows the rate of the parameter group
under a title of its own. A wrong number never stands in for an unknown one.

This page lists the classes that are known, and how each was seen. It is made by `python tests/shared/rate_scan.py`, and a test
compares it with what is installed. Each class gets a constant gradient, for which the direction of its step is known, and a
learning rate that falls at every step. "The sign of the gradient" means: at each step and in each tensor, the weights moved by
the rate that is shown times the sign of the gradient. Weight decay is off, all other options have their defaults, apart from those
that are named. "By a law of its own, as SOAP" means: the direction of this optimizer of the catalogue is written out in
`tests/conformance/test_applied_lr.py`, which measures it under several schedules. Where other options change the rate of a class, the catalogue's tests try them (`tests/conformance`).

A class is found by its package and name, or by those of its bases. A subclass of yours is read like its base, and a wrapper of
yours like the optimizer inside. If it has a `step` of its own, this is so only where that step is seen to call the other's `step`
once and to do nothing else but count, log and pass a closure on. A step that touches gradients, weights or rates, clips, loops or
calls other methods makes it not known. So does another version of a method in which the base computes its step, and a `step` that
is set on the optimizer object itself. To add a class, give it a line in `diffopt_widgets/rates/choice.py`.
"""


def installed(package):
    return importlib.util.find_spec(package) is not None


def heading(package):
    distribution = DISTRIBUTIONS.get(package, package)
    return f"## {package} {importlib.metadata.version(distribution).split('+')[0]}"


def section(package):
    """Return the page's section on a package: a table of the known classes, and the names of the others."""
    rows, unknown = [], []
    for name, cls in classes(package).items():
        label = f"{package}.{name}"
        if label in WRAPPERS or label in REFUSED:
            continue
        said, checked = outcome(label, cls)
        if said == SAID[NOT_KNOWN]:
            unknown.append(name)
        else:
            rows.append(f"| {name} | {said} | {checked} |")
    table = ["| class | what is shown | seen |", "|---|---|---|", *rows]
    others = ["", f"Not known: {', '.join(unknown)}."] if unknown else []
    return "\n".join([heading(package), "", *table, *others])


def page(old=""):
    """Return the whole page; of packages that are not installed, what the old one says."""
    rows = [
        f"| {name} | {wrapper.said} | {wrapper_outcome(name)} |"
        if installed(wrapper.package)
        else next((row for row in old.splitlines() if row.startswith(f"| {name} |")), "")
        for name, wrapper in WRAPPERS.items()
    ]
    rows += [f"| {name} | {words} | – |" for name, words in REFUSED.items()]
    table = [
        "## Wrappers and subclasses",
        "",
        "| wrapper | what is shown | seen |",
        "|---|---|---|",
        *filter(None, rows),
    ]
    sections = [section(package) if installed(package) else written(old, rf"## {package} \S+") for package in MODULES]
    return "\n\n".join([HEAD.strip(), "\n".join(table), *filter(None, sections)]) + "\n"


def written(text, heading):
    """Return the section of a page below a heading, a regular expression; None if there is none."""
    found = re.search(rf"^{heading}\n.*?(?=\n\n## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found and found[0].strip()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    text = page(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    sys.exit("WRONG" in text)
