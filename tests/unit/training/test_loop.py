"""The loop: repeatable, the same for every optimizer, and honest about what it records."""

import math

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.rates.applied import RateMeter
from diffopt_widgets.records import StepRecord
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.training.loop import Training, fetch, find_device


def history_of(settings, **options):
    run = dw.train(settings, task="swiss_roll", steps=12, progress=False, **options)
    assert run.status == "done", run.trace
    return run.history


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ADAMW", "PRODIGY", "LAMB_8BIT"])
def test_the_same_seed_gives_the_same_run_bit_for_bit(key):
    first, second = (history_of(dw.Settings(key), seed=3) for _ in range(2))
    for name in first.names():
        if name != "seconds":
            np.testing.assert_array_equal(first.column(name), second.column(name))
    other = history_of(dw.Settings(key), seed=4)
    assert other.column("loss")[0] != first.column("loss")[0]


@pytest.mark.slow
def test_two_optimizers_see_the_same_weights_and_batches():
    # at a rate that moves nothing measurable, every step's loss is that of the initial weights on that step's batch
    sgd = history_of(dw.Settings("SGD", lr=1e-12)).column("loss")
    lion = history_of(dw.Settings("LION", lr=1e-12)).column("loss")
    np.testing.assert_allclose(sgd, lion, rtol=1e-6)
    assert len(set(sgd.tolist())) == len(sgd)


@pytest.mark.slow
def test_training_leaves_random_state_and_threads_alone():
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    history_of(dw.Settings("ADAMW"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_the_schedule_and_the_applied_rate_of_each_step():
    settings = dw.Settings("ADAMW", lr=0.002, schedule="COSINE", warmup=3)
    history = history_of(settings)
    rises = [0.0, 1 / 3, 2 / 3]
    falls = [0.5 * (1 + math.cos(math.pi * i / 9)) for i in range(9)]
    expected = np.array([0.002 * factor for factor in rises + falls])
    np.testing.assert_allclose(history.column("applied_lr")[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(history.column("lr")[:, 1], expected, rtol=1e-12)


def test_accumulation_averages_the_parts():
    plan = RunPlan(dw.Settings("SGD", lr=0.1), task="swiss_roll", steps=1, accumulation=3)
    training = Training(plan)
    parts = [float(training.problem.loss(0, micro).detach()) for micro in range(3)]
    (record,) = fetch(list(training.steps()))
    assert record.loss == pytest.approx(sum(parts) / 3, rel=1e-6)


def test_the_scaler_multiplies_the_rate_by_the_root_of_what_it_counts():
    settings = dw.Settings("ADAMW", lr=1e-4, lr_scaler="BOTH")
    training = Training(RunPlan(settings, task="swiss_roll", steps=1, batch_size=16, accumulation=4))
    assert dw.applied_lr(training.optimizer)[0] == pytest.approx(8e-4)


@pytest.mark.slow
def test_the_gradient_norm_is_recorded_when_asked_for():
    assert "grad_norm" not in history_of(dw.Settings("SGD", lr=0.1)).names()
    history = history_of(dw.Settings("SGD", lr=0.1), grad_norm=True)
    training = Training(RunPlan(dw.Settings("SGD", lr=0.1), task="swiss_roll", steps=1))
    training.problem.loss(0).backward()
    whole = torch.cat([p.grad.flatten() for group in training.problem.groups for p in group.params])
    assert history.column("grad_norm")[0] == pytest.approx(float(whole.norm()), rel=1e-5)


def test_stream_yields_numbers_step_by_step():
    records = list(dw.stream(dw.Settings("PRODIGY"), task="swiss_roll", steps=3))
    assert [record.step for record in records] == [1, 2, 3]
    assert all(isinstance(record.loss, float) and isinstance(record.d, float) for record in records)


def test_fetch_turns_every_tensor_into_its_number():
    record = StepRecord(1, 0.5, torch.tensor(2.0), (0.1,), (torch.tensor(0.25), 0.75), grad_norm=torch.tensor([3.0]))
    (fetched,) = fetch([record])
    assert (fetched.loss, fetched.applied_lr, fetched.grad_norm, fetched.d) == (2.0, (0.25, 0.75), 3.0, None)


@pytest.mark.slow
@pytest.mark.parametrize("key", dw.list_optimizers())
def test_recording_never_waits_for_the_device(key, monkeypatch):
    """Whatever reads a tensor's value waits for the device; what is recorded around a step must not."""
    training = Training(RunPlan(dw.Settings(key), task="swiss_roll", steps=2, grad_norm=True))
    recording = [0]
    reads = []

    def spied(owner, name):
        original = getattr(owner, name)

        def act(*args, **kwargs):
            recording[0] += 1
            try:
                return original(*args, **kwargs)
            finally:
                recording[0] -= 1

        monkeypatch.setattr(owner, name, act)

    def reader(name, original):
        def read(self, *args, **kwargs):
            if recording[0]:
                reads.append(name)
            return original(self, *args, **kwargs)

        return read

    for name in ("before", "after", "d_hat"):
        spied(RateMeter, name)
    spied(Training, "_grad_norm")
    for name in ("item", "tolist", "__float__", "__int__", "__bool__", "__index__", "cpu", "numpy", "to"):
        monkeypatch.setattr(torch.Tensor, name, reader(name, getattr(torch.Tensor, name)))
    records = list(training.steps())
    assert reads == []
    recording[0] = 1
    assert float(records[0].loss) > 0
    assert reads  # the spy sees a read


def test_a_device_that_is_not_there_is_named():
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(dw.MissingBackend, match=f"no device '{missing}'.*choose"):
        find_device(missing)


def test_an_unknown_task_is_named():
    with pytest.raises(KeyError, match="swiss_roll"):
        dw.train(dw.Settings("ADAMW"), task="mnist")


def test_wrong_plan_values_are_reported_together():
    with pytest.raises(dw.SettingsError) as caught:
        RunPlan(dw.Settings("ADAMW"), steps=0, seed=-1, device="tpu")
    assert [fault.option for fault in caught.value.faults] == ["steps", "seed", "device"]
