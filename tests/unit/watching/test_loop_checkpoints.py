"""A loop that is interrupted goes on from its last checkpoint as if nothing had happened, or says in words why it cannot."""

import pickle
import random
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.training.checkpoint import CheckpointError

STEPS, STOPPED = 20, 11


class Phase(str, Enum):
    FIRST = "first"


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
            x = 0.1 * torch.randn(4, 8) + 0.1 * random.random() + 0.1 * np.random.rand()  # noqa: NPY002, S311  # all three, as loops use them
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            at_step(step)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            w.log(loss=loss)
            w.checkpoint(model, optimizer, schedule, folder=folder, **{"every": "7 steps", **options})
    return w


def seed_all(seed):
    for start in (random.seed, np.random.seed, torch.manual_seed):
        start(seed)


def state_of(model):
    return [tensor.clone() for tensor in model.state_dict().values()]


def saved_steps(folder):
    return sorted(int(file.stem.removeprefix("step-")) for file in Path(folder).glob("step-*.pt"))


def goes_on(key, tmp_path):
    whole = begun(key)
    seed_all(9)
    alone = loop(tmp_path / "whole", whole)
    first = begun(key)
    seed_all(9)
    loop(tmp_path / "parts", first, STOPPED)
    again = begun(key, offset=1.0)
    seed_all(1)
    rest = loop(tmp_path / "parts", again)
    assert rest.history.step.tolist() == list(range(STOPPED + 1, STEPS + 1))
    for one, other in zip(state_of(whole[0]), state_of(again[0]), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())  # a NaN equals a NaN
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
    for other, words in ((None, "no scaler"), (torch.amp.GradScaler("cpu", enabled=False), "a scaler that is off")):
        with pytest.raises(CheckpointError, match=f"it has a scaler, and here is {words}"):
            dw.resume_loop(tmp_path, None, optimizer, scaler=other)


def test_steps_that_the_optimizer_skips_itself_are_no_other_state(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer, scaler = torch.optim.AdamW([weight], lr=0.1, fused=True), torch.amp.GradScaler("cpu", init_scale=4.0)
    with dw.watch(optimizer, show=False) as w:
        for i, factor in enumerate((1.0, float("inf"), 1.0, 1.0)):
            scaler.scale(weight.square().sum() * factor).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            w.checkpoint(scaler=scaler, more={"i": i}, folder=tmp_path, every="3 steps")
    last = weight.detach().clone()
    state = dw.resume_loop(tmp_path, None, optimizer, scaler=torch.amp.GradScaler("cpu"))
    assert (state.step, state.more) == (3, {"i": 3})
    assert torch.equal(weight, last)


def test_an_interrupted_loop_is_saved_as_of_its_last_step(tmp_path):
    def interrupt(step):
        if step == 5:
            raise KeyboardInterrupt

    whole, parts = begun(), begun()
    seed_all(4)
    loop(tmp_path / "whole", whole, 8)
    seed_all(4)
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path / "parts", parts, 8, at_step=interrupt)  # after a forward pass, which changes the buffers
    assert saved_steps(tmp_path / "parts") == [5]
    again = begun(offset=1.0)
    loop(tmp_path / "parts", again, 8)
    assert all(map(torch.equal, state_of(whole[0]), state_of(again[0])))


def test_what_the_loop_takes_out_of_its_values_before_an_interrupt_is_there_again(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer, left = torch.optim.SGD([weight], lr=0.1), [1, 2, 3, 4]

    def train():
        with dw.watch(optimizer, show=False) as w:
            while left:
                if left.pop(0) == 3:
                    raise KeyboardInterrupt
                weight.square().sum().backward()
                optimizer.step()
                w.checkpoint(more={"left": left}, folder=tmp_path)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert dw.resume_loop(tmp_path, None, optimizer).more == {"left": [3, 4]}


def test_with_an_object_that_cannot_be_copied_each_time_an_interrupt_saves_nothing_false(tmp_path):
    model, optimizer, _ = begun()
    average = Average(model)

    def train():
        with dw.watch(optimizer, show=False) as w:
            for step in range(6):
                average.update(model)
                if step == 5:
                    raise KeyboardInterrupt
                model(torch.randn(4, 8)).mean().backward()
                optimizer.step()
                w.checkpoint(model, more={"average": average}, folder=tmp_path, every="3 steps")

    with pytest.raises(KeyboardInterrupt):
        train()
    assert saved_steps(tmp_path) == [3]


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
    damaged = rf"{file.name} .* could not be read: damaged; the training continues from step-{before:08d}"
    with pytest.warns(UserWarning, match=damaged):
        assert dw.resume_loop(tmp_path, model, optimizer, schedule).step == before
    with pytest.warns(UserWarning, match=damaged):
        loop(tmp_path, begun())  # saving goes on from here, in the place of the damaged one
    assert saved_steps(tmp_path)[-1] == newest
    assert dw.resume_loop(tmp_path, *begun()).step == newest
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
        (lambda: (*begun()[:2], None), "its schedule is CosineAnnealingLR, and here is none"),
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


def test_files_that_are_not_ours_are_left_alone(tmp_path):
    for step in (1, 2):
        torch.save({"w": 1}, tmp_path / f"step-{step:08d}.pt")
    model, optimizer, schedule = begun()
    with pytest.raises(CheckpointError, match=r"step-00000002\.pt: it is not a checkpoint of diffopt_widgets"):
        dw.resume_loop(tmp_path, model, optimizer, schedule)
    with dw.watch(optimizer, start=5, show=False) as w:
        for _ in range(3):
            model(torch.randn(4, 8)).mean().backward()
            optimizer.step()
            w.checkpoint(model, folder=tmp_path, every="1 step", keep=1)
    assert [step for step in saved_steps(tmp_path) if step < 5] == [1, 2]
    assert saved_steps(tmp_path)[-1] == 8


def test_a_folder_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loop("kept", begun(), 8)
    loop(tmp_path / "kept", begun(), 12, keep=1)
    assert saved_steps(tmp_path / "kept") == [12]  # those from which it went on are its own


def test_of_two_trainings_in_one_folder_neither_overwrites_the_other(tmp_path):
    weights = [torch.nn.Parameter(torch.ones(size)) for size in (3, 4)]
    optimizers = [torch.optim.SGD([weight], lr=0.1) for weight in weights]
    with dw.watch(optimizers[0], show=False) as first, dw.watch(optimizers[1], show=False) as second:
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.square().sum().backward()
            optimizer.step()
        first.checkpoint(folder=tmp_path)
        second.checkpoint(folder=tmp_path)
        first.close()
        with pytest.warns(UserWarning, match="is of another training, and is left alone"):
            second.close()
    assert dw.resume_loop(tmp_path, None, optimizers[0]).step == 1


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path):
    folder = tmp_path / "round"
    folder.symlink_to(folder)  # a loop, as a Drive that does not answer: any error but "there is none"
    model, optimizer, _ = begun()
    with pytest.raises(CheckpointError, match="round cannot be read"):
        dw.resume_loop(folder, model, optimizer)
    with dw.watch(optimizer, show=False) as w:
        model(torch.randn(4, 8)).mean().backward()
        optimizer.step()
        with pytest.raises(dw.SettingsError, match="round cannot be read"):
            w.checkpoint(model, folder=folder)


def test_an_optimizer_that_keeps_its_weights_in_an_attribute_trains_them_afterwards(tmp_path):
    def trained(weight, steps):
        optimizer = torch.optim.LBFGS([weight], lr=0.1, max_iter=2)
        state = dw.resume_loop(tmp_path, None, optimizer)

        def closure():
            optimizer.zero_grad()
            loss = (weight - torch.arange(3.0)).pow(4).sum()
            loss.backward()
            return loss

        with dw.watch(optimizer, start=state, show=False) as w:
            for _ in range(state.step, steps):
                optimizer.step(closure)
                w.checkpoint(folder=tmp_path)
        return weight.detach()

    alone = trained(torch.nn.Parameter(torch.ones(3)), 6)
    for file in tmp_path.glob("*.pt"):
        file.unlink()
    trained(torch.nn.Parameter(torch.ones(3)), 3)
    assert torch.equal(trained(torch.nn.Parameter(torch.zeros(3)), 6), alone)


@pytest.mark.parametrize("value", [np.int64(3), np.float32(0.5), np.bool_(True), np.str_("a"), Phase.FIRST])
def test_values_of_other_kinds_of_numbers_and_texts_come_back(value, tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with dw.watch(optimizer, show=False) as w:
        weight.square().sum().backward()
        optimizer.step()
        w.checkpoint(more={"value": value}, folder=tmp_path)
    assert dw.resume_loop(tmp_path, None, optimizer).more == {"value": value}


def test_schedules_in_a_row_go_on(tmp_path):
    def made():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=4)
        steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
        return optimizer, torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, steps], [4])

    def trained(folder, until):
        optimizer, schedule = made()
        state = dw.resume_loop(folder, None, optimizer, schedule)
        with dw.watch(optimizer, start=state, show=False) as w:
            for _ in range(state.step, until):
                optimizer.step()
                schedule.step()
                w.checkpoint(scheduler=schedule, folder=folder)
        return w.history.column("lr")[:, 0].tolist()

    alone = trained(tmp_path / "alone", 10)
    assert trained(tmp_path / "parts", 2) + trained(tmp_path / "parts", 10) == alone


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step")
def test_a_schedule_that_keeps_an_array_is_refused_in_words(tmp_path):
    class Odd(torch.optim.lr_scheduler.ConstantLR):
        def __init__(self, optimizer):
            super().__init__(optimizer)
            self.table = np.ones(3)

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    with dw.watch(optimizer, show=False) as w:
        optimizer.step()
        with pytest.warns(UserWarning, match="its Odd keeps what cannot be saved"):
            w.checkpoint(scheduler=Odd(optimizer), folder=tmp_path)


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
