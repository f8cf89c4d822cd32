"""What the catalogue's sliders and texts promise, held against what runs."""

import importlib
import inspect
import math
from importlib.metadata import metadata
from itertools import pairwise

import pytest
import torch
from adv_optm.util.Muon_util import newton_schulz
from collecting import Faults
from pytorch_optimizer import AdaFactor

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.schedules import SCHEDULES
from diffopt_widgets.catalogue.schema import Standing
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.settings import default_values
from diffopt_widgets.widgets.form.panel import panel


@pytest.mark.parametrize("key", list_optimizers())
def test_every_slider_can_return_to_the_default(key):
    faults = Faults()
    for name, control in panel(key)["controls"].items():
        with faults.of(name):
            if "slider" not in control:
                continue
            if control["default"] == "":
                assert control["placeholder"], "an empty default needs words"
                continue
            default = float(control["default"])
            low, high = control["slider"]["low"], control["slider"]["high"]
            assert low < high
            assert low <= default <= high or math.isinf(default)
    assert not faults, str(faults)


def relative_step(step, *, warmup_init):
    return AdaFactor.get_relative_step_size(1.0, step, True, warmup_init)


def test_the_relative_step_is_described_as_it_runs():
    assert {relative_step(step, warmup_init=False) for step in (1, 100, 10_000)} == {0.01}
    assert relative_step(10_001, warmup_init=False) < 0.01
    assert relative_step(40_000, warmup_init=False) == 1 / math.sqrt(40_000)
    assert relative_step(5_000, warmup_init=True) == pytest.approx(5_000 * 1e-6)
    for text in (spec("ADAFACTOR").use("relative_step").option.help, SCHEDULES["ADAFACTOR"].summary):
        assert "0.01 for the first 10,000 steps" in text
        assert "1e-6 per step" in text


GROWING = [key for key in list_optimizers() if "growth_rate" in {use.name for use in spec(key).uses}]


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("key", GROWING)
def test_the_growth_rate_limits_every_step_but_prodigys_first_leap(key, corrected):
    options = {"growth_rate": 1.02}
    if "use_bias_correction" in {use.name for use in spec(key).uses}:
        options["use_bias_correction"] = corrected
    start = torch.linspace(-1.0, 1.0, 40, dtype=torch.float64)
    p = torch.nn.Parameter(start.clone())
    optimizer = dw.build_optimizer(dw.Settings(key, **options), [p])
    estimates = []
    for step in range(60):
        p.grad = torch.cos(start * (1 + step % 3)) + start
        estimates.append(optimizer.param_groups[0]["d"])
        optimizer.step()
    growth = [after / before for before, after in pairwise(estimates) if after > before]
    assert len(growth) > 5
    assert max(growth[1:]) <= 1.02 * (1 + 1e-12)
    assert (growth[0] > 1.03) == (key in {"PRODIGY", "PRODIGY_ADV"})
    assert ("first leap" in spec(key).use("growth_rate").note) == (key in {"PRODIGY", "PRODIGY_ADV"})


@pytest.mark.parametrize("key", [key for key in list_optimizers() if key.startswith("DADAPT")])
def test_what_log_every_writes_is_in_the_output_of_the_run(key):
    run = dw.train(dw.Settings(key, log_every=1), "swiss_roll", 3, progress=False)
    assert len(run.output.splitlines()) == 3
    use = spec(key).use("log_every")
    assert "run.output" in use.option.help
    assert "copied code" in use.note


# ---------------------------------------------------------------------------------------------------- steps as described


def moves(optimizer, p, gradients):
    """The change of every weight at each step, in units of the learning rate."""
    found = []
    for gradient in gradients:
        before = p.detach().clone()
        p.grad = gradient.clone()
        optimizer.step()
        found.append((p.detach() - before) / optimizer.param_groups[0]["lr"])
    return torch.stack(found)


def built(key, start, **options):
    """An optimizer with one weight tensor that begins at `start`."""
    p = torch.nn.Parameter(start.clone())
    return dw.build_optimizer(dw.Settings(key, **options), [p]), p


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("key", ["ADAM", "ADAMW"])
def test_adams_weights_move_by_at_most_about_the_rate_and_by_a_quarter_of_it_in_noise(key):
    no_decay = {} if key == "ADAM" else {"weight_decay": 0.0}
    steady = moves(*built(key, torch.zeros(50), **no_decay), [torch.full((50,), 3.0)] * 20)
    assert steady.abs().max() <= 1 + 1e-4
    noisy = moves(*built(key, torch.zeros(2000), **no_decay), noise(100, 2000))[50:]
    assert 0.2 < noisy.square().mean().sqrt() < 0.3
    assert noisy.abs().max() < 1.5
    assert "at most about the learning rate" in spec(key).summary


@pytest.mark.parametrize("key", ["ADAM", "AIDA"])
def test_amsgrads_steps_still_grow_while_the_bias_correction_fades(key):
    options = {"amsgrad": True} if key == "ADAM" else {"ams_bound": True, "eps": 1e-16}
    gradients = [torch.tensor([10.0 * (-1) ** step]) for step in range(4)] + [torch.tensor([1.0])] * 400
    steps = moves(*built(key, torch.zeros(1), **options), gradients).abs()
    assert steps[400] > 2 * steps[40]
    assert "grow while the bias correction fades" in spec(key).use(*options.keys() - {"eps"}).option.help


def test_adopts_first_step_decays_the_weights_and_moves_them_no_further():
    start = torch.ones(5)
    for decay in (0.0, 0.1):
        optimizer, p = built("ADOPT", start, lr=0.01, weight_decay=decay, decoupled_decay=True)
        moves(optimizer, p, [noise(5)])
        assert torch.equal(p.detach(), start * (1 - 0.01 * decay))
    assert "apart from weight decay" in spec("ADOPT").summary


@pytest.mark.parametrize(
    ("key", "options", "still"),
    [
        ("ADOPT_ADV", {}, 1),
        ("SOAP", {}, 1),
        ("SCHEDULE_FREE_RADAM", {}, 4),
        ("PRODIGY_PLUS_SCHEDULE_FREE", {"use_adopt": True}, 1),
        ("PRODIGY_PLUS_SCHEDULE_FREE", {"use_bias_correction": True}, 4),
    ],
)
def test_first_steps_that_are_said_to_move_nothing_do_not_decay_the_weights_either(key, options, still):
    optimizer, p = built(key, torch.ones(5, 5), weight_decay=0.1, **options)
    if spec(key).has_modes:
        optimizer.train()
    steps = moves(optimizer, p, noise(still + 1, 5, 5))
    assert not steps[:still].any()
    assert steps[still].any()


@pytest.mark.slow
def test_adopts_first_batch_counts_for_thousands_of_steps():
    optimizer, p = built("ADOPT", torch.zeros(1))
    moves(optimizer, p, [torch.tensor([10.0]), *[torch.tensor([1.0])] * 3000])
    squares = optimizer.state[p]["exp_avg_sq"].item()
    assert squares > 50, "without the first gradient of 10 the average of squares would be 1"
    assert "counts for thousands of steps" in spec("ADOPT").use("beta2").note


@pytest.mark.parametrize("key", ["ADAGRAD", "ADAGRAD_8BIT"])
def test_adagrads_rate_scales_every_step(key):
    steps = {
        lr: lr * moves(*built(key, torch.zeros(3), lr=lr), [torch.ones(3)] * 100)[:, 0].abs() for lr in (0.01, 0.02)
    }
    assert steps[0.02] == pytest.approx(2 * steps[0.01], rel=1e-2)
    assert steps[0.01][[0, 99]].tolist() == pytest.approx([0.01, 0.001], rel=1e-2)
    assert "scales every step" in spec(key).lr.note
    assert "to a tenth by step 100" in " ".join(spec(key).lr.note.split())


def followed(key, **options):
    """The share of weights that step against the newest gradient, on the way to a point through noise, and the last d."""
    target, disturbance = 0.01 * noise(200), 0.03 * noise(60, 200)
    optimizer, p = built(key, torch.zeros(200), **options)
    shares = []
    for step in range(60):
        gradient = p.detach() - target + disturbance[step]
        shares.append((moves(optimizer, p, [gradient])[0].sign() == -gradient.sign()).double().mean().item())
    return sum(shares[20:]) / 40, optimizer.param_groups[0].get("d")


def test_dadapt_lion_follows_the_fresh_gradient_where_lion_follows_its_momentum():
    lion, _ = followed("LION", lr=1e-3)
    ours, d = followed("DADAPT_LION")
    assert d < 0.01
    assert lion < 0.9
    assert ours > 0.99
    assert "almost without momentum" in spec("DADAPT_LION").summary


def test_the_first_gradient_joins_sgds_momentum_undampened():
    steps = moves(*built("SGD", torch.zeros(1), momentum=0.5, dampening=0.5), [torch.ones(1)] * 2)
    assert steps.flatten().tolist() == pytest.approx([-1.0, -1.0])  # 1, then 0.5 · 1 + 0.5 · 1
    assert "only the first counts in full" in spec("SGD").use("dampening").option.help


@pytest.mark.parametrize(("betas", "size"), [((0.9, 0.999), 3.2), ((0.95, 0.95), 0.22)])
def test_the_first_step_without_bias_correction(betas, size):
    options = {"beta1": betas[0], "beta2": betas[1], "weight_decay": 0.0}
    second = moves(*built("SOAP", torch.zeros(9), bias_correction=False, **options), [torch.ones(9)] * 2)[1]
    assert second.abs().mean().item() == pytest.approx(size, rel=0.02)  # the first only measures
    assert "3.2 times at 0.9 and 0.999, a quarter at 0.95 and 0.95" in spec("SOAP").use("bias_correction").option.help


def orthogonalised(matrix, steps):
    """Muon's iteration in 64 bits."""
    x = matrix.double() / matrix.double().norm()
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def test_five_newton_schulz_steps_leave_small_singular_values_behind_and_eight_lift_nearly_all():
    matrix = noise(64, 8) @ noise(8, 64) + 0.1 * noise(
        64, 64
    )  # few strong directions among weak ones, as in a momentum
    singular = {steps: torch.linalg.svdvals(orthogonalised(matrix, steps)) for steps in (5, 8, 20)}
    share = {steps: ((values > 0.65) & (values < 1.25)).double().mean() for steps, values in singular.items()}
    assert singular[5].max() < 1.25
    assert singular[5].min() < 0.2
    assert share[5] < 0.9
    assert share[8] > 0.95
    spread = {steps: (values - 1).abs().median() for steps, values in singular.items()}
    assert spread[20] > 0.5 * spread[8], "no nearer to 1"
    assert "Five bring the larger singular values" in spec("MUON_ADV").use("ns_steps").option.help


def test_fifteen_chebyshev_steps_bring_every_singular_value_near_1_and_five_do_not():
    singular = {n: torch.linalg.svdvals(newton_schulz(noise(64, 64), steps=n, cns=True).float()) for n in (5, 15)}
    assert (singular[15] - 1).abs().max() < 0.01
    assert singular[5].max() > 1.9
    assert singular[5].min() < 0.3
    assert "within 1% of 1" in spec("MUON_ADV").use("accelerated_ns").option.help


@pytest.mark.parametrize(("key", "least"), [("ADABELIEF", 3e-7), ("AIDA", 0.003)])
def test_epsilon_sets_the_least_divisor(key, least):
    size = least / 1000
    steps = moves(*built(key, torch.zeros(20)), size * noise(5, 20))
    expected = size * noise(5, 20)[0] / least
    assert torch.allclose(steps[0].abs(), expected.abs(), rtol=0.1)
    assert f"least divisor is {format_value(least)}" in spec(key).use("eps").note


EPSILONS = [
    (key, use.name)
    for key in list_optimizers()
    for use in spec(key).uses
    if use.name in {"eps", "eps2", "adam_eps"} and 0.0 in (use.domain or use.option.domain)
]


@pytest.mark.parametrize(("key", "name"), EPSILONS)
def test_an_epsilon_of_0_is_said_to_give_nan_where_it_does(key, name):
    tensors = [torch.nn.Parameter(torch.ones(6, 6)), torch.nn.Parameter(torch.ones(6))]
    optimizer = dw.build_optimizer(dw.Settings(key, **{name: 0.0}), tensors)
    if spec(key).has_modes:
        optimizer.train()
    for _ in range(6):
        for p in tensors:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    breaks = not all(p.isfinite().all() for p in tensors)
    assert ("At 0" in spec(key).use(name).option.help) == breaks


def test_adafactors_epsilon_2_alone_moves_a_tensor_of_zeros():
    steps = moves(*built("ADAFACTOR", torch.zeros(8, 8), eps2=0.01, schedule="ADAFACTOR"), [noise(8, 8)])
    rate = spec("ADAFACTOR").lr.default
    assert (steps[0] * rate).square().mean().sqrt() == pytest.approx(0.01 * 0.01, rel=1e-3)


def test_one_schedule_does_something_for_one_optimizer_only():
    weights = [torch.nn.Parameter(torch.ones(2))]
    for key in list_optimizers():
        settings = dw.Settings(key, schedule="ADAFACTOR")
        warned = "adafactor-schedule" in [rule.id for rule in settings.warnings()]
        assert warned == (key != "ADAFACTOR")
    optimizer = dw.build_optimizer(dw.Settings("ADAM", lr=0.5), weights)
    schedule = dw.build_schedule(dw.Settings("ADAM", lr=0.5, schedule="ADAFACTOR"), optimizer, 10)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert "With any other optimizer it does nothing" in SCHEDULES["ADAFACTOR"].summary


# ---------------------------------------------------------------------------------------------------- texts of a kind


@pytest.mark.parametrize("key", list_optimizers())
def test_only_an_estimating_optimizer_speaks_of_an_estimate_beside_its_rate(key):
    assert ("estimate" in spec(key).lr.option.help) == spec(key).estimates_rate


@pytest.mark.parametrize("key", list_optimizers())
def test_beta2_speaks_of_squared_gradients_where_they_are_averaged(key):
    uses = {use.name: use for use in spec(key).uses}
    if "beta2" not in uses:
        return
    squares = ("exp_avg_sq", "state2", "exp_avg_sq_row", "second_momentum_buffer")
    p = torch.nn.Parameter(noise(6, 6))
    optimizer = dw.build_optimizer(dw.Settings(key), [p])
    moves(optimizer, p, [noise(6, 6)])
    has_squares = any(name in optimizer.state[p] for name in squares) and key not in {"ADAN", "DADAPT_ADAN"}
    text = uses["beta2"].option.help
    assert ("average of the squared gradients" in text) == has_squares, "Adan's squares have beta3"
    assert has_squares or not uses["beta2"].note.startswith("Here it")


@pytest.mark.parametrize("key", list_optimizers())
def test_a_rate_that_spans_two_powers_of_ten_is_told_by_case(key):
    advice = spec(key).lr.advice
    if advice is not None and advice.between is not None and advice.between[1] >= 100 * advice.between[0]:
        assert advice.words, "one range from a full fine-tune to a toy says nothing to a learner"


@pytest.mark.parametrize("key", list_optimizers())
def test_what_is_said_to_be_allowed_is_allowed(key):
    """The closed ends of a range, and an empty value, are taken by an optimizer whose other options are at their defaults."""
    faults = Faults()
    for use in spec(key).uses:
        domain = use.domain or use.option.domain
        if use.standing is not Standing.LIVE or use.option.kind not in {"int", "float"}:
            continue
        with faults.of(use.name):
            assert ("or empty" in use.allowed()) == use.option.nullable
            if domain and math.isfinite(domain.low) and not domain.low_open and not use.option.choices:
                values = {**default_values(spec(key)), use.name: use.check(domain.low)}
                broken = [rule.id for rule in spec(key).rules if rule.severity == "error" and rule.broken(values)]
                told = "refused then" in use.note
                assert told == bool(broken), f"{use.allowed()}, yet {broken} refuses its low end"
    assert not faults, str(faults)


# ---------------------------------------------------------------------------------------------------- others' advice


def readme(package):
    return " ".join(metadata(package).get_payload().split())


def test_prodigys_own_advice_for_diffusion_models_is_in_the_recommended_values():
    text = readme("prodigyopt")
    assert (
        "`safeguard_warmup=True`, `use_bias_correction=True`, and `weight_decay=0.01` when training diffusion models"
        in text
    )
    assert "set `betas=(0.9, 0.99)`" in text
    assert "We do not recommend using restarts" in text
    values = spec("PRODIGY").preset("recommended").values
    said = {
        "safeguard_warmup": True,
        "use_bias_correction": True,
        "weight_decay": 0.01,
        "beta2": 0.99,
        "schedule": "COSINE",
    }
    assert said.items() <= values.items()
    for name in ("safeguard_warmup", "use_bias_correction"):
        assert "Prodigy's README" in spec("PRODIGY").use(name).advice.source
    restarts = dw.Settings("PRODIGY", schedule="COSINE_WITH_HARD_RESTARTS")
    assert any("advise against restarts" in str(fault) for fault in restarts.warnings())
    assert not restarts.replace(safeguard_warmup=True).warnings()


def test_prodigys_state_is_twice_adamws():
    shapes = [(256, 256)]
    ratio = dw.memory(dw.Settings("PRODIGY"), shapes) / dw.memory(dw.Settings("ADAMW"), shapes)
    assert ratio == pytest.approx(2, abs=0.01)
    assert "more state than AdamW" in spec("PRODIGY").summary  # how much more the table of state sizes says


@pytest.mark.parametrize("key", [key for key in list_optimizers() if key.startswith("DADAPT")])
def test_d_adaptations_own_advice_on_weight_decay_is_told(key):
    assert "try a factor of 2 or 4 bigger if you see overfitting" in readme("dadaptation")
    assert "two to four times the usual decay" in spec(key).use("weight_decay").note


@pytest.mark.parametrize("key", ["PRODIGY", "DADAPT_ADAM", "DADAPT_LION", "DADAPT_SGD"])
def test_which_optimizers_notice_fsdp1_by_themselves(key):
    module, name = spec(key).target.split(":")
    source = inspect.getsource(getattr(importlib.import_module(module), name).step)
    updating = (
        source.partition("if k == 0:")[2].partition("g0_norm = group['g0_norm']")[2] if key == "DADAPT_SGD" else source
    )
    notices = "_fsdp_flattened" in updating
    assert ("turns it on by itself" in spec(key).use("fsdp_in_use").note) == notices


@pytest.mark.slow
def test_the_estimate_of_dadapt_adam_leaps_higher_than_prodigys():
    highest = {}
    for key in ("DADAPT_ADAM", "PRODIGY"):
        run = dw.train(dw.Settings(key), "swiss_roll", 20, progress=False)
        highest[key] = run.history.column("d").max()
    assert highest["DADAPT_ADAM"] > 3 * highest["PRODIGY"]
    assert "leap far higher than Prodigy's" in spec("DADAPT_ADAM").summary


@pytest.mark.slow
def test_the_estimate_from_a_slice_of_the_weights_differs():
    d = {
        n: dw.train(dw.Settings("PRODIGY", slice_p=n), "digits", 40, progress=False).history.column("d")[-1]
        for n in (1, 11)
    }
    assert not 0.8 < d[11] / d[1] < 1.25
    assert "nearly" not in spec("PRODIGY").use("slice_p").option.help


@pytest.mark.slow
@pytest.mark.parametrize("key", ["CAME", "RMSPROP"])
def test_without_its_warm_up_a_run_ends_alike(key):
    settings = dw.preset(key, "recommended")
    losses = [
        dw.train(settings.replace(warmup=w), "digits", 300, progress=False).eval_after for w in (settings.warmup, 0.0)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert "alike" in settings.spec.preset("recommended").why
