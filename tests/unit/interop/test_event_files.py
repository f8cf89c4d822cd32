"""TensorBoard's event files: those of the real writers are read, ours are what the real ones would write, cuts are told.

tests/data/make_event_files.py made the files.
"""

from __future__ import annotations

import math
import shutil
import struct
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from places import TESTS

import diffopt_widgets as dw
from diffopt_widgets.interop.event_files import Event, event_record, first_record, masked_crc, read_events
from diffopt_widgets.interop.tensorboard import event_file, history_of
from diffopt_widgets.records import History

DATA = TESTS / "data" / "event_files"
BEGAN = 1_700_000_000.0
STEPS = np.arange(1.0, 21.0)


def file_of(name: str) -> Path:
    return next((DATA / name).rglob("*tfevents*"))


def float32(values: object) -> np.ndarray:
    return np.asarray(values, dtype=np.float32).astype(float)


def test_a_log_of_kohya() -> None:
    (run,) = dw.read_logs(DATA / "kohya")
    assert (run.name, run.status, run.message) == ("network_train", "done", "")
    assert run.started == datetime.fromtimestamp(BEGAN, timezone.utc)
    history = run.history
    assert history.groups == ("textencoder", "unet")
    assert history.names() == ("loss", "lr", "applied_lr", "seconds", "loss/average")
    np.testing.assert_array_equal(history.step, STEPS)
    np.testing.assert_array_equal(history.column("loss"), float32(1 / STEPS))
    np.testing.assert_array_equal(history.column("lr"), np.stack([np.ones(20), np.full(20, 0.5)], axis=1))
    expected = np.stack([float32(1e-6 * STEPS), float32(5e-7 * STEPS)], axis=1)
    np.testing.assert_array_equal(history.column("applied_lr"), expected)
    np.testing.assert_array_equal(history.column("seconds"), (STEPS - 1) / 2)


def logged(*rows: tuple[int, float, dict[str, float]]) -> History:
    """The history of events, each with its step, seconds and values; every value is an event, as writers make them."""
    return history_of(
        Event(step, BEGAN + seconds, {tag: value}) for step, seconds, tags in rows for tag, value in tags.items()
    )


def test_kohyas_rate_of_the_first_part_alone() -> None:
    """train_network.py logs `lr/d*lr` without a part for ProdigyPlusScheduleFree, of the first group: a rate of 1 is not applied."""
    history = logged((1, 0.0, {"loss/current": 0.5, "lr/textencoder": 1.0, "lr/unet": 1.0, "lr/d*lr": 1e-6}))
    assert history.groups == ("textencoder", "unet")
    np.testing.assert_array_equal(history.column("lr"), [[1, 1]])
    np.testing.assert_array_equal(history.column("applied_lr"), [[1e-6, math.nan]])
    history = logged((1, 0.0, {"loss": 0.5, "lr": 1.0, "lr/d*lr": 1e-6}))  # train_textual_inversion.py
    assert (history.column("lr").tolist(), history.column("applied_lr").tolist()) == ([[1]], [[1e-6]])


@pytest.mark.parametrize("number", ["epochs", "steps"])
def test_what_kohya_logs_once_an_epoch_stands_at_its_step_and_moves_no_time(number: str) -> None:
    rows = []
    for step in range(1, 7):
        rows.append((step, 10.0 * step, {"loss/current": 1 / step, "loss/average": 2 / step}))
        if step % 3 == 0:
            at = step // 3 if number == "epochs" else step
            rows.append((at, 10.0 * step + 1, {"loss/epoch_average": 5.0, "loss/validation/epoch_average": 7.0}))
    history = logged(*rows)
    np.testing.assert_array_equal(history.step, range(1, 7))
    np.testing.assert_array_equal(history.column("seconds"), [0, 10, 20, 30, 40, 50])
    np.testing.assert_array_equal(history.column("loss/epoch_average"), [math.nan, math.nan, 5] * 2)
    np.testing.assert_array_equal(history.column("eval_loss"), [math.nan, math.nan, 7] * 2)


def test_the_validation_of_onetrainer_with_one_concept_and_with_two() -> None:
    step = {"loss/train_step": 0.5, "smooth_loss/train_step": 0.6, "lr/unet": 1e-4, "kourkoutas/beta2_mean": 0.9}
    one = logged((1, 0.0, step), (1, 1.0, {"loss/validation_step/cats": 0.7}))
    assert one.names() == ("loss", "lr", "eval_loss", "seconds", "smooth_loss/train_step", "kourkoutas/beta2_mean")  # fmt: skip
    both = {"loss/validation_step/cats": 0.7, "loss/validation_step/dogs": 0.9}
    two = logged((1, 0.0, step), (1, 1.0, both | {"loss/validation_step/total_average": 0.8}))
    assert (one.column("eval_loss")[0], two.column("eval_loss")[0]) == (0.7, 0.8)
    assert {"loss/validation_step/cats", "loss/validation_step/dogs"} <= set(two.names())


def test_a_log_of_onetrainer_with_a_restart_and_a_loss_that_is_no_number() -> None:
    (run,) = dw.read_logs(file_of("onetrainer"))
    history = run.history
    assert run.name == "2026-01-01_12-00-00"
    np.testing.assert_array_equal(history.step, [-3, *range(1, 12)])
    loss = [1 / -3, *(math.nan if step == 7 else 1 / step for step in range(1, 12))]
    np.testing.assert_array_equal(history.column("loss"), float32(loss))
    assert "lr" in history.names()
    assert "applied_lr" not in history.names()  # the log does not name the optimizer
    assert history.column("eval_loss")[5] == 0.5
    assert np.isnan(history.column("eval_loss")[4])
    assert history.column("seconds")[9] == 0.5 * 10  # the one after the restart
    assert "ema_decay" in history.names()


def table(history: History, *names: str) -> dict[str, list[float]]:
    """The named columns of a history with one group, as lists."""
    return {name: history.column(name).ravel().tolist() for name in names}


@pytest.mark.parametrize("tag", ["lr", "train/learning_rate", "learning_rate", "lr/unet", "train/lr", "lr-Prodigy"])
def test_a_rate_that_is_only_the_schedules_is_not_said_to_be_applied(tag: str, tmp_path: Path) -> None:
    history = logged((1, 0.0, {"loss": 0.5, tag: 1.0}), (2, 1.0, {"loss": 0.4, tag: 0.5}))
    assert history.names() == ("loss", "lr", "seconds")
    assert table(history, "lr") == {"lr": [1, 0.5]}
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(first_record(1.0) + event_record(Event(1, 1.0, {"loss": 0.5, tag: 1.0})))
    (run,) = dw.read_logs(path)
    figure = run.figure()
    assert [list(trace.y) for trace in figure.data if trace.yaxis == "y2"] == [[1.0]]
    assert [note.text.replace("<br>", " ") for note in figure.layout.annotations][1:] == [
        "Group's learning rate; what is applied is not known"
    ]


def test_a_log_of_simpletuner() -> None:
    rows = []
    for step, d in ((1, 1e-6), (2, 6e-5)):
        tags = {"prodigy_d": d, "prodigy_effective_lr": d * 0.5, "train_loss": 1 / step, "optimization_loss": 2.0}
        rows.append(
            (step, float(step), tags | {"learning_rate": 0.5, "epoch": 1.0, "grad_norm": 3.0, "loss/val/cats": 0.25})
        )
    history = logged(*rows)
    assert table(history, "loss", "lr", "applied_lr", "d", "grad_norm", "eval_loss") == {
        "loss": [1, 0.5],
        "lr": [0.5, 0.5],
        "applied_lr": [5e-7, 3e-5],
        "d": [1e-6, 6e-5],
        "grad_norm": [3, 3],
        "eval_loss": [0.25, 0.25],
    }
    newer = logged(*((step, at, tags | {"learning_rate": tags["prodigy_d"]}) for step, at, tags in rows))
    assert "lr" not in newer.names()  # it logs d under that name
    assert table(newer, "applied_lr", "learning_rate") == {"applied_lr": [5e-7, 3e-5], "learning_rate": [1e-6, 6e-5]}


def test_a_log_of_diffusion_pipe_with_epochs_and_an_evaluation_before_the_first_step() -> None:
    rows = [(0, 0.0, {"cats/loss_quantile_0.10": 0.9, "cats/loss": 0.8, "eval/eval_time_sec": 3.0})]
    for step in range(1, 7):
        rows.append(
            (step, float(step), {"train/loss": 1 / step, "train/grad_norm": 2.0, "train/prodigy_d": step * 1e-6})
        )
        if step % 3 == 0:
            rows.append((step // 3, step + 0.5, {"train/epoch_loss": 0.5}))
    history = logged(*rows)
    assert history.step.tolist() == list(range(7))
    assert history.names()[:4] == ("loss", "d", "grad_norm", "eval_loss")
    np.testing.assert_array_equal(history.column("train/epoch_loss"), [*[math.nan] * 3, 0.5, math.nan, math.nan, 0.5])
    np.testing.assert_array_equal(history.column("eval_loss"), [0.8, *[math.nan] * 6])


def test_a_log_of_lightning_keeps_its_values_of_epochs_at_their_steps() -> None:
    rates = {"lr-AdamW/pg1": 1e-3, "lr-AdamW/pg2": 1e-4, "lr-AdamW-momentum": 0.9}
    rows = [(step, float(step), {"train_loss_step": 1 / step, **rates}) for step in (1, 2, 3)]
    rows.insert(2, (2, 2.5, {"train_loss_epoch": 0.75, "val_loss_epoch": 0.5}))
    history = logged(*rows)
    assert history.groups == ("AdamW/pg1", "AdamW/pg2")
    assert history.column("lr").tolist() == [[1e-3, 1e-4]] * 3
    assert history.column("loss").tolist() == [1, 1 / 2, 1 / 3]
    for name, value in (("train_loss_epoch", 0.75), ("eval_loss", 0.5), ("lr-AdamW-momentum", None)):
        expected = [0.9] * 3 if value is None else [math.nan, value, math.nan]
        np.testing.assert_array_equal(history.column(name), expected)


def test_a_log_of_transformers() -> None:
    tags = {"train/loss": 0.5, "train/learning_rate": 1e-3, "train/grad_norm": 2.0, "train/epoch": 0.1}
    history = logged(
        (10, 0.0, tags), (10, 1.0, {"eval/loss": 0.4, "eval/runtime": 2.0}), (10, 2.0, {"train/train_loss": 3.0})
    )
    assert table(history, "loss", "lr", "grad_norm", "eval_loss", "train/train_loss") == {
        "loss": [0.5], "lr": [1e-3], "grad_norm": [2], "eval_loss": [0.4], "train/train_loss": [3]
    }  # fmt: skip
    assert "applied_lr" not in history.names()


def test_groups_that_kohya_logs_by_name_and_by_number_are_one() -> None:
    """The else of its loop in train_network.py runs always, so each part is logged a second time, by number."""
    rates = {"lr/textencoder": 0.5, "lr/unet": 1.0, "lr/d*lr": 1e-6, "lr/group1": 1.0, "lr/d*lr/group1": 2e-6}
    history = logged((1, 0.0, {"loss/current": 0.5, **rates}))
    assert (history.groups, history.column("lr").tolist()) == (("textencoder", "unet"), [[0.5, 1]])
    assert history.column("applied_lr").tolist() == [[1e-6, 2e-6]]
    plain = {"lr/textencoder": 0.5, "lr/unet": 1.0, "lr/group1": 1.0}
    assert logged((1, 0.0, {"loss/current": 0.5, **plain})).groups == ("textencoder", "unet")


def test_a_restart_from_a_backup_counts_from_its_step_on(tmp_path: Path) -> None:
    def write(number: int, steps: range, loss: float) -> None:
        began = BEGAN + 100 * number
        events = [Event(step, began + step, {"loss/train_step": loss, "lr/unet": 0.1}) for step in steps]
        path = tmp_path / f"events.out.tfevents.{began:.0f}.host"
        path.write_bytes(first_record(began) + b"".join(map(event_record, events)))

    write(1, range(1, 11), 1.0)
    write(2, range(6, 9), 2.0)  # stopped before it came as far as the first
    (run,) = dw.read_logs(tmp_path)
    assert run.history.step.tolist() == list(range(1, 9))
    assert run.history.column("loss").tolist() == [1.0] * 5 + [2.0] * 3
    assert (np.diff(run.history.column("seconds")) > 0).all()


def test_a_scalar_that_is_a_tensor() -> None:
    (run,) = dw.read_logs(DATA / "keras")
    np.testing.assert_array_equal(run.history.column("loss"), float32([1, 1 / 2, 1 / 3, 1 / 4]))


def test_logs_are_drawn_beside_our_runs_and_can_be_stored(tmp_path: Path) -> None:
    logged = dw.read_logs(DATA)
    assert [run.name for run in logged] == ["keras/train", "kohya/network_train", "onetrainer/2026-01-01_12-00-00"]
    run = dw.train(dw.Settings("PRODIGY"), task="swiss_roll", steps=3, progress=False)
    figure = dw.compare([run, *logged])
    assert [trace.name for trace in figure.data if trace.showlegend] == [run.name, *(one.name for one in logged)]
    plot = dw.LivePlot()
    plot.add_run("theirs", logged[1].name, logged[1].history)
    store = dw.RunStore(tmp_path / "runs.sqlite")
    key = store.add(logged[1])
    found = store.load(key)
    assert (found.name, found.status, found.about) == (logged[1].name, "done", logged[1].about)
    assert found.started == logged[1].started
    for name in logged[1].history.names():
        np.testing.assert_array_equal(found.history.column(name), logged[1].history.column(name))


def test_what_is_whole_of_a_file_is_read_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = file_of("keras").read_bytes()
    path = tmp_path / "events.out.tfevents.1.cut"
    path.write_bytes(whole)
    events, problem = read_events(path)
    assert (len(events), problem) == (4, "")
    for cut in range(24, len(whole)):
        path.write_bytes(whole[:cut])
        if not records(whole[:cut]):
            with pytest.raises(ValueError, match="is not an event file of TensorBoard: it ends within a record"):
                read_events(path)
            continue
        found, problem = read_events(path)
        assert found == events[: len(records(whole[:cut])) - 1]  # the first record is the version
        assert problem == ("" if cut == len(b"".join(records(whole[:cut]))) else "it ends within a record")


def records(data: bytes) -> list[bytes]:
    """The whole records at the start of a file, told by their lengths alone."""
    found, place = [], 0
    while place + 12 <= len(data):
        stop = place + 16 + int.from_bytes(data[place : place + 8], "little")
        if stop > len(data):
            break
        found.append(data[place:stop])
        place = stop
    return found


def test_a_run_that_is_still_written_says_how_far_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "run" / "events.out.tfevents.1.cut"
    path.parent.mkdir()
    path.write_bytes(file_of("keras").read_bytes()[:-3])
    (run,) = dw.read_logs(tmp_path)
    assert len(run.history) == 3
    assert run.message == "events.out.tfevents.1.cut was read only in part: it ends within a record."


def test_damage_is_told_and_what_came_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.bad"
    whole = records(file_of("keras").read_bytes())
    broken = bytearray(b"".join(whole))
    broken[len(b"".join(whole[:3])) + 20] ^= 1
    path.write_bytes(broken)
    found, problem = read_events(path)
    assert (len(found), problem) == (2, f"it is damaged before byte {len(b''.join(whole[:4]))}")


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        dw.read_logs(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="no event files"):
        dw.read_logs(tmp_path)
    path = tmp_path / "events.out.tfevents.txt"
    path.write_text("step,loss\n1,0.5\n2,0.25\n3,0.125\n")
    with pytest.raises(ValueError, match=r"is not an event file of TensorBoard: it is damaged at byte 0"):
        dw.read_logs(path)
    inner = b"\x0b\x01"  # a group, which protocol buffers have given up
    length = struct.pack("<Q", len(inner))
    checks = [struct.pack("<I", masked_crc(part)) for part in (length, inner)]
    path.write_bytes(first_record(1.0) + length + checks[0] + inner + checks[1])
    assert read_events(path) == ([], "it holds something that is not an event (field type 3)")


def test_a_record_of_ours_is_the_one_that_torch_writes() -> None:
    written = file_of("kohya").read_bytes()
    for step in (1, 20):
        for tag, value in (("loss/current", 1 / step), ("lr/d*lr/unet", 5e-7 * step)):
            assert event_record(Event(step, BEGAN + 0.5 * (step - 1), {tag: value})) in written
    assert event_record(Event(-3, BEGAN + 0.5 * 13, {"ema_decay": 0.9})) in file_of("onetrainer").read_bytes()
    first = records(written)[0]
    assert first_record(struct.unpack("<d", first[13:21])[0])[12:-4].startswith(first[12:21])


VALUES = st.floats(width=32)
TAGS = st.text(st.characters(codec="utf-8"), max_size=40)
EVENTS = st.builds(
    Event, st.integers(-(2**63), 2**63 - 1), st.floats(0, 2e9), st.dictionaries(TAGS, VALUES, min_size=1, max_size=4)
)


@pytest.mark.slow
@hypothesis.given(st.lists(EVENTS, max_size=8))
def test_events_that_are_written_are_read(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> None:
    path = tmp_path_factory.getbasetemp() / "events.out.tfevents.random"
    path.write_bytes(first_record(1.0) + b"".join(map(event_record, events)))
    found, problem = read_events(path)
    assert problem == ""
    np.testing.assert_equal([asdict(event) for event in found], [asdict(event) for event in events])
    if found:
        history = history_of(found)
        assert history.step.tolist() == sorted({event.step for event in events})


def test_a_history_that_is_exported_comes_back(tmp_path: Path) -> None:
    history = History(("unet", "text/encoder"))
    rates = np.stack([STEPS * 1e-6, STEPS * 2e-6], axis=1)
    columns = {"loss": 1 / STEPS, "lr": rates * 10, "applied_lr": rates, "d": rates * 2, "seconds": STEPS * 0.5}
    history.extend_columns(STEPS, {**columns, "val/ssim": np.where(STEPS % 5 == 0, STEPS, np.nan)})
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(event_file(history, BEGAN)))
    back = history_of(read_events(path)[0])
    assert (back.groups, back.names()) == (history.groups, history.names())
    for name in set(history.names()) - {"seconds"}:
        np.testing.assert_array_equal(back.column(name), float32(history.column(name)))
    np.testing.assert_array_equal(back.column("seconds"), history.column("seconds") - 0.5)  # from the first event on


@pytest.fixture
def store(tmp_path: Path) -> dw.RunStore:
    store = dw.RunStore(tmp_path / "runs.sqlite")
    for name, groups in (("a/b: <i>", ("unet",)), ("a, b", ("x", "y"))):
        history = History(groups)
        rates = np.stack([np.array([0.1, math.nan])] * len(groups), axis=1)
        history.extend_columns([1, 2], {"loss": [0.5, math.inf], "applied_lr": rates})
        store.begin(name, history, id=f"id-{len(groups)}").end("done")
    return store


def test_an_export_as_csv(store: dw.RunStore, tmp_path: Path) -> None:
    path = store.export(["id-1", "id-2"], tmp_path / "runs.csv")
    assert path.read_text("utf-8").splitlines() == [
        "id,run,step,loss,applied_lr,applied_lr[x],applied_lr[y]",
        "id-1,a/b: <i>,1,0.5,0.1,,",
        "id-1,a/b: <i>,2,inf,,,",
        'id-2,"a, b",1,0.5,,0.1,0.1',
        'id-2,"a, b",2,inf,,,',
    ]


def test_an_export_for_tensorboard(store: dw.RunStore, tmp_path: Path) -> None:
    folder = store.export(["id-1", "id-2"], tmp_path / "logs")
    runs = {run.name: run for run in dw.read_logs(folder)}
    assert sorted(runs) == ["a, b id-2".replace(",", "_"), "a_b_ _i_ id-1"]
    np.testing.assert_array_equal(runs["a_b_ _i_ id-1"].history.column("loss"), [0.5, np.inf])
    shutil.rmtree(folder)


def test_an_export_as_parquet(store: dw.RunStore, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = store.export("id-2", tmp_path / "runs.parquet")
    assert pq.read_table(path).to_pydict() == {
        "id": ["id-2"] * 2,
        "run": ["a, b"] * 2,
        "step": [1, 2],
        "loss": [0.5, math.inf],
        "applied_lr[x]": [0.1, None],
        "applied_lr[y]": [0.1, None],
    }


def test_exports_that_cannot_be(store: dw.RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(dw.StoreError, match=r"cannot export to 'runs.xlsx': name a .csv or a .parquet"):
        store.export("id-1", tmp_path / "runs.xlsx")
    with pytest.raises(dw.StoreError, match=r"runs.csv cannot be written: No such file"):
        store.export("id-1", tmp_path / "missing" / "runs.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(dw.StoreError, match="pip install pyarrow"):
        store.export("id-1", tmp_path / "runs.parquet")


@pytest.mark.parametrize("tags", [("d/loss_real", "d/loss_fake"), ("d",), ("lr/scale", "lr/warmup_factor")])
def test_what_only_looks_like_a_rate_or_an_estimate_stays_a_metric(tags: tuple[str, ...]) -> None:
    history = logged((1, 0.0, {"loss": 0.5, "lr": 1e-3, **dict.fromkeys(tags, 2.0)}))
    assert history.groups == ("all",)
    assert not {"d", "d_hat", "applied_lr"} & set(history.names())
    assert table(history, "lr") == {"lr": [1e-3]}
