"""The catalogue against the installed back ends: signatures, defaults, states, and what it says of options in words.

Whether each option does anything is for test_probe.py.
"""

from __future__ import annotations

import inspect
import logging
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.catalogue.schema import Standing, split_argument
from diffopt_widgets.optimizers.adapters import adapt
from diffopt_widgets.optimizers.factory import MissingBackend, build_optimizer, build_schedule, load_class
from diffopt_widgets.probe.values import changed_value
from diffopt_widgets.rates.base import RateReader
from diffopt_widgets.rates.choice import load_reader
from diffopt_widgets.settings import Settings, SettingsError, default_values, preset
from diffopt_widgets.widgets.form.draft import Draft

KEYS = list_optimizers()

MENDED = {
    ("LARS", "lr"): "required by the constructor",
    ("LARS_8BIT", "lr"): "required by the constructor",
    ("SGD_8BIT", "lr"): "required by the constructor",
    ("LARS", "momentum"): "0 raises NotImplementedError",
    ("LARS_8BIT", "momentum"): "0 raises NotImplementedError",
    ("SGD_8BIT", "momentum"): "0 raises NotImplementedError",
    ("CAME", "lr"): "None raises in the constructor",
}
"""Defaults that are ours, because the back end's own cannot run."""

BY_KEYWORD = {
    "ADOPT": {"cautious": False},
    "AIDA": {"adanorm": False, "adanorm_r": 0.95, "adam_debias": False},
    "YOGI": {"adanorm": False, "adanorm_r": 0.95, "adam_debias": False},
}
"""Arguments that a constructor takes by **kwargs into the parameter groups, with what stands where they are not given."""


KOURKOUTAS = ("ADAMW_ADV", "ADOPT_ADV", "PRODIGY_ADV")


def uses(*standings):
    return [
        pytest.param(key, use, id=f"{key}-{use.name}")
        for key in KEYS
        for use in (spec(key).lr, *spec(key).uses)
        if use.standing in standings
    ]


def parameters(*, zero=False, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    weight = 0.3 * torch.randn(80, 64, generator=generator)
    bias = torch.zeros(64) if zero else 0.3 * torch.randn(64, generator=generator)
    return [torch.nn.Parameter(weight.to(dtype)), torch.nn.Parameter(bias.to(dtype))]


def loss_at(step, weight, bias):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(16, 80, generator=generator)
    y = torch.randn(16, 64, generator=generator)
    scale = 1.0 if step % 3 == 0 else 0.1  # gradients of changing size
    return scale * ((x @ weight.float() + bias.float() - y) ** 2).mean()


def walk(optimizers, params, steps=8, schedulers=()):
    """Train; all parameters as one vector."""
    for step in range(steps):
        loss_at(step, *params).backward()
        for optimizer in optimizers:
            optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        for param in params:
            param.grad = None
    return torch.cat([param.detach().flatten() for param in params])


def enough_steps(key):
    """As many as it takes for an estimate to leave d0."""
    if key in {"DADAPT_ADA_GRAD", "PRODIGY_PLUS_SCHEDULE_FREE"}:
        return 80
    return 30 if spec(key).estimates_rate else 8


def trajectory(key, steps=None, dtype=torch.float32, **values):
    params, configured, steps = parameters(dtype=dtype), Settings(key, **values), steps or enough_steps(key)
    optimizer = build_optimizer(configured, params)
    return walk([optimizer], params, steps, [build_schedule(configured, optimizer, steps)])


def signature(key):
    found = inspect.signature(load_class(spec(key)).__init__).parameters
    return {name: parameter for name, parameter in found.items() if name not in {"self", "params"}}


# ---------------------------------------------------------------------------------------------------- signatures


@pytest.mark.parametrize("key", KEYS)
def test_every_argument_of_the_back_end_is_shown_or_hidden_with_a_reason(key):
    entry = spec(key)
    mapped = {split_argument(use.argument)[0] for use in (entry.lr, *entry.uses) if use.argument}
    hidden = {split_argument(argument.argument)[0] for argument in entry.hidden}
    taken = set(signature(key)) | BY_KEYWORD.get(key, {}).keys()
    assert mapped | hidden == taken, (
        f"{key} takes {sorted(taken - mapped - hidden)}, which are not shown: give each a `Use`, or a `Hidden` with the reason; "
        f"it does not take {sorted((mapped | hidden) - taken)}"
    )
    assert not BY_KEYWORD.get(key, {}).keys() & set(signature(key))
    assert key not in BY_KEYWORD or "kwargs" in signature(key)
    assert all(len(argument.reason) > 20 for argument in entry.hidden)


@pytest.mark.parametrize("key", KEYS)
def test_defaults_are_the_back_ends_own(key):
    entry, arguments = spec(key), signature(key)
    for use in (entry.lr, *entry.uses):
        if use.argument is None or use.fixed:
            continue
        name, index = split_argument(use.argument)
        if name in BY_KEYWORD.get(key, {}):
            assert use.default == BY_KEYWORD[key][name]
            continue
        actual = arguments[name].default
        actual = actual if index is None else actual[index]
        if (key, use.name) == ("ADAFACTOR", "beta1"):
            assert (actual, use.default) == (0.9, None)
            continue
        assert actual == use.default, use.name


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in BY_KEYWORD.items() for name in names])
def test_an_argument_by_keyword_stands_at_what_its_absence_means(key, name):
    adanorm = {"adanorm": True} if name == "adanorm_r" else {}
    paths = []
    for arguments in (adanorm, {**adanorm, name: BY_KEYWORD[key][name]}):
        params = parameters()
        paths.append(walk([load_class(spec(key))(params, **arguments)], params))
    assert torch.equal(*paths)


def test_defaults_that_are_ours_are_listed_and_say_so():
    marked = {(key, use.name) for key in KEYS for use in (spec(key).lr, *spec(key).uses) if use.fixed}
    assert marked == set(MENDED) | {("ADAFACTOR", "beta1")}
    assert all(spec(key).use(name).note for key, name in marked)


@pytest.mark.parametrize(("key", "name"), MENDED)
def test_a_mended_default_cannot_run_as_the_back_end_has_it(key, name):
    if name == "lr":
        default = signature(key)["lr"].default
        if default is not inspect.Parameter.empty:
            with pytest.raises(TypeError):
                load_class(spec(key))(parameters(), lr=default)
        return
    arguments = spec(key).arguments(0.1, {**default_values(spec(key)), name: signature(key)[name].default})
    with pytest.raises(NotImplementedError):
        load_class(spec(key))(parameters(), **arguments)


# ---------------------------------------------------------------------------------------------------- steps and states


@pytest.mark.parametrize("key", KEYS)
def test_states_have_the_promised_precision(key):
    entry = spec(key)
    params = parameters()
    values = {"SGD": {"momentum": 0.9}, "CAME_8BIT": {"min_8bit_size": 4096}}.get(key, {})
    optimizer = build_optimizer(Settings(key, **values), params)
    walk([optimizer], params, steps=2)
    weight, bias = (optimizer.state[param] for param in params)
    expected = torch.uint8 if entry.state_bits == 8 else torch.float32
    assert weight.keys() >= set(entry.state_names)
    assert {weight[name].dtype for name in entry.state_names} == {expected}
    if entry.state_bits == 8:
        assert {bias[name].dtype for name in entry.state_names} == {torch.float32}, "small tensors stay exact"
    size = params[0].numel()
    big = {name for name, value in weight.items() if isinstance(value, torch.Tensor) and value.numel() == size}
    assert big <= set(entry.state_names), "a large state tensor that the catalogue does not name"


@pytest.mark.parametrize("key", KEYS)
def test_8_bit_is_said_where_it_is(key):
    assert (spec(key).state_bits == 8) == key.endswith("_8BIT")


@pytest.mark.parametrize("key", KEYS)
def test_the_rate_has_a_reader(key):
    assert issubclass(load_reader(spec(key).rate), RateReader)


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_steps_each_tensor_on_its_own_where_it_says_so(key):
    together, apart = parameters(), parameters()
    configured = Settings(key)
    path = walk([build_optimizer(configured, together)], together, enough_steps(key))
    each = [build_optimizer(configured, [param]) for param in apart]
    same = torch.equal(path, walk(each, apart, enough_steps(key)))
    assert same == spec(key).steps_each_tensor


PRESETS = [(key, entry.key) for key in KEYS for entry in spec(key).presets]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "name"), PRESETS)
def test_presets_run(key, name):
    params = parameters()
    configured = preset(key, name)
    optimizer = build_optimizer(configured, params)
    path = walk([optimizer], params, 20, [build_schedule(configured, optimizer, 20)])
    assert torch.isfinite(path).all()


def numbers_on_sliders(use):
    if use.option.choices:
        return st.sampled_from([int(choice) for choice in use.option.choices])
    low, high = use.option.soft
    domain = use.domain or use.option.domain
    if use.option.kind == "int":
        return st.integers(int(low), int(high)).filter(lambda value: value in domain)
    return st.floats(low, high).filter(lambda value: domain is None or value in domain)


def anywhere_on_the_panel(use):
    if use.standing is Standing.UNAVAILABLE or use.option.kind == "text":
        return st.just(use.default)
    if use.requires == "compiler":  # seconds each: test_parity_adv.py has them compiled
        return st.just(use.default)
    choices = st.booleans() if use.option.kind == "bool" else numbers_on_sliders(use)
    return st.one_of(st.none(), choices) if use.option.nullable else choices


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_panel_allows_can_be_built_and_stepped_unless_it_says_what_is_refused(key, data):
    chosen = {use.name: data.draw(anywhere_on_the_panel(use), use.name) for use in (spec(key).lr, *spec(key).uses)}
    schedule = data.draw(st.sampled_from(["CONSTANT", "COSINE", "COSINE_WITH_RESTARTS", "ADAFACTOR"]), "schedule")
    warmup = data.draw(st.sampled_from([0.0, 0.5, 2.0]), "warmup")
    try:
        configured = Settings(key, schedule=schedule, warmup=warmup, **chosen)
    except SettingsError:
        return
    draft = replace(Draft.begin(configured), run=RunOptions(device="cpu"))
    if draft.parsed.refused:
        with pytest.raises((MissingBackend, SettingsError)):
            build_optimizer(configured, parameters())
        configured = configured.replace(
            **{n: v for name in draft.parsed.refused for n, v in draft.parsed.fixes[name].items()}
        )
    params = parameters()
    optimizer = build_optimizer(configured, params)
    walk([optimizer], params, 5, [build_schedule(configured, optimizer, 5)])


# ---------------------------------------------------------------------------------------------------- what options do


ALONE = [key for key in KEYS if spec(key).steps_each_tensor]


@pytest.mark.slow
@pytest.mark.parametrize("key", ALONE)
def test_a_fused_back_pass_steps_within_backward_and_walks_the_same_path(key):
    params = parameters()
    optimizer = build_optimizer(Settings(key, fused_back_pass=True), params)
    walk([optimizer], params, 4)  # the first steps of some only measure, and move nothing
    before = torch.cat([param.detach().flatten() for param in params])
    loss_at(1, *params).backward()
    moved = torch.cat([param.detach().flatten() for param in params])
    assert not torch.equal(moved, before)
    assert [param.grad for param in params] == [None, None]
    optimizer.step()
    assert torch.equal(torch.cat([param.detach().flatten() for param in params]), moved)
    assert torch.equal(trajectory(key, 20, fused_back_pass=True), trajectory(key, 20))


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_where_nothing_is_shared_between_tensors_the_fused_path_would_be_the_same(key):
    """The adapter itself, on every optimizer: it is right for exactly those that the catalogue gives it to."""
    params = parameters()
    optimizer = build_optimizer(Settings(key), params)
    adapt(optimizer, fused_back_pass=True)
    try:
        same = torch.equal(walk([optimizer], params, enough_steps(key)), trajectory(key))
    except ZeroDivisionError:  # DADAPT_SGD sees no gradient when its step is closed
        same = False
    assert same == spec(key).steps_each_tensor


@pytest.mark.slow
@pytest.mark.parametrize(("key", "use"), [case for case in uses(Standing.LIVE) if case.values[1].enabled_if])
def test_a_greyed_option_does_nothing(key, use):
    when = use.enabled_if
    opposite = not when.value if isinstance(when.value, bool) else 32
    unmet = {"==": opposite, ">": when.value, "!=": when.value}[when.test]
    try:
        changed = trajectory(key, **{when.option: unmet, use.name: changed_value(spec(key), use)})
    except SettingsError:
        return  # a rule says the same, more loudly
    assert torch.equal(changed, trajectory(key, **{when.option: unmet}))


@pytest.mark.parametrize(("key", "use"), uses(Standing.UNAVAILABLE))
def test_unavailable_options_are_refused(key, use):
    with pytest.raises(SettingsError, match=rf"(?s){use.name}.*not available"):
        Settings(key, **{use.name: changed_value(spec(key), use)})


@pytest.mark.slow
def test_use_triton_ends_the_process_without_triton():
    try:
        import triton  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("triton is installed here")
    code = (
        "import torch, lion_pytorch\n"
        "lion_pytorch.Lion([torch.nn.Parameter(torch.ones(3))], use_triton=True)\n"
        "print('still alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "still alive" not in done.stdout
    assert "Error" not in done.stderr


@pytest.mark.parametrize("key", ["ADAM", "ADAMW", "SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD", "SGD"])
def test_foreach_changes_only_the_speed(key):
    assert torch.equal(trajectory(key, foreach=True), trajectory(key, foreach=False))


@pytest.mark.parametrize("key", ["ADAM", "ADAMW"])
def test_fused_changes_only_rounding(key):
    torch.testing.assert_close(trajectory(key, fused=True), trajectory(key, fused=False), rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", ["DADAPT_ADAM", "DADAPT_ADAN", "DADAPT_ADA_GRAD", "DADAPT_LION", "DADAPT_SGD"])
def test_log_every_writes_the_estimate(key, caplog, capsys):
    caplog.set_level(logging.INFO)
    silent = trajectory(key)
    assert "d_hat" not in caplog.text + capsys.readouterr().out
    assert torch.equal(trajectory(key, log_every=1), silent)
    assert "d_hat" in caplog.text + capsys.readouterr().out


@pytest.mark.parametrize("key", ["ADAM_8BIT", "ADAMW_8BIT", "LION_8BIT", "AdEMAMix", "AdEMAMix_8BIT"])
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_paged_states_need_a_gpu(key):
    arguments = spec(key).arguments(1e-3, {**default_values(spec(key)), "is_paged": True})
    params = parameters()
    path = walk([load_class(spec(key))(params, **arguments)], params)
    assert torch.equal(path, trajectory(key, lr=1e-3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="it works on a GPU")
@pytest.mark.parametrize(
    "key", [key for key in KEYS if any(use.name in {"fsdp_in_use", "capturable"} for use in spec(key).uses)]
)
def test_options_that_need_a_gpu_fail_without_one(key):
    name = next(use.name for use in spec(key).uses if use.name in {"fsdp_in_use", "capturable"})
    assert spec(key).use(name).requires
    arguments = spec(key).arguments(1e-3, {**default_values(spec(key)), name: True})
    params = parameters()
    with pytest.raises((AssertionError, RuntimeError)):
        walk([load_class(spec(key))(params, **arguments)], params, 1)


# ---------------------------------------------------------------------------------------------------- claims in words


def test_safeguard_warmup_is_inert_at_rate_one_without_bias_correction():
    path = trajectory("PRODIGY", steps=30)
    assert torch.equal(path, trajectory("PRODIGY", steps=30, safeguard_warmup=True))
    corrected = trajectory("PRODIGY", steps=30, use_bias_correction=True)
    assert not torch.equal(corrected, trajectory("PRODIGY", steps=30, use_bias_correction=True, safeguard_warmup=True))


def test_8_bit_layer_wise_optimizers_limit_only_small_tensors():
    rows = 80 * 64
    lamb = trajectory("LAMB_8BIT", lr=0.01)
    assert not torch.equal(lamb[rows:], trajectory("ADAMW_8BIT", lr=0.01, weight_decay=0.0)[rows:])
    params = parameters(zero=True)
    path = walk([build_optimizer(Settings("LAMB_8BIT", lr=0.01), params)], params)
    assert torch.count_nonzero(path[rows:]) == 0, "a small tensor that starts at zero never moves"
    assert not torch.equal(path[:rows], parameters()[0].detach().flatten())


@pytest.mark.parametrize("key", ["LAMB", "LARS"])
def test_a_tensor_that_starts_at_zero_moves_only_without_the_limit(key):
    def bias_after(max_unorm):
        params = parameters(zero=True)
        walk([build_optimizer(Settings(key, max_unorm=max_unorm), params)], params)
        return torch.count_nonzero(params[1].detach())

    assert bias_after(spec(key).use("max_unorm").default) == 0
    assert bias_after(0.0) > 0


@pytest.mark.slow
def test_8_bits_of_a_32_bit_entry_are_its_8_bit_form():
    assert torch.equal(trajectory("ADAGRAD", optim_bits=8), trajectory("ADAGRAD_8BIT"))
    assert torch.equal(trajectory("RMSPROP", optim_bits=8), trajectory("RMSPROP_8BIT"))
    assert torch.equal(trajectory("LAMB", optim_bits=8), trajectory("LAMB_8BIT"))
    assert torch.equal(trajectory("LARS", optim_bits=8), trajectory("LARS_8BIT"))
    assert torch.equal(trajectory("AdEMAMix", optim_bits=8), trajectory("AdEMAMix_8BIT"))


def test_adam_8bit_decays_the_weights_themselves():
    assert torch.equal(trajectory("ADAM_8BIT", weight_decay=0.1), trajectory("ADAMW_8BIT", weight_decay=0.1))


@pytest.mark.slow
def test_d_coef_is_not_an_exact_multiplier():
    def estimate(d_coef):
        params = parameters()
        optimizer = build_optimizer(Settings("PRODIGY", d_coef=d_coef), params)
        walk([optimizer], params, 60)
        return optimizer.param_groups[0]["d"]

    assert estimate(0.5) < estimate(1.0) < estimate(2.0)
    assert not math.isclose(estimate(2.0), 2 * estimate(1.0), rel_tol=0.01)


# ---------------------------------------------------------------------------------------------------- rules


def run_directly(key, arguments, factors):
    """The back end by hand, under learning rates that no rule has checked."""
    params = parameters()
    optimizer = load_class(spec(key))(params, **arguments)
    for step, factor in enumerate(factors):
        for group in optimizer.param_groups:
            group["lr"] = factor
        loss_at(step, *params).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("key", "values", "factors", "error"),
    [
        ("DADAPT_SGD", {"warmup": 4}, [0.0, 0.5], ZeroDivisionError),
        ("DADAPT_SGD", {"schedule": "COSINE_WITH_RESTARTS"}, [1.0, 0.5, 0.0], UnboundLocalError),
        ("DADAPT_LION", {"schedule": "COSINE_WITH_RESTARTS", "log_every": 1}, [1.0, 0.5, 0.0], UnboundLocalError),
        ("SGD", {"nesterov": True}, [1.0], ValueError),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, [1.0], ValueError),
        ("ADAM", {"fused": True, "foreach": True}, [1.0], RuntimeError),
        ("ADAMW", {"fused": True, "foreach": True}, [1.0], RuntimeError),
        ("ADAGRAD", {"optim_bits": 16}, [1.0], NotImplementedError),
        ("LAMB", {"optim_bits": 16}, [1.0], NotImplementedError),
        ("SCHEDULE_FREE_SGD", {"momentum": 0.0}, [1.0], ValueError),
        *((key, {"momentum": 0.0}, [1.0], NotImplementedError) for key in ("LARS", "LARS_8BIT", "SGD_8BIT")),
        ("PRODIGY_PLUS_SCHEDULE_FREE", {"eps": 0.0}, [1.0], ValueError),
        ("AdEMAMix", {"optim_bits": 16}, [1.0], NotImplementedError),
        ("AdEMAMix", {"t_beta3": 4, "beta1": 0.0}, [1.0], ValueError),
        ("AdEMAMix", {"t_beta3": 4, "beta3": 0.0}, [1.0], ValueError),
        ("AdEMAMix_8BIT", {"t_beta3": 4, "beta1": 0.0}, [1.0], ValueError),
        *((key, {"kourkoutas_beta": True, "beta2": 0.9}, [1.0], ValueError) for key in KOURKOUTAS),
        *(
            (key, {"Simplified_AdEMAMix": True, "beta1": 0.0}, [1.0], ValueError)
            for key in ("ADOPT_ADV", "PRODIGY_ADV")
        ),
        ("SIGNSGD_ADV", {"momentum": 0.0}, [1.0], KeyError),
        ("LION_ADV", {"clip_threshold": None}, [1.0], TypeError),
    ],
)
def test_what_an_error_rule_refuses_does_raise_in_the_back_end(key, values, factors, error):
    with pytest.raises(SettingsError):
        Settings(key, **values)
    names = {use.name for use in spec(key).uses}
    options = {**default_values(spec(key)), **{name: value for name, value in values.items() if name in names}}
    with pytest.raises(error):
        run_directly(key, spec(key).arguments(1.0, options), factors)


def test_adafactor_ignores_the_learning_rate_with_a_relative_step():
    assert torch.equal(trajectory("ADAFACTOR", lr=0.5), trajectory("ADAFACTOR", lr=1e-5))


# ---------------------------------------------------------------------------------------------------- Adafactor


class ReferenceAdafactor:
    """Adafactor as Shazeer & Stern 2018 and transformers define it, for tensors of one and two dimensions."""

    def __init__(self, params, *, lr, beta1, weight_decay, scale_parameter, relative_step, warmup_init, start=0):
        self.params, self.lr, self.beta1, self.weight_decay = params, lr, beta1, weight_decay
        self.scale_parameter, self.relative_step, self.warmup_init = scale_parameter, relative_step, warmup_init
        self.steps = start
        self.rows = [torch.zeros(p.shape[:-1]) for p in params]
        self.columns = [torch.zeros(p.shape[-1:]) for p in params]
        self.squares = [torch.zeros_like(p) for p in params]
        self.momenta = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self):
        self.steps += 1
        t = self.steps
        beta2 = 1.0 - t**-0.8
        for i, p in enumerate(self.params):
            rate = self.lr
            if self.relative_step:
                rate = min(1e-6 * t if self.warmup_init else 1e-2, 1.0 / math.sqrt(t))
            if self.scale_parameter:
                rate = rate * max(1e-3, p.square().mean().sqrt().item())
            square = p.grad.square() + 1e-30
            if p.dim() == 2:
                self.rows[i] = beta2 * self.rows[i] + (1 - beta2) * square.mean(1)
                self.columns[i] = beta2 * self.columns[i] + (1 - beta2) * square.mean(0)
                estimate = torch.outer(self.rows[i] / self.rows[i].mean(), self.columns[i])
            else:
                self.squares[i] = beta2 * self.squares[i] + (1 - beta2) * square
                estimate = self.squares[i]
            update = p.grad / estimate.sqrt()
            update = rate * update / max(1.0, update.square().mean().sqrt().item())
            if self.beta1 is not None:
                self.momenta[i] = self.beta1 * self.momenta[i] + (1 - self.beta1) * update
                update = self.momenta[i]
            p.sub_(p * self.weight_decay * rate)
            p.sub_(update)


MODES = {
    "constant": {"relative_step": False, "scale_parameter": False, "warmup_init": False},
    "scaled": {"relative_step": False, "scale_parameter": True, "warmup_init": False},
    "adaptive": {"relative_step": True, "scale_parameter": True, "warmup_init": False},
    "warming": {"relative_step": True, "scale_parameter": True, "warmup_init": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("beta1", [None, 0.9])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("start", [0, 20_000], ids=["from-the-start", "late-in-a-run"])
def test_adafactor_walks_the_path_of_its_definition(mode, beta1, start):
    values = {"lr": 1e-2, "beta1": beta1, "weight_decay": 0.01, **MODES[mode]}
    ours, theirs = parameters(), parameters()
    optimizer = build_optimizer(Settings("ADAFACTOR", **values), ours)
    reference = ReferenceAdafactor(theirs, **values)
    walk([optimizer], ours, 1)
    walk([reference], theirs, 1)
    optimizer.param_groups[0]["step"] = reference.steps = start + 1
    path = walk([optimizer], ours, 50)
    torch.testing.assert_close(path, walk([reference], theirs, 50), rtol=1e-5, atol=1e-5)


def test_adafactor_steps_alike_tensor_by_tensor_and_all_at_once():
    paths = []
    for foreach in (True, False):
        params = parameters()
        arguments = {**spec("ADAFACTOR").arguments(1e-3, default_values(spec("ADAFACTOR"))), "foreach": foreach}
        arguments["momentum_dtype"] = torch.float32
        paths.append(walk([load_class(spec("ADAFACTOR"))(params, **arguments)], params, 30))
    assert torch.equal(*paths)
