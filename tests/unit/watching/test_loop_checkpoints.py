"""A loop that is interrupted goes on from its last checkpoint as if nothing had happened, or says in words why it cannot."""

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.training.checkpoint import CheckpointError

STEPS, STOPPED = 20, 11


class Average:
    """Average of the weights, as loops keep one."""

    def __init__(self, model):
        self.weights = [p.detach().clone() for p in model.parameters()]

    def update(self, model):
        self.weights = [0.9 * old + 0.1 * p.detach() for old, p in zip(self.weights, model.parameters(), strict=True)]

    def state_dict(self):
        return {"weights": self.weights}

    def load_state_dict(self, state):
        self.weights = state["weights"]


def begun(key="ADAMW", width=16, offset=0.0):
    """A model with buffers, its optimizer and a schedule; with an offset they are not those of the first start."""
    torch.manual_seed(3)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, width), torch.nn.BatchNorm1d(width), torch.nn.ReLU(), torch.nn.Linear(width, 1)
    )
    with torch.no_grad():
        for p in model.parameters():
            p.add_(offset)
    optimizer = dw.build_optimizer(dw.Settings(key), list(model.named_parameters()), batch_size=4)
    return model, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)


def loop(folder, parts, until=STEPS, *, at_step=lambda step: None, **options):
    """Train from the newest checkpoint of the folder; return the watch."""
    model, optimizer, schedule = parts
    state = dw.resume_loop(folder, model, optimizer, schedule)
    with dw.watch(optimizer, schedule, start=state, show=False) as w:
        for step in range(state.step, until):
            x = torch.randn(4, 8) + random.random() + np.random.rand()  # noqa: NPY002, S311  # all three, as loops use them
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            at_step(step)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            w.log(loss=loss)
            w.checkpoint(model, optimizer, schedule, folder=folder, **{"every": "7 steps", **options})
    return w


def state_of(model):
    return [tensor.clone() for tensor in model.state_dict().values()]


def saved_steps(folder):
    return sorted(int(file.stem.removeprefix("step-")) for file in Path(folder).glob("step-*.pt"))


def goes_on(key, tmp_path):
    seeds = random.seed, np.random.seed, torch.manual_seed
    for seed in seeds:
        seed(5)
    whole = begun(key)
    for seed in seeds:
        seed(9)
    alone = loop(tmp_path / "whole", whole)
    first = begun(key)
    for seed in seeds:
        seed(9)
    loop(tmp_path / "parts", first, STOPPED)
    again = begun(key, offset=1.0)
    for seed in seeds:
        seed(1)
    rest = loop(tmp_path / "parts", again)
    assert rest.history.step.tolist() == list(range(STOPPED + 1, STEPS + 1))
    assert all(map(torch.equal, state_of(whole[0]), state_of(again[0])))
    for column in ("loss", "lr", "applied_lr"):
        np.testing.assert_array_equal(rest.history.column(column), alone.history.column(column)[STOPPED:])


@pytest.mark.parametrize("key", ["PRODIGY", "DADAPT_SGD"])
def test_a_loop_goes_on_bit_for_bit_with_its_applied_rates(key, tmp_path):
    goes_on(key, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in dw.list_optimizers() if key not in {"PRODIGY", "DADAPT_SGD"}])
def test_each_optimizer_goes_on_bit_for_bit(key, tmp_path):
    goes_on(key, tmp_path)


def test_the_last_ones_are_kept(tmp_path):
    loop(tmp_path, begun(), every="3 steps", keep=2)
    assert saved_steps(tmp_path)[-1] == STEPS  # the end of the watch saves too
    assert len(saved_steps(tmp_path)) == 2
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".pt"]


def test_values_of_the_loop_and_objects_with_a_state_come_back(tmp_path):
    model, optimizer, _ = begun()
    average = Average(model)
    with dw.watch(optimizer, show=False) as w:
        for step in range(3):
            model(torch.randn(4, 8)).mean().backward()
            optimizer.step()
            average.update(model)
            more = {"epoch": 2, "order": [4, 1], "noise": torch.tensor([0.5]), "average": average, "step": step}
            w.checkpoint(model, more=more, folder=tmp_path)
    model, optimizer, _ = begun(offset=1.0)
    new = Average(model)
    state = dw.resume_loop(tmp_path, model, optimizer, more={"average": new})
    assert all(map(torch.equal, new.weights, average.weights))
    assert state.more == {"epoch": 2, "order": [4, 1], "noise": torch.tensor([0.5]), "step": 2}
    with pytest.raises(CheckpointError, match="it has the state of 'average': give it in more="):
        dw.resume_loop(tmp_path, model, optimizer)


def test_what_cannot_be_saved_is_said_at_the_first_step(tmp_path):
    model, optimizer, _ = begun()
    with dw.watch(optimizer, show=False) as w:
        model(torch.randn(4, 8)).mean().backward()
        optimizer.step()
        with pytest.warns(UserWarning, match=r"no checkpoint .* 'data' in more is a set"):
            w.checkpoint(model, more={"data": {1, 2}}, folder=tmp_path)
    assert not saved_steps(tmp_path)


def test_an_optimizer_inside_another_is_refused_in_words(tmp_path):
    class Around(torch.optim.SGD):
        def __init__(self, params):
            super().__init__(params, lr=0.1)
            self.base_optimizer = torch.optim.Adam(self.param_groups[0]["params"])

    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = Around([weight])
    with dw.watch(optimizer, show=False) as w:
        weight.square().sum().backward()
        optimizer.step()
        with pytest.warns(UserWarning, match="its Around holds another optimizer, Adam"):
            w.checkpoint(folder=tmp_path)


def test_micro_batches_between_steps_are_no_place_to_go_on_from(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with dw.watch(optimizer, show=False) as w:
        for micro in range(8):
            (weight.square().sum() * torch.rand(())).backward()
            if micro % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
            w.checkpoint(more={"micro": micro}, folder=tmp_path, every="1 step")
    assert dw.resume_loop(tmp_path, None, optimizer).more == {"micro": 7}
    assert saved_steps(tmp_path)[-1] == 2


def test_steps_that_a_scaler_skips_do_not_count(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer, scaler = torch.optim.SGD([weight], lr=0.1), torch.amp.GradScaler("cpu", init_scale=4.0)
    with dw.watch(optimizer, show=False) as w:
        for factor in (1.0, float("inf"), 1.0, 1.0):
            scaler.scale(weight.square().sum() * factor).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            w.checkpoint(scaler=scaler, folder=tmp_path)
    fresh = torch.amp.GradScaler("cpu")
    assert dw.resume_loop(tmp_path, None, optimizer, scaler=fresh).step == 3
    assert fresh.state_dict() == scaler.state_dict()
    with pytest.raises(CheckpointError, match="it has a scaler, and here is none"):
        dw.resume_loop(tmp_path, None, optimizer)


def test_an_interrupted_loop_is_saved_as_of_its_last_step(tmp_path):
    def interrupt(step):
        if step == 5:
            raise KeyboardInterrupt

    whole, parts = begun(), begun()
    torch.manual_seed(4)
    loop(tmp_path / "whole", whole, 8)
    torch.manual_seed(4)
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path / "parts", parts, 8, at_step=interrupt)
    assert saved_steps(tmp_path / "parts") == [5]


def test_a_step_that_was_interrupted_in_the_middle_is_not_saved(tmp_path):
    model, optimizer, _ = begun()

    def in_the_middle(*_):
        raise KeyboardInterrupt

    def train():
        with dw.watch(optimizer, show=False) as w:
            for step in range(4):
                model(torch.randn(4, 8)).mean().backward()
                if step == 3:
                    optimizer.register_step_pre_hook(in_the_middle)
                optimizer.step()
                w.checkpoint(model, folder=tmp_path, every="2 steps")

    with pytest.raises(KeyboardInterrupt):
        train()
    assert saved_steps(tmp_path) == [2]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    loop(tmp_path, begun())
    *_, before, newest = saved_steps(tmp_path)
    file = tmp_path / f"step-{newest:08d}.pt"
    file.write_bytes(file.read_bytes()[:-200])
    model, optimizer, schedule = begun()
    with pytest.warns(UserWarning, match=rf"{file.name} .* could not be read .* continues from step-{before:08d}"):
        state = dw.resume_loop(tmp_path, model, optimizer, schedule)
    assert state.step == before
    assert saved_steps(tmp_path)[-1] == before  # so that saving goes on from here
    for one in tmp_path.glob("*.pt"):
        one.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"all checkpoints in .* are damaged"):
        dw.resume_loop(tmp_path, model, optimizer, schedule)


def test_a_file_that_would_run_code_runs_none(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "step-00000003.pt").write_bytes(pickle.dumps(Trap()))
    torch.save({"format": 1, "device": "cpu", "step": Trap()}, tmp_path / "step-00000002.pt")
    model, optimizer, _ = begun()
    with pytest.raises(CheckpointError, match="damaged"):
        dw.resume_loop(tmp_path, model, optimizer)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: begun(width=8), r"0\.weight has the shape \(16, 8\) .* here has \(8, 8\) .*another rank"),
        (lambda: begun("LION"), "it is of the optimizer AdamW, and here is Lion"),
        (lambda: (*begun()[:2], None), "it has a schedule, and here is none"),
    ],
)
def test_a_checkpoint_of_another_training_is_named_and_changes_nothing(other, words, tmp_path):
    loop(tmp_path, begun(), 8)
    model, optimizer, schedule = other()
    before, drawn = state_of(model), torch.get_rng_state()
    with pytest.raises(CheckpointError, match=words):
        dw.resume_loop(tmp_path, model, optimizer, schedule)
    assert all(map(torch.equal, before, state_of(model)))
    assert not optimizer.state
    assert torch.equal(drawn, torch.get_rng_state())
    assert saved_steps(tmp_path) == [7, 8]


def test_checkpoints_of_another_training_are_not_overwritten(tmp_path):
    loop(tmp_path, begun())
    model, optimizer, _ = begun()
    with dw.watch(optimizer, show=False) as w:
        model(torch.randn(4, 8)).mean().backward()
        optimizer.step()
        with pytest.raises(dw.SettingsError, match=r"it has a checkpoint of step 20, .*dw\.resume_loop"):
            w.checkpoint(model, folder=tmp_path)


def test_a_disk_that_fails_is_told_and_tried_again(tmp_path):
    folder = tmp_path / "drive" / "checkpoints"
    (tmp_path / "drive").write_text("in the way")

    def back(step):
        if step == 12:
            (tmp_path / "drive").unlink()

    with pytest.warns(UserWarning, match="checkpoint of step .* could not be saved") as warned:
        loop(folder, begun(), at_step=back, every="2 steps")
    assert len([one for one in warned if "checkpoint" in str(one.message)]) == 1
    assert saved_steps(folder)[-1] == STEPS


@pytest.mark.parametrize("every", ["5", "", "min", "0 s", "-1 min", "5 days", 300, None, "1e3 s"])
def test_an_interval_without_its_unit_is_asked_about(every, tmp_path):
    model, optimizer, _ = begun()
    with dw.watch(optimizer, show=False) as w:
        model(torch.randn(4, 8)).mean().backward()
        optimizer.step()
        with pytest.raises(dw.SettingsError, match='Write every="5 min"'):
            w.checkpoint(model, folder=tmp_path, every=every)
