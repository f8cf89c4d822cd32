"""Claims about the schedule-free optimizers that only a run of their own can show."""

import contextlib
import io
from importlib.metadata import metadata

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.optimizers.factory import build_optimizer, build_schedule, load_class
from diffopt_widgets.optimizers.modes import has_modes
from diffopt_widgets.settings import default_values
from diffopt_widgets.state_size.measured import state_bytes

PLUS = "PRODIGY_PLUS_SCHEDULE_FREE"
AVERAGING = ("SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD")


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((80, 64), (64,))
    return [torch.nn.Parameter((0.3 * torch.randn(shape, generator=generator)).to(dtype)) for shape in shapes]


def walk(optimizer, params, steps=30, schedule=None):
    """Train with weights of any precision; all parameters as one vector."""
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        x, y = (torch.randn(16, size, generator=generator).to(params[0].dtype) for size in (80, 64))
        (0.1 * ((x @ params[0] + params[1] - y) ** 2).mean()).backward()
        with contextlib.redirect_stdout(io.StringIO()):
            optimizer.step()
        optimizer.zero_grad()
        if schedule:
            schedule.step()
    return torch.cat([p.detach().flatten() for p in params])


def path(key=PLUS, *, dtype=torch.float32, groups=1, steps=30, **values):
    torch.manual_seed(0)  # stochastic rounding draws from it
    params = parameters(dtype)
    settings = dw.Settings(key, **values)
    optimizer = build_optimizer(settings, [{"params": [p]} for p in params] if groups == 2 else params)
    return walk(optimizer, params, steps, build_schedule(settings, optimizer, steps))


def by_hand(**arguments):
    params = parameters()
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer = load_class(spec(PLUS))(params, **arguments)
    return walk(optimizer, params), optimizer


@pytest.mark.parametrize("key", list_optimizers())
def test_the_catalogue_says_which_optimizers_have_modes(key):
    assert spec(key).has_modes == has_modes(load_class(spec(key)))
    assert spec(key).has_modes == has_modes(build_optimizer(dw.Settings(key), parameters()))


@pytest.mark.parametrize("key", AVERAGING)
def test_the_back_end_raises_when_stepped_in_eval_mode(key):
    params = parameters()
    optimizer = build_optimizer(dw.Settings(key), params)
    optimizer.eval()
    with pytest.raises(Exception, match="not in train mode"):
        walk(optimizer, params, 1)


@pytest.mark.parametrize("key", [*AVERAGING, PLUS])
def test_eval_and_train_mode_do_not_lead_back_to_the_same_bits(key):
    """So the loop has to keep the weights."""
    params = parameters()
    optimizer = build_optimizer(dw.Settings(key), params)
    trained = walk(optimizer, params, 80)
    optimizer.eval()
    optimizer.train()
    there_and_back = torch.cat([p.detach().flatten() for p in params])
    assert not torch.equal(there_and_back, trained)
    torch.testing.assert_close(there_and_back, trained, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------- warm-up, average


@pytest.mark.parametrize("key", AVERAGING)
def test_the_back_ends_own_warmup_takes_a_fraction_for_steps(key):
    arguments = {**spec(key).arguments(0.01, default_values(spec(key))), "warmup_steps": 0.1}
    params = parameters()
    optimizer = load_class(spec(key))(params, **arguments)
    optimizer.train()
    walk(optimizer, params, 1)
    assert optimizer.param_groups[0]["scheduled_lr"] == pytest.approx(0.1)
    assert "ten times" in next(hidden.reason for hidden in spec(key).hidden if hidden.argument == "warmup_steps")


@pytest.mark.parametrize("key", AVERAGING)
def test_the_weight_by_learning_rate_acts_only_in_a_warmup(key):
    assert not torch.equal(path(key, warmup=10), path(key, warmup=10, weight_lr_power=0.0))
    for schedule in ("CONSTANT", "COSINE"):
        plain, other = (path(key, lr=0.01, schedule=schedule, weight_lr_power=power) for power in (2.0, 0.0))
        torch.testing.assert_close(plain, other, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_the_plain_average_is_a_strength_of_ten_at_a_beta1_of_nine_tenths():
    assert torch.equal(path(), path(schedulefree_c=10.0))
    assert not torch.equal(path(), path(schedulefree_c=6.0))


def test_momentum_of_the_schedule_free_average_amplifies_nothing():
    params = [torch.nn.Parameter(torch.zeros(3))]
    optimizer = build_optimizer(dw.Settings("SCHEDULE_FREE_SGD", lr=0.1), params)
    for _ in range(50):
        params[0].grad = torch.ones(3)
        optimizer.step()
    assert torch.allclose(optimizer.state[params[0]]["z"], torch.full((3,), -5.0))


@pytest.mark.parametrize(("key", "values"), [("SCHEDULE_FREE_ADAMW", {}), (PLUS, {"use_schedulefree": True})])
def test_a_beta1_of_zero_divides_by_zero_in_eval_mode(key, values):
    with pytest.raises(dw.SettingsError, match="beta1"):
        dw.Settings(key, beta1=0.0, **values)
    arguments = spec(key).arguments(0.01, {**default_values(spec(key)), "beta1": 0.0, **values})
    params = parameters()
    optimizer = load_class(spec(key))(params, **arguments)
    optimizer.train()
    walk(optimizer, params, 2)
    with pytest.raises(ZeroDivisionError):
        optimizer.eval()


def test_without_the_average_a_beta1_of_zero_is_plain():
    assert torch.isfinite(path(beta1=0.0, use_schedulefree=False)).all()


# ---------------------------------------------------------------------------------------------------- groups, precision


def test_the_dependence_on_epsilon_is_said_in_words():
    assert spec(PLUS).use("use_stableadamw").enabled_if.words() == "only with eps set"


@pytest.mark.slow
def test_groups_are_split_only_where_there_are_several():
    assert torch.equal(path(split_groups=True), path(split_groups=False))
    assert not torch.equal(path(groups=2, split_groups=True), path(groups=2, split_groups=False))
    assert torch.equal(path(groups=2, split_groups=False), path(groups=1, split_groups=False))
    assert not torch.equal(path(groups=2), path(groups=2, split_groups_mean=True))
    assert torch.equal(path(groups=2, split_groups=False), path(groups=2, split_groups=False, split_groups_mean=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["factored_fp32", "stochastic_rounding"])
def test_what_is_said_to_need_bfloat16_needs_it(name):
    assert torch.equal(path(), path(**{name: False}))
    assert not torch.equal(path(dtype=torch.bfloat16), path(dtype=torch.bfloat16, **{name: False}))
    assert "bfloat16" in spec(PLUS).use(name).note


def test_small_tensors_are_not_factored():
    for shape, factored in (((31, 31), False), ((32, 2), True), ((64,), False)):
        p = torch.nn.Parameter(torch.ones(shape))
        optimizer = build_optimizer(dw.Settings(PLUS), [p])
        p.grad = torch.ones(shape)
        optimizer.step()
        assert ("exp_avg_sq_row" in optimizer.state[p]) == factored


def test_its_state_is_little_more_than_half_of_adamws():
    def per_weight(key, **values):
        params = [torch.nn.Parameter(torch.linspace(-1, 1, 512 * 512).reshape(512, 512))]
        optimizer = build_optimizer(dw.Settings(key, **values), params)
        params[0].grad = torch.ones(512, 512)
        with contextlib.redirect_stdout(io.StringIO()):
            for _ in range(3):
                optimizer.step()
                params[0].grad = torch.ones(512, 512)
        return state_bytes(optimizer) / params[0].numel()

    assert per_weight("ADAMW") == pytest.approx(8, abs=0.01)
    assert per_weight(PLUS) == pytest.approx(4 + 2 * 2 / 11, abs=0.05)  # z, and two bfloat16 slices of every 11th
    assert per_weight(PLUS, factored=False) == pytest.approx(8 + 2 * 2 / 11, abs=0.05)
    assert per_weight(PLUS, use_speed=True) == pytest.approx(4 + 2 / 11, abs=0.05)
    assert per_weight(PLUS, prodigy_steps=2) == pytest.approx(4, abs=0.05)  # the estimate's memory is freed


# ---------------------------------------------------------------------------------------------------- Prodigy Plus


def test_its_fused_back_pass_does_not_train():
    moved, _ = by_hand(fused_back_pass=True)
    assert torch.equal(moved, torch.cat([p.detach().flatten() for p in parameters()]))
    with pytest.raises(dw.SettingsError, match="would not train"):
        dw.Settings(PLUS, fused_back_pass=True)


@pytest.mark.slow
def test_what_the_back_end_overrides_in_silence():
    both, _ = by_hand(use_cautious=True, use_grams=True)
    assert torch.equal(both, by_hand(use_cautious=True)[0])
    assert torch.equal(by_hand(eps=None)[0], by_hand(eps=None, use_stableadamw=False)[0])
    assert torch.equal(by_hand(use_speed=True)[0], by_hand(use_speed=True, d_limiter=False)[0])


@pytest.mark.parametrize("schedule_free", [True, False])
def test_with_bias_correction_and_a_small_beta2_nothing_ever_moves(schedule_free):
    start = torch.cat([p.detach().flatten() for p in parameters()])
    held, _ = by_hand(use_bias_correction=True, betas=(0.9, 0.6), use_schedulefree=schedule_free)
    assert torch.equal(held, start)
    assert not torch.equal(path(use_bias_correction=True, beta2=0.61, use_schedulefree=schedule_free), start)


def test_bias_correction_moves_nothing_in_the_first_four_steps():
    start = torch.cat([p.detach().flatten() for p in parameters()])
    assert torch.equal(path(use_bias_correction=True, steps=4), start)
    assert not torch.equal(path(use_bias_correction=True, steps=5), start)


def test_the_estimate_rises_by_at_most_19_percent():
    for values, most in (({}, 2**0.25), ({"d_coef": 2.0}, 2 * 2**0.25), ({"d_limiter": False}, float("inf"))):
        params = parameters()
        optimizer = build_optimizer(dw.Settings(PLUS, **values), params)
        growth = 1.0
        for _ in range(12):
            held = optimizer.param_groups[0]["d"]
            walk(optimizer, params, 1)
            growth = max(growth, optimizer.param_groups[0]["d"] / held)
        assert growth > 1.19 if most == float("inf") else growth == pytest.approx(most)
    assert round(2**0.25, 2) == 1.19


@pytest.mark.slow
def test_at_onetrainers_learning_rate_the_weights_stand_still():
    run = dw.train(dw.Settings(PLUS, lr=3e-6), task="swiss_roll", steps=150, progress=False)
    assert run.history.column("applied_lr").max() < 1e-9
    assert run.eval_after == pytest.approx(run.eval_before, rel=1e-4)
    assert "stand still" in spec(PLUS).preset("onetrainer").why


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "held", "rising"),
    [({}, 0.84, 0.86), ({"use_speed": True}, 0.25, 0.27), ({"d_limiter": False}, 0.0, 0.5)],
)
def test_a_small_d_coef_holds_the_estimate_where_it_starts(values, held, rising):
    if held:
        assert by_hand(d_coef=held, **values)[1].param_groups[0]["d"] == 1e-6
        with pytest.raises(dw.SettingsError, match="never rise"):
            dw.Settings(PLUS, d_coef=held, **values)
    dw.Settings(PLUS, d_coef=rising, **values)
    assert by_hand(d_coef=rising, **values)[1].param_groups[0]["d"] > 1e-6


@pytest.mark.slow
def test_an_estimate_that_is_stopped_soon_stays_small_on_the_bench():
    """As the rule says: from 1e-6 it takes about 50 steps."""
    run = dw.train(dw.Settings(PLUS), task="swiss_roll", steps=100, progress=False)
    d = run.history.column("d")
    assert (d[24] < 1e-4).all()
    assert (d[59] > 0.9 * d[-1]).all()
    stopped = dw.train(dw.Settings(PLUS, prodigy_steps=25), task="swiss_roll", steps=100, progress=False)
    assert (stopped.history.column("d")[-1] < 1e-4).all()
    assert stopped.eval_after > 1.5 * run.eval_after


def test_adopt_only_looks_at_the_first_step():
    start = torch.cat([p.detach().flatten() for p in parameters()])
    assert torch.equal(path(use_adopt=True, steps=1), start)
    assert not torch.equal(path(use_adopt=True, steps=2), start)


def one_weight_after(steps, gradient, **arguments):
    """How far a weight has gone under a constant gradient, at an estimate that stays at 0.01."""
    p = torch.nn.Parameter(torch.ones(1))
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer = load_class(spec(PLUS))([p], d0=0.01, prodigy_steps=1, use_stableadamw=False, **arguments)
        for _ in range(steps):
            p.grad = torch.full((1,), gradient)
            optimizer.step()
    return float(p.detach()) - 1


def test_cautious_steps_lose_their_sign_without_the_average():
    assert one_weight_after(5, -1.0, use_cautious=True) > 0 > one_weight_after(5, 1.0, use_cautious=True)
    assert one_weight_after(5, -1.0, use_cautious=True, use_schedulefree=False) < 0, "uphill"


def test_adopt_hardly_moves_without_the_average():
    with_average, plain = (
        one_weight_after(10, 1.0, use_schedulefree=free, use_adopt=adopt)
        for free, adopt in ((True, True), (False, False))
    )
    assert with_average < -0.01
    assert plain < -0.01
    assert abs(one_weight_after(10, 1.0, use_schedulefree=False, use_adopt=True)) < 0.002


def test_orthograd_raises_on_weights_that_are_not_contiguous():
    for layout, raises in ((torch.contiguous_format, False), (torch.channels_last, True)):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 4 * 3 * 3 * 3).reshape(4, 3, 3, 3).to(memory_format=layout))
        optimizer = build_optimizer(dw.Settings(PLUS, use_orthograd=True), [p])
        p.grad = torch.ones_like(p)
        with pytest.raises(RuntimeError) if raises else contextlib.nullcontext():
            optimizer.step()


def test_weight_decay_that_is_not_multiplied_takes_all_of_it_at_every_step():
    def after(**values):
        p = torch.nn.Parameter(torch.ones(4))
        optimizer = build_optimizer(dw.Settings(PLUS, weight_decay=0.01, **values), [p])
        p.grad = torch.zeros(4)
        optimizer.step()
        return optimizer.state[p]["z"]

    assert torch.allclose(after(weight_decay_by_lr=False), torch.full((4,), 0.99))
    assert torch.allclose(after(), torch.ones(4))


def test_stableadamw_divides_by_the_square_root_of_the_size():
    optimizer = build_optimizer(dw.Settings(PLUS), parameters())
    assert torch.allclose(optimizer.rms_clip_(torch.full((5,), 9.0)), torch.full((5,), 3.0))
    assert torch.equal(optimizer.rms_clip_(torch.full((5,), 0.5)), torch.full((5,), 0.5))


# ---------------------------------------------------------------------------------------------------- advice


def test_the_advice_is_in_the_packages_own_words():
    free, plus = (metadata(name).get_payload() for name in ("schedulefree", "prodigy-plus-schedule-free"))
    assert "For AdamW, learning rates in the range 1x-10x larger than with schedule-based approaches" in free
    assert "For SGD, a learning rate 10x-50x larger than classical rates" in free
    assert "Using learning rate warmup is recommended" in free
    assert "0.9$ works on most problems" in free
    assert "`betas=(0.95, 0.99)` works better in most situations" in plus
    assert "Leave `lr` set to 1" in plus


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_schedule_free_sgds_own_rate_runs_away_on_the_digits_and_the_recommended_one_does_not():
    key = "SCHEDULE_FREE_SGD"
    for values in ({"lr": 1.0, "warmup": 20}, {"lr": 0.3}):
        assert dw.train(dw.Settings(key, **values), task="digits", steps=40, progress=False).status == "failed"
    calm = dw.train(dw.preset(key, "recommended"), task="digits", steps=40, progress=False)
    assert calm.status == "done"
    assert calm.eval_after < 0.6 * calm.eval_before
