"""A training goes on from its checkpoint bit for bit, whatever its optimizer keeps; a file from elsewhere executes nothing."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.optimizers.factory import MissingBackend
from diffopt_widgets.records import StepRecord
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.training.checkpoint import Checkpoint, CheckpointError
from diffopt_widgets.training.loop import Training, fetch

RATES = {"SCHEDULE_FREE_SGD": 0.1, "SGD": 0.01, "SGD_8BIT": 0.01, "LARS": 0.01, "LARS_8BIT": 0.01, "DADAPT_SGD": 1.0}
OTHERS = (
    *((key, {"kourkoutas_beta": True}) for key in ("ADAMW_ADV", "ADOPT_ADV", "PRODIGY_ADV")),
    *((key, {"adam_kourkoutas_beta": True}) for key in ("MUON_ADV", "ADAMUON_ADV")),
    *((key, {"fused_back_pass": True}) for key in ("ADAMW", "ADAFACTOR", "MUON_ADV")),
    *((key, {"percentile_clipping": 50}) for key in ("ADAMW_8BIT", "CAME")),
    ("ADAFACTOR", {"beta1": 0.9}),
)


def plan_of(key: str, options: dict[str, object]) -> RunPlan:
    rate = {"lr": RATES[key]} if key in RATES else {}
    return RunPlan(dw.Settings(key, schedule="COSINE", **rate, **options), "swiss_roll", steps=10)


def records(training: Training, steps: int) -> list[StepRecord]:
    going = training.steps()
    found = [replace(fetch([next(going)])[0], seconds=0.0) for _ in range(steps)]
    going.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("key", "options"), [*((key, {}) for key in dw.list_optimizers()), *OTHERS], ids=str)
def test_it_goes_on_bit_for_bit(key: str, options: dict[str, object]) -> None:
    try:
        training = Training(plan := plan_of(key, options))
    except MissingBackend as error:
        pytest.skip(str(error))
    records(training, 5)
    training.evaluate()  # as at a stop
    checkpoint = Checkpoint.of(training)
    again = checkpoint.restored(plan)
    assert (checkpoint.step, again.taken, again.seconds) == (5, 5, training.seconds)
    assert repr(records(again, 5)) == repr(records(training, 5))  # as text, where NaN is the same as NaN
    weights = [[p for group in one.problem.groups for p in group.params] for one in (training, again)]
    assert all(torch.equal(p, q) for p, q in zip(*weights, strict=True))
    assert again.evaluate() == training.evaluate()


def test_training_names_no_package_of_optimizers() -> None:
    folder = Path(dw.__file__).parent / "training"
    packages = {dw.spec(key).package for key in dw.list_optimizers()} - {"torch"}
    named = [
        (file.name, package) for file in folder.glob("*.py") for package in packages if package in file.read_text()
    ]
    assert named == []  # what one needs beyond torch's interface stands in optimizers/quirks


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    training = Training(plan_of("ADAMW", {}))
    records(training, 2)
    return Checkpoint.of(training)


def changed(checkpoint: Checkpoint, **values: object) -> Checkpoint:
    file = io.BytesIO()
    torch.save(torch.load(io.BytesIO(checkpoint.data), weights_only=True) | values, file)
    return Checkpoint(checkpoint.step, file.getvalue())


def test_one_that_does_not_fit_is_refused(checkpoint: Checkpoint) -> None:
    plan = plan_of("ADAMW", {})
    with pytest.raises(CheckpointError, match="trained on cuda, and here it would continue on cpu"):
        changed(checkpoint, device="cuda").restored(replace(plan, device="cpu"))
    with pytest.raises(CheckpointError, match="newer version"):
        changed(checkpoint, format=99).restored(plan)
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoint.restored(replace(plan, task="digits"))
    one, *others = torch.load(io.BytesIO(checkpoint.data), weights_only=True)["weights"]
    with pytest.raises(CheckpointError, match="does not fit: weights have shape"):
        changed(checkpoint, weights=[one[:1], *others]).restored(plan)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoint(2, checkpoint.data[:1000]).restored(plan)


def test_one_from_somebody_else_executes_nothing() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return pytest.fail, ("it was executed",)

    for write in (torch.save, pickle.dump):
        file = io.BytesIO()
        write({"format": 1, "device": Evil()}, file)
        with pytest.raises(CheckpointError, match="cannot be read"):
            Checkpoint(2, file.getvalue()).restored(plan_of("ADAMW", {}))


def test_what_has_no_form_is_refused() -> None:
    training = Training(plan_of("ADAMW", {}))
    records(training, 1)
    optimizer = training.optimizer
    state = next(iter(optimizer.state.values()))
    state["mine"] = object()
    with pytest.raises(CheckpointError, match="keeps a object"):
        Checkpoint.of(training)
    del state["mine"]
    optimizer.state["global"] = {}
    with pytest.raises(CheckpointError, match="belongs to no parameter"):
        Checkpoint.of(training)
    training.torn = True
    with pytest.raises(CheckpointError, match="was interrupted"):
        Checkpoint.of(training)


def test_an_optimizer_that_nobody_has_tried_must_keep_nothing_unknown() -> None:
    plan = RunPlan(dw.Settings("unknown:Unknown", lr=1e-3), "swiss_roll", steps=4)
    training = Training(plan)
    records(training, 2)
    assert records(Checkpoint.of(training).restored(plan), 2) == records(training, 2)
    training.optimizer.inner = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(CheckpointError, match=r"keeps a SGD in \.inner"):
        Checkpoint.of(training)
