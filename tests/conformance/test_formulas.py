"""The formula of each optimizer, evaluated as it is written, against the steps of its back end."""

from __future__ import annotations

import math

import pytest
import torch
from latex import Formula

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.settings import default_values

DECAY = 0.1
NOT_EVALUATED = {
    "SCHEDULE_FREE_RADAM": "its r_t is named, not written out; its value is a test of the applied rates",
    "SOAP": "its bases Q come from an eigenvalue decomposition, which no formula writes out",
}
SETTINGS = {
    "AdEMAMix": {"beta3": 0.9},
    "AdEMAMix_8BIT": {"beta3": 0.9},
    "DADAPT_ADA_GRAD": {"momentum": 0.0},
    "DADAPT_SGD": {"momentum": 0.5},
    "PRODIGY_PLUS_SCHEDULE_FREE": {"factored": False, "use_stableadamw": False},
    "SGD": {"momentum": 0.9},
}
"""Options at which every part of a formula shows, and those that a formula leaves out off."""
STEPS = {"ADAFACTOR": 1, "CAME": 1, "CAME_8BIT": 1, "PRODIGY_PLUS_SCHEDULE_FREE": 1}
"""Steps to compare, where not all: later ones need averages that the formula names and does not write out."""
ROUGH = {"MUON": 0.02, "MUON_ADV": 0.02, "ADAMUON_ADV": 0.05}  # the iteration runs in bfloat16
GRADIENTS = [torch.randn(6, 9, generator=torch.Generator().manual_seed(seed)) + 0.5 for seed in range(3)]
START = 10 * torch.randn(6, 9, generator=torch.Generator().manual_seed(9))
"""Weights so large that LAMB's limit does not act: how it acts on a CPU is a test of its own."""


def rms(x):
    return x.square().mean().sqrt()


def newton_schulz(x):
    """Five steps of Muon's iteration, in 64 bits."""
    x = x / x.norm()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


class Written:
    """An optimizer that does what a formula says, with the averages that everybody knows where the formula has none."""

    def __init__(self, settings):
        self.key, self.options = settings.optimizer, {**default_values(settings.spec), **settings.options}
        options = self.options
        theta = START.double()
        self.t = 0
        greek = {
            r"\gamma": settings.lr,
            r"\lambda": "weight_decay",
            r"\mu": "momentum",
            r"\beta": "beta1",
            r"\tau": "dampening",
        }
        greek |= {rf"\beta_{number}": f"beta{number}" for number in (1, 2, 3)}
        greek |= {r"\epsilon": "eps", r"\epsilon_2": "eps2", r"\alpha": "alpha", r"\kappa": "clip_threshold"}
        greek |= {r"\psi": "momentum_decay", "c": "max_unorm", "c_d": "d_coef"}
        values = {symbol: options.get(name) if isinstance(name, str) else name for symbol, name in greek.items()}
        if values[r"\beta_3"] is None and options.get("beta2") is not None:
            values[r"\beta_3"] = math.sqrt(options["beta2"])
        zero = torch.zeros_like(theta)
        start = options.get("initial_accumulator", 0.0)
        values |= dict.fromkeys(("m", "m_1", "v"), zero + start) | dict.fromkeys(("m_2", "s", "b"), zero)
        values["n"] = 0.0  # a number for Prodigy, a tensor for Adan
        values |= dict.fromkeys((r"\theta", r"\theta_0", "x", "z"), theta)
        values |= {"t": lambda: self.t, "g": lambda: self.g, "g_t": lambda: self.g, "g_t-1": lambda: self.last}
        if values[r"\alpha"] is None:
            values[r"\alpha"] = zero + 1e-6  # D-Adapt AdaGrad's sum of squares
        functions = {
            "sqrt": lambda x: torch.as_tensor(x).sqrt(),
            "sign": torch.sign,
            "RMS": rms,
            "mean": torch.mean,
            "NS": newton_schulz,
        }
        functions |= {"max": self.larger, "min": lambda *x: -self.larger(*(-y for y in x)), "clip": self.clip}
        latex = settings.spec.formula
        latex = latex.replace(r"\prod_{i \le t} \mu_i", "P").replace(r"\prod_{i \le t+1} \mu_i", "Q")
        self.formula = Formula(latex, values, functions)
        self.values = values
        self.more()

    @staticmethod
    def larger(*values):
        first, *rest = (torch.as_tensor(value, dtype=torch.float64) for value in values)
        for value in rest:
            first = torch.maximum(first, value)
        return first

    @staticmethod
    def clip(x, limit):
        return x.clamp(-limit, limit)

    def average(self, name, beta, new):
        if name not in self.formula.assigned:
            self.values[name] = beta * self.values[name] + (1 - beta) * new

    def corrected(self, name, beta):
        return lambda: self.values[name] / (1 - beta**self.t)

    def more(self):
        """Add symbols that formulas use by custom: corrected averages, projections, shapes, factored squares."""
        values, options = self.values, self.options
        beta1, beta2, beta3 = (options.get(f"beta{number}") for number in (1, 2, 3))
        values[r"\hatm"] = self.corrected("m", beta1)
        values[r"\hatm_1"] = self.corrected("m_1", beta1)
        values[r"\hatn"] = self.corrected("n", beta2)
        values[r"\hats"] = self.corrected("s", beta2)
        values[r"\hatv"] = self.corrected("v", beta3 if self.key == "ADAN" else beta2)
        if self.key in {"CAME", "CAME_8BIT"}:
            values[r"\hatv"] = lambda: (1 - beta2) * self.factored(self.g.square())
            del self.formula.definitions[r"\hats"]
            values[r"\hats"] = lambda: (1 - beta3) * self.factored((self.formula.symbol("u") - values["m"]).square())
        if self.key == "ADAFACTOR":
            values["r"] = lambda: self.g.square().mean(-1, keepdim=True)
            values["c"] = lambda: self.g.square().mean(-2, keepdim=True)
            values[r"\barr"] = lambda: self.g.square().mean()
        if self.key == "MUON":
            values["r"], values["c"] = (float(side) for side in START.shape)
        if self.key.startswith("SCHEDULE_FREE") or self.key.startswith("PRODIGY_PLUS"):
            values["c"] = lambda: 1 / self.t
        if self.key == "NADAM":
            share = lambda t: beta1 * (1 - 0.5 * 0.96 ** (t * options["momentum_decay"]))  # noqa: E731
            values[r"\mu_t+1"] = lambda: share(self.t + 1)
            values["P"] = lambda: math.prod(share(t) for t in range(1, self.t + 1))
            values["Q"] = lambda: math.prod(share(t) for t in range(1, self.t + 2))
        for at, name in enumerate(("g_K", "m_K")):
            values[name] = lambda at=at: self.projected()[at]

    def factored(self, squares):
        rows, columns = squares.mean(-1, keepdim=True), squares.mean(-2, keepdim=True)
        return rows * columns / rows.mean()

    def projected(self):
        g, m = self.g, self.values["m"]
        for _ in range(self.options["k"]):
            product = (g * m).sum()
            g, m = g * product / g.square().sum(), m * product / m.square().sum()
        return g, m

    def step(self, gradient, d):
        self.last = self.g if self.t else gradient.double()
        self.t += 1
        self.g = gradient.double()
        self.values["d"] = d
        self.values.setdefault("g_0", self.g)
        if self.key.startswith("ADOPT") and self.t == 1:
            self.values["v"] = self.g.square()  # the first step only measures
            return
        options = self.options
        first = options.get("beta1") or options.get("momentum")
        for name in ("m", "m_1"):
            self.average(name, first, self.g) if first else None
        squares = options.get("alpha") if self.key.startswith("RMSPROP") else options.get("beta2")
        self.average("v", squares, self.g.square()) if squares else None
        self.formula.step()


def decays(key):
    return r"\lambda" in spec(key).formula


@pytest.mark.parametrize("key", [key for key in list_optimizers() if key not in NOT_EVALUATED])
def test_the_formula_gives_the_steps_of_the_back_end(key):
    settings = dw.Settings(key, **SETTINGS.get(key, {}), **({"weight_decay": DECAY} if decays(key) else {}))
    p = torch.nn.Parameter(START.clone())
    optimizer = dw.build_optimizer(settings, [p])
    if spec(key).has_modes:
        optimizer.train()
    written = Written(settings)
    for gradient in GRADIENTS[: STEPS.get(key, 3)]:
        p.grad = gradient.clone()
        before = p.detach().double().clone()
        written.values[r"\theta"] = before
        written.step(gradient, optimizer.param_groups[0].get("d"))
        optimizer.step()
        real, said = p.detach().double() - before, written.values[r"\theta"] - before
        assert (real - said).norm() <= max(ROUGH.get(key, 0.0), 2e-3) * real.norm() + 1e-7 * before.norm()


def test_the_formula_gives_prodigys_estimate():
    settings = dw.Settings("PRODIGY")
    p = torch.nn.Parameter(START.clone())
    optimizer = dw.build_optimizer(settings, [p])
    written = Written(settings)
    for gradient in GRADIENTS:
        p.grad = gradient.clone()
        written.values[r"\theta"] = p.detach().double().clone()
        written.step(gradient, optimizer.param_groups[0]["d"])
        optimizer.step()
    assert float(written.formula.symbol(r"\hatd")) == pytest.approx(optimizer.param_groups[0]["d_hat"], rel=1e-3)
    assert spec("PRODIGY_ADV").formula == spec("PRODIGY").formula


@pytest.mark.parametrize("key", ["LAMB", "LAMB_8BIT"])
def test_lambs_limit_counts_the_norm_before_the_bias_correction_on_a_cpu(key):
    """The first step of a steady gradient is the rate itself; the limit sees an update 3.2 times as large."""
    gradient = torch.ones(6, 9)
    for size, moved in ((10.0, 1.0), (3.0, 3 / 10**0.5), (1.0, 1 / 10**0.5)):
        p = torch.nn.Parameter(size * torch.ones(6, 9))
        optimizer = dw.build_optimizer(dw.Settings(key, lr=0.01, weight_decay=0.0), [p])
        p.grad = gradient.clone()
        optimizer.step()
        assert float((size - p.detach()).mean()) == pytest.approx(0.01 * moved, rel=1e-3)
    assert "counts 3.2 times as large at the first step" in spec("LAMB").use("max_unorm").note


def test_what_is_not_evaluated_is_in_the_catalogue():
    assert set(NOT_EVALUATED) <= set(list_optimizers())
