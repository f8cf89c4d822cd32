"""The callbacks on the real trainers: tiny models, a few steps on the CPU, nothing downloaded.

Their packages are an extra; `.ci/run` has a stage that installs them and fails without them.
"""

from __future__ import annotations

import warnings

import numpy as np
import prodigyopt
import pytest
import torch

import diffopt_widgets as dw

pytestmark = pytest.mark.filterwarnings("ignore")  # the trainers' own, about workers, loggers and the like

WHY = "needs the extra diffopt-widgets[integrations]"


class Squares(torch.utils.data.Dataset):
    """Twenty examples whose targets a straight line meets."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        x = torch.tensor([i / 24, 1.0])
        return {"x": x, "labels": 3 * x[:1] + 1}


def hooks_of(optimizer):
    return [len(vars(optimizer)[f"_optimizer_step_{when}_hooks"]) for when in ("pre", "post")]


# ---------------------------------------------------------------------------------------------------- transformers


@pytest.fixture
def trainer(tmp_path):
    """Make a transformers.Trainer of a straight line: 12 steps of 2 micro-batches of 1 in an epoch."""
    pytest.importorskip("transformers", reason=WHY)
    pytest.importorskip("accelerate", reason=WHY)
    import transformers

    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(2, 1, bias=False)
            torch.nn.init.zeros_(self.line.weight)

        def forward(self, x, labels):
            return {"loss": (self.line(x) - labels).square().mean()}

    def make(*callbacks, **arguments):
        usual = {
            "output_dir": str(tmp_path / "out"),
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 2,
            "num_train_epochs": 1,
            "logging_steps": 1,
            "learning_rate": 0.1,
            "lr_scheduler_type": "linear",
            "report_to": "none",
            "save_strategy": "no",
            "use_cpu": True,
            "disable_tqdm": True,
        }
        return transformers.Trainer(
            model=Line(),
            args=transformers.TrainingArguments(**usual | arguments),
            train_dataset=Squares(),
            eval_dataset=Squares(),
            callbacks=list(callbacks),
        )

    return make


def test_transformers_trainer(trainer, tmp_path):
    from diffopt_widgets.integrations.transformers import WatchCallback

    callback = WatchCallback(measure="update_rms", store=tmp_path / "runs.sqlite")
    training = trainer(callback, eval_strategy="steps", eval_steps=6, logging_steps=3)
    training.train()
    w = callback.watcher
    assert w.closed
    assert w.history.step.tolist() == list(range(1, 13))
    np.testing.assert_allclose(w.history.column("applied_lr")[:, 0], 0.1 * (12 - np.arange(12)) / 12)
    for name, steps in (("loss", [3, 6, 9, 12]), ("eval_loss", [6, 12]), ("grad_norm", [3, 6, 9, 12])):
        column = w.history.column(name)
        assert (np.flatnonzero(~np.isnan(column)) + 1).tolist() == steps
        expected = [log[name] for log in training.state.log_history if name in log]
        assert column[~np.isnan(column)].tolist() == pytest.approx(expected)
    assert np.isfinite(w.history.column("update_rms")[:, 0]).all()  # the other group, without weight decay, is empty
    assert not {"epoch", "learning_rate", "train_loss", "eval_runtime"} & set(w.history.names())
    assert hooks_of(training.optimizer.optimizer) == [0, 0]
    (kept,) = dw.RunStore(tmp_path / "runs.sqlite").list()
    assert (kept.name, kept.steps, kept.status) == ("Line", 12, "done")
    assert kept.about["arguments"]["learning_rate"] == 0.1
    assert w.plot.runs[0]["samples_per_step"] == 2


@pytest.mark.parametrize("every", [1, 4])
def test_transformers_evaluates_before_the_first_step(trainer, every):
    from diffopt_widgets.integrations.transformers import WatchCallback

    callback = WatchCallback()
    training = trainer(callback, eval_strategy="steps", eval_steps=every, eval_on_start=True)
    training.train()
    w = callback.watcher
    logged = {log["step"]: log["eval_loss"] for log in training.state.log_history if "eval_loss" in log}
    column = w.history.column("eval_loss")
    first = logged.pop(0)
    assert {step: column[step - 1] for step in logged} == logged
    if every == 1:
        assert w.before_first_step["eval_loss"] == first
    else:
        assert column[0] == first
    losses = {log["step"]: log["loss"] for log in training.state.log_history if "loss" in log}
    assert dict(enumerate(w.history.column("loss").tolist(), 1)) == losses


def test_transformers_trainer_twice_and_from_a_checkpoint(trainer):
    from diffopt_widgets.integrations.transformers import WatchCallback

    callback = WatchCallback()
    trainer(callback, save_strategy="steps", save_steps=8, max_steps=8).train()
    first = callback.watcher
    trainer(callback).train(resume_from_checkpoint=True)
    assert first.history.step.tolist() == list(range(1, 9))
    assert callback.watcher.history.step.tolist() == list(range(9, 13))


@pytest.mark.parametrize(
    "options", [{}, {"warmup_init": True}, {"relative_step": False, "scale_parameter": False, "lr": 1e-3}]
)
def test_transformers_adafactor_tells_what_it_applies(options):
    pytest.importorskip("transformers", reason=WHY)
    from transformers.optimization import Adafactor

    params = [torch.nn.Parameter(torch.linspace(0.5, 2.0, 6).reshape(2, 3)), torch.nn.Parameter(torch.ones(3))]
    optimizer = Adafactor(params, **options)
    expected = []
    with dw.watch(optimizer) as w:
        for _ in range(3):
            sum(p.square().sum() for p in params).backward()
            optimizer.step()
            optimizer.zero_grad()
            (group,) = optimizer.param_groups
            rates = [float(Adafactor._get_lr(group, optimizer.state[p])) for p in params]  # after the step, of the step
            expected.append((6 * rates[0] + 3 * rates[1]) / 9)
    assert w.history.column("applied_lr")[:, 0].tolist() == pytest.approx(expected)


def test_options_that_there_are_not_are_refused_at_once():
    pytest.importorskip("transformers", reason=WHY)
    from diffopt_widgets.integrations.transformers import WatchCallback

    with pytest.raises(TypeError, match="measures"):
        WatchCallback(measures="grad_norm")


# ---------------------------------------------------------------------------------------------------- accelerate


@pytest.fixture
def accelerated():
    """Prepare a model, its optimizer, its schedule and its data, with gradient accumulation over 2."""
    accelerate = pytest.importorskip("accelerate", reason=WHY)
    from accelerate.state import AcceleratorState, GradientState

    def make(**options):
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2, **options)
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        data = torch.utils.data.DataLoader(Squares(), batch_size=4)
        return accelerator, *accelerator.prepare(model, optimizer, schedule, data)

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def test_accelerate_in_a_plain_loop(accelerated):
    accelerator, model, optimizer, schedule, data = accelerated()
    losses = []
    with dw.watch(optimizer, schedule, accelerator.unwrap_model(model)) as w:
        for batch in data:
            with accelerator.accumulate(model):
                loss = (model(batch["x"]) - batch["labels"]).square().mean()
                losses.append(float(loss.detach()))
                w.log(loss=loss)
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    assert w.history.column("applied_lr")[:, 0].tolist() == [0.1, 0.05, 0.025]
    np.testing.assert_allclose(w.history.column("loss"), np.reshape(losses, (3, 2)).mean(axis=1), rtol=1e-6)
    assert hooks_of(optimizer.optimizer) == [0, 0]


def test_the_rate_of_an_optimizer_that_accelerate_prepared_is_its_own(accelerated):
    accelerator, *_ = accelerated()
    weight = torch.nn.Parameter(torch.linspace(0.25, 0.75, 12))
    optimizer = accelerator.prepare(prodigyopt.Prodigy([weight], lr=1.0))
    for _ in range(6):
        weight.grad = torch.ones(12)
        optimizer.step()
    (rate,) = dw.applied_lr(optimizer)
    assert rate == optimizer.param_groups[0]["d"] < 1e-3


def test_accelerate_tracker(accelerated, tmp_path):
    from diffopt_widgets.integrations.accelerate import WatchTracker

    tracker = WatchTracker(store=tmp_path / "runs.sqlite", name="mine")
    accelerator, model, optimizer, schedule, data = accelerated(log_with=tracker)
    accelerator.init_trackers("project", config={"batch_size": 4})
    tracker.watch(optimizer, schedule)
    for batch in data:
        with accelerator.accumulate(model):
            loss = (model(batch["x"]) - batch["labels"]).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            accelerator.log({"loss": loss.detach().item(), "lr": schedule.get_last_lr()[0]}, step=99)
    accelerator.end_training()
    history = tracker.watcher.history
    assert history.step.tolist() == [1, 2, 3]
    assert np.isfinite(history.column("loss")).all()
    assert history.column("lr")[:, 0].tolist() == [0.1, 0.05, 0.025]
    assert accelerator.get_tracker("diffopt_widgets", unwrap=True) is tracker.watcher
    (kept,) = dw.RunStore(tmp_path / "runs.sqlite").list()
    assert (kept.name, kept.status, kept.about["batch_size"]) == ("mine", "done", 4)


def test_what_accelerate_logs_for_each_batch_is_averaged_over_those_of_a_step(accelerated):
    """As train_unconditional.py of diffusers logs; a batch is known to end with a step only when it has."""
    from diffopt_widgets.integrations.accelerate import WatchTracker

    tracker = WatchTracker()
    accelerator, model, optimizer, schedule, data = accelerated(log_with=tracker)
    accelerator.init_trackers("project")
    tracker.watch(optimizer, schedule)
    losses = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number, batch in enumerate(data):
            with accelerator.accumulate(model):
                loss = (model(batch["x"]) - batch["labels"]).square().mean()
                losses.append(float(loss.detach()))
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                accelerator.log({"batch": number})
            logs = {"loss": loss.detach(), "lr": schedule.get_last_lr()[0], "step": number, "note": "text"}
            accelerator.log(logs, step=number)
        accelerator.end_training()
    np.testing.assert_allclose(
        tracker.watcher.history.column("loss"), np.reshape(losses, (3, 2)).mean(axis=1), rtol=1e-6
    )
    assert tracker.watcher.history.column("batch").tolist() == [1, 3, 5]
    assert [str(w.message) for w in told if "recorded" in str(w.message)] == [
        "'note' is not recorded: a str is not a real number"
    ]


def test_what_accelerate_logs_before_the_first_step_and_after_the_last_stays_in_its_place(accelerated):
    from diffopt_widgets.integrations.accelerate import WatchTracker

    tracker = WatchTracker()
    accelerator, model, optimizer, schedule, data = accelerated(log_with=tracker)
    accelerator.init_trackers("project")
    tracker.watch(optimizer, schedule)
    accelerator.log({"fid": 9.0, "val_loss": 8.0}, step=0)
    batches = [*data, next(iter(data))]  # the last one has no step: accumulation ends early
    for number, batch in enumerate(batches):
        with accelerator.accumulate(model):
            loss = (model(batch["x"]) - batch["labels"]).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        accelerator.log({"batch": float(number)}, step=number)
        if number == 3:
            accelerator.log({"fid": 7.0, "val_loss": 6.0}, step=2)
    assert not accelerator.sync_gradients
    accelerator.end_training()
    history = tracker.watcher.history
    np.testing.assert_array_equal(history.column("fid"), [9, 7, np.nan])
    np.testing.assert_array_equal(history.column("val_loss"), [8, 6, np.nan])
    np.testing.assert_array_equal(history.column("batch"), [0.5, 2.5, 5.25])


def test_accelerate_tracker_says_once_that_it_has_nothing_to_watch(accelerated):
    from diffopt_widgets.integrations.accelerate import WatchTracker

    accelerator, *_ = accelerated(log_with=WatchTracker())
    accelerator.init_trackers("project")
    with pytest.warns(UserWarning, match=r"before WatchTracker\.watch\(optimizer\)") as told:  # noqa: PT031
        accelerator.log({"loss": 1.0})
        accelerator.log({"loss": 1.0})
    assert len(told) == 1
    accelerator.end_training()


# ---------------------------------------------------------------------------------------------------- lightning


@pytest.fixture
def fitted(tmp_path):
    """Fit a straight line with lightning: 3 steps of 2 batches of 4 in an epoch."""
    lightning = pytest.importorskip("lightning.pytorch", reason=WHY)

    class Line(lightning.LightningModule):
        def __init__(self, fault):
            super().__init__()
            self.line = torch.nn.Linear(2, 1)
            self.fault = fault
            self.losses, self.norms = [], []

        def training_step(self, batch, batch_idx):
            if self.fault is not None and batch_idx == 4:
                raise self.fault
            loss = (self.line(batch["x"]) - batch["labels"]).square().mean()
            self.losses.append(float(loss.detach()))
            self.log("batch", batch_idx)
            return loss

        def on_before_optimizer_step(self, _):
            self.norms.append(float(torch.cat([p.grad.flatten() for p in self.parameters()]).norm()))

        def validation_step(self, batch, _):
            self.log("val/loss", (self.line(batch["x"]) - batch["labels"]).square().mean())

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def fit(*callbacks, fault=None):
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            accumulate_grad_batches=2,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        model = Line(fault)
        data = torch.utils.data.DataLoader(Squares(), batch_size=4)
        trainer.fit(model, data, data)
        return trainer, model

    return fit


def test_lightning_trainer(fitted):
    from diffopt_widgets.integrations.lightning import WatchCallback

    callback = WatchCallback(measure="grad_norm")
    trainer, model = fitted(callback)
    (w,) = callback.watchers
    assert (w.status, w.history.step.tolist()) == ("done", [1, 2, 3, 4, 5, 6])
    np.testing.assert_allclose(w.history.column("loss"), np.reshape(model.losses, (6, 2)).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(w.history.column("applied_lr")[:, 0], 0.1 * 0.5 ** np.arange(6))
    np.testing.assert_allclose(w.history.column("grad_norm"), model.norms, rtol=1e-6)
    assert w.history.column("batch").tolist() == [1, 3, 5, 1, 3, 5]
    assert (np.flatnonzero(~np.isnan(w.history.column("val/loss"))) + 1).tolist() == [3, 6]
    assert w.history.groups == ("all",)
    assert hooks_of(trainer.optimizers[0]) == [0, 0]


@pytest.mark.parametrize(("fault", "status"), [(ValueError("broken"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_lightning_that_ends_early(fitted, fault, status):
    from diffopt_widgets.integrations.lightning import WatchCallback

    callback = WatchCallback()
    with pytest.raises((ValueError, SystemExit, KeyboardInterrupt)):
        fitted(callback, fault=fault)
    (w,) = callback.watchers
    assert (w.status, w.closed, len(w.history)) == (status, True, 2)


def test_lightning_with_two_optimizers_draws_both_in_one_plot(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch", reason=WHY)
    from diffopt_widgets.integrations.lightning import WatchCallback

    class Pair(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.parts = torch.nn.ModuleList([torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)])

        def training_step(self, batch, _):
            for number, optimizer in enumerate(self.optimizers()):
                loss = (self.parts[number](batch["x"]) - batch["labels"]).square().mean()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
                self.log(f"loss {number}", loss)

        def configure_optimizers(self):
            return [torch.optim.SGD(part.parameters(), lr=0.1 * (n + 1)) for n, part in enumerate(self.parts)]

    callback = WatchCallback(name="GAN")
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Pair(), torch.utils.data.DataLoader(Squares(), batch_size=4))
    first, second = callback.watchers
    assert [w.history.column("applied_lr")[0, 0] for w in (first, second)] == [0.1, 0.2]
    assert [run["name"] for run in first.plot.runs] == ["GAN 0", "GAN 1"]
    assert first.plot is second.plot
    assert np.isfinite(second.history.column("loss 1")).all()
