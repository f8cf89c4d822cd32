"""The ready comparisons: what each tells people to look for is there to be seen, on shorter runs than theirs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.optimizers.factory import build_optimizer
from diffopt_widgets.runs.comparisons import comparisons, every_optimizer
from diffopt_widgets.runs.run import Run
from diffopt_widgets.state_size.measured import state_bytes

COMPARISONS = {comparison.key: comparison for comparison in comparisons()}


def part_way(key, steps):
    """Its runs, on the whole comparison's plan, stopped after a few steps."""
    return trained_part_way(COMPARISONS[key].runs(device="cpu"), steps)


def trained_part_way(runs, steps):
    for run in runs:
        going = drive(run)
        for _ in range(steps + 1):
            next(going)
        going.close()
        assert len(run.history) == steps
    return [run.history.column("loss") for run in runs], runs


def test_each_differs_in_one_thing_and_says_what_to_look_for():
    assert len(COMPARISONS) == 6
    for comparison in COMPARISONS.values():
        runs = comparison.runs(seed=5)
        assert len({run.name for run in runs}) == len(runs) >= 2
        assert all(run.plan.seed == 5 and run.status == "waiting" for run in runs)
        varied = {
            name
            for run in runs
            for name in ("optimizer", *comparison.plan.flat())
            if name in run.plan.flat() and run.plan.flat()[name] != runs[0].plan.flat().get(name)
        }
        assert set(comparison.over) <= varied
        if "optimizer" not in comparison.over:
            assert varied == set(comparison.over)
        assert 1 <= comparison.look_for.count(". ") + 1 <= 3
        assert comparison.look_for.endswith(".")


def test_they_are_named_by_what_differs():
    names = {key: [run.name for run in comparison.runs()] for key, comparison in COMPARISONS.items()}
    assert names == {
        "d_coef": ["PRODIGY · d_coef 0.5", "PRODIGY · d_coef 1", "PRODIGY · d_coef 1.2"],
        "beta2": ["ADAMW · beta2 0.5", "ADAMW · beta2 0.9", "ADAMW · beta2 0.999"],
        "bits": ["ADAMW", "ADAMW_8BIT"],
        "warmup": ["ADAMW · warmup 0", "ADAMW · warmup 0.1"],
        "rounding": ["ADAMW · stochastic_rounding false", "ADAMW · stochastic_rounding true"],
        "lora": ["ADAMW", "ADAFACTOR", "LAMB"],
    }


def test_the_one_of_all_optimizers_has_each_with_its_recommended_preset():
    runs = every_optimizer().runs(seed=3)
    assert [run.settings for run in runs] == [dw.preset(key, "recommended") for key in dw.list_optimizers()]
    assert {(run.plan.task, run.plan.steps, run.plan.seed) for run in runs} == {("swiss_roll", 100, 3)}
    assert every_optimizer().size == len(runs)


@pytest.mark.slow
def test_a_beta2_far_too_low_keeps_the_loss_up_and_two_usual_ones_are_alike():
    (low, middle, high), runs = part_way("beta2", 40)
    assert np.mean(low[20:] > middle[20:]) > 0.9  # the same batches, so their noise is alike
    low, middle, high = (loss[20:].mean() for loss in (low, middle, high))  # measured: 0.337, 0.306, 0.309
    assert low > 1.05 * max(middle, high)
    assert middle == pytest.approx(high, rel=0.05)
    assert {tuple(run.history.column("applied_lr").ravel()) for run in runs} == {(1e-2,) * 80}


@pytest.mark.slow
def test_8_bits_follow_32_with_two_fifths_of_their_memory():
    (full, small), runs = part_way("bits", 30)
    np.testing.assert_allclose(small, full, rtol=0.03)
    assert not np.array_equal(small, full)
    assert runs[1].state_bytes / runs[0].state_bytes == pytest.approx(0.39, abs=0.01)


def test_eight_bit_states_are_a_quarter_where_tensors_are_large():
    weights = torch.nn.Parameter(torch.ones(512, 512))
    weights.grad = torch.ones_like(weights)
    sizes = []
    for comparison_run in COMPARISONS["bits"].runs():
        optimizer = build_optimizer(comparison_run.settings, [weights])
        optimizer.step()
        sizes.append(state_bytes(optimizer))
    assert sizes[1] / sizes[0] == pytest.approx(0.25, abs=0.01)


@pytest.mark.slow
def test_without_warm_up_the_loss_is_thrown_up_and_stays_up():
    (cold, warm), _ = part_way("warmup", 30)
    assert cold[:10].max() > 1.2 * cold[0]  # measured: 1.4 times; and 1.004
    assert warm[:10].max() < 1.1 * warm[0]
    assert cold[20:].mean() > 2 * warm[20:].mean()  # measured: 0.99 and 0.36


@pytest.mark.slow
def test_steps_too_small_for_bfloat16_are_lost_unless_they_are_rounded_at_random():
    (plain, rounded), runs = part_way("rounding", 60)
    exact = Run(replace(runs[0].plan, dtype="float32"))
    ((full,), _) = trained_part_way([exact], 60)
    np.testing.assert_allclose(rounded, full, rtol=0.02)  # measured: 0.003 at most
    fallen = [np.mean(loss[:10] - loss[-10:]) for loss in (plain, rounded)]  # the same batches: their noise is alike
    assert fallen[0] < 0.6 * fallen[1]
    training = runs[0].kept
    params = [p for group in training.problem.groups for p in group.params]
    before = [p.detach().clone() for p in params]
    next(training.steps())
    same = sum(int((p == was).sum()) for p, was in zip(params, before, strict=True))
    assert same / sum(p.numel() for p in params) == pytest.approx(0.77, abs=0.07)


def size_of_b(run):
    """Root mean square of all B matrices of a run that was stopped part way."""
    named = [pair for group in run.kept.groups for pair in zip(group.names, group.params, strict=True)]
    return torch.cat([p.detach().flatten() for name, p in named if "lora_B" in name]).square().mean().sqrt().item()


@pytest.mark.slow
def test_the_zeros_of_a_lora_move_at_once_a_thousand_times_slower_or_never():
    adamw, adafactor, lamb = map(size_of_b, part_way("lora", 1)[1])
    assert adamw == pytest.approx(1e-2, rel=0.01)
    assert adafactor == pytest.approx(1e-5, rel=0.1)
    assert lamb == 0


@pytest.mark.slow
def test_a_lora_learns_at_once_later_or_never():
    (adamw, adafactor, lamb), runs = part_way("lora", 60)
    assert size_of_b(runs[2]) == 0
    groups = [zip(group.names, group.params, strict=True) for group in runs[2].kept.groups]
    of_a = [sum(p.numel() for name, p in group if "lora_A" in name) for group in groups]
    shares = [a / sum(p.numel() for p in group.params) for a, group in zip(of_a, runs[2].kept.groups, strict=True)]
    assert runs[2].history.column("applied_lr")[-1] == pytest.approx(1e-2 * np.array(shares))
    assert size_of_b(runs[1]) < 0.5 * size_of_b(runs[0])
    adamw, adafactor, lamb = (loss[-10:].mean() for loss in (adamw, adafactor, lamb))
    assert adamw < adafactor < lamb
    assert adamw < 0.5 * lamb
