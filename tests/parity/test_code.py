"""The code that "Copy as code" gives behaves like the bench's own optimizer, bit for bit."""

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.interop.code import to_python

SCHEDULES = [
    {"schedule": "CONSTANT"},
    {"schedule": "CONSTANT", "warmup": 4},
    {"schedule": "LINEAR", "min_factor": 0.25},
    {"schedule": "COSINE", "warmup": 0.25},
    {"schedule": "COSINE_WITH_RESTARTS", "cycles": 1.5},
    {"schedule": "COSINE_WITH_HARD_RESTARTS", "cycles": 3.0, "min_factor": 0.1},
    {"schedule": "COSINE_WITH_HARD_RESTARTS", "cycles": 1.5},
    {"schedule": "COSINE_WITH_HARD_RESTARTS", "cycles": 2.25, "min_factor": 0.1},
    {"schedule": "REX", "warmup": 2},
    {"schedule": "COSINE", "warmup": 1.0},
    {"schedule": "LINEAR", "warmup": 30},
]


def walk(optimizer, scheduler, params, steps):
    rates = []
    for step in range(steps):
        for p in params:
            p.grad = torch.cos(torch.arange(p.numel(), dtype=torch.float32) * (step + 1)).reshape(p.shape)
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return rates


def parameters():
    return [torch.nn.Parameter(torch.linspace(-1, 1, 64 * 72).reshape(64, 72)), torch.nn.Parameter(torch.ones(5))]


def compare(settings, steps=20, past=0):
    mine, theirs = parameters(), parameters()
    optimizer = dw.build_optimizer(settings, mine)
    expected = walk(optimizer, dw.build_schedule(settings, optimizer, steps), mine, steps + past)
    scope = {"params": theirs}
    code = to_python(settings, steps=steps)
    exec(code, scope)  # noqa: S102  # running it is the point
    rates = walk(scope["optimizer"], scope["scheduler"], theirs, steps + past)
    assert rates == expected, code
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b), code
    lines = [line for line in code.splitlines() if "diffopt" in line]
    ours = {
        "from diffopt_widgets.optimizers.came8bit import CAME8bit  # no other package has it": settings.optimizer
        == "CAME_8BIT",
        "from diffopt_widgets.optimizers.adapters import adapt  # what the optimizer's own package lacks": bool(
            settings.spec.adapter_options(settings.options)
        ),
    }
    assert lines == [line for line, needed in ours.items() if needed]


@pytest.mark.slow
@pytest.mark.parametrize("key", list_optimizers())
def test_every_preset_of_every_optimizer(key):
    for preset in spec(key).presets:
        compare(dw.preset(key, preset.key))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: "-".join(map(str, s.values())))
def test_every_schedule(schedule):
    compare(dw.Settings("ADAMW", lr=0.01, **schedule), past=5)


@pytest.mark.parametrize("options", [{"percentile_clipping": 50}, {"fused_back_pass": True}], ids=str)
@pytest.mark.parametrize("key", ["ADAMW", "ADAFACTOR", "LION_8BIT"])
def test_what_no_package_has_is_taken_from_this_one(key, options):
    compare(dw.Settings(key, schedule="COSINE" if key != "ADAFACTOR" else "CONSTANT", **options))
    code = to_python(dw.Settings(key, **options))
    ((name, value),) = options.items()
    assert f"adapt(optimizer, {name}={value})" in code
    assert ("optimizer.step() after each" in code) == (name == "fused_back_pass")


@pytest.mark.parametrize("option", ["stochastic_rounding", "kahan_summation"])
def test_code_for_weights_in_bfloat16_rounds_as_the_bench_does(option):
    settings = dw.Settings("ADAMW", lr=1e-3, **{option: True})
    assert f"adapt(optimizer, {option}=True)" in to_python(settings)
    mine, theirs = ([p.bfloat16() for p in parameters()] for _ in range(2))
    mine, theirs = ([torch.nn.Parameter(p.detach()) for p in params] for params in (mine, theirs))
    scope = {"params": theirs}
    exec(to_python(settings), scope)  # noqa: S102  # running it is the point
    for optimizer, params in ((dw.build_optimizer(settings, mine), mine), (scope["optimizer"], theirs)):
        for step in range(5):
            for p in params:
                p.grad = torch.full_like(p, 1.0 / (step + 1))
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_code_that_raises_past_its_end_says_so():
    ending = dw.Settings("DADAPT_SGD", lr=0.3, schedule="COSINE")
    code = to_python(ending, steps=7)
    scope = {"params": parameters()}
    exec(code, scope)  # noqa: S102  # running it is the point
    walk(scope["optimizer"], scope["scheduler"], scope["params"], 7)
    with pytest.raises(UnboundLocalError):
        walk(scope["optimizer"], scope["scheduler"], scope["params"], 1)
    assert "Take no more than 7 steps" in code
    recommended = dw.preset("DADAPT_SGD", "recommended")
    for going_on in (recommended, ending.replace(min_factor=0.01), dw.Settings("DADAPT_ADAM", schedule="COSINE")):
        compare(going_on, steps=7, past=3)
        assert "Take no more than" not in to_python(going_on, steps=7)


def test_the_scaler_is_written_into_the_rate():
    code = to_python(dw.Settings("ADAMW", lr=0.001, lr_scaler="BATCH"), batch_size=16)
    assert "lr=0.004," in code


def test_infinity_and_nothing_are_python():
    code = to_python(dw.Settings("PRODIGY", growth_rate=1.02, beta3=0.9))
    assert "growth_rate=1.02," in code
    assert "beta3=0.9," in code
    assert "lr=1.0," in code


def test_export_names_what_it_can_write():
    with pytest.raises(ValueError, match="python"):
        dw.export(dw.Settings("PRODIGY"), to="fortran")
    with pytest.raises(
        ValueError, match=r"dtype = float61: there is no such precision of weights\. Allowed: float32, bfloat16"
    ):
        dw.export(dw.Settings("PRODIGY"), dtype="float61")


def test_export_writes_for_the_run_that_it_is_told_of():
    settings = dw.Settings("ADAMW", lr=0.001, schedule="COSINE", warmup=0.1, lr_scaler="BOTH")
    code = dw.export(settings, steps=1000, batch_size=16, accumulation=4)
    assert code == to_python(settings, steps=1000, batch_size=16, accumulation=4)
    assert "lr=0.008," in code  # sqrt(16 * 4) = 8
    assert "if step < 100:" in code
    assert "(step - 100) / 900)" in code
