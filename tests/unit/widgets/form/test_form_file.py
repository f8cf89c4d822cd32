"""The memory of the form: another kernel opens as the last one was left, and no file or disk disturbs it."""

import json
import logging
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.settings import Settings
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.form_file import FormFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config" / "form.json"


def again(path, settings=None):
    """What a new kernel opens."""
    return Form(settings, file=FormFile(path))


def test_another_kernel_opens_as_the_last_one_was_left(path):
    form = again(path)
    form.type("d_coef", "5e-1")
    form.type("schedule", "COSINE")
    form.choose("ADAMW")
    form.type("beta1", "0,8")
    other = again(path)
    assert other.draft.optimizer == "ADAMW"
    assert other.draft.texts == form.draft.texts
    assert list(other.errors) == ["beta1"]
    other.choose("PRODIGY")
    assert other.draft.texts["d_coef"] == "5e-1"
    assert other.settings == Settings("PRODIGY", schedule="COSINE", d_coef=0.5)


def test_without_a_memory_nothing_is_read_or_written(path, monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFOPT_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    form = Form("ADAM")
    form.type("lr", "0.5")
    assert list(tmp_path.iterdir()) == []


def test_opening_alone_writes_nothing(path):
    again(path)
    again(path, Settings("LION", lr=1e-5))
    assert not path.exists()


def test_settings_that_are_given_win_and_the_rest_is_remembered(path):
    form = again(path)
    form.type("d_coef", "0.5")
    form.choose("ADAM")
    form.type("beta1", "0.8")
    given = again(path, Settings("PRODIGY", d_coef=2.0))
    assert given.settings == Settings("PRODIGY", d_coef=2.0)
    given.choose("ADAM")
    assert given.draft.texts["beta1"] == "0.8"
    assert again(path, "PRODIGY").settings == Settings("PRODIGY")


def test_what_is_undone_is_not_remembered(path):
    form = again(path)
    form.type("d_coef", "0.5")
    form.choose("SGD")
    form.load("library")
    for _ in range(3):
        form.undo()
    fresh = again(path)
    assert fresh.draft.texts == form.draft.texts == Form().draft.texts
    fresh.choose("SGD")
    plain = Form()
    plain.choose("SGD")
    assert fresh.draft.texts == plain.draft.texts


def test_each_kernel_keeps_the_optimizers_of_the_others(path):
    forms = {key: again(path, key) for key in ("ADAM", "LION", "SGD")}
    for key, form in forms.items():
        form.type("lr", f"0.{len(key)}")
    opened = again(path)
    for key in forms:
        opened.choose(key)
        assert opened.draft.texts["lr"] == f"0.{len(key)}"


def _type_often(path, key):
    form = Form(key, file=FormFile(path))
    for i in range(30):
        form.type("lr", f"0.{i + 1}")


@pytest.mark.slow
def test_kernels_that_write_at_once_leave_a_whole_file(path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_type_often, args=(path, key)) for key in ("ADAM", "LION")]
    for writer in writers:
        writer.start()
    read = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            read |= json.loads(path.read_text())["own"].keys()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert read <= {"ADAM", "LION"}
    assert again(path).draft.texts["lr"] == "0.30"
    assert [found.name for found in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"format": 1, "own": {"PRODIGY": {"d_c',
        "[]",
        "null",
        "[" * 100_000,
        '{"own": []}',
        '{"shared": 3}',
        '{"own": {"PRODIGY": ["lr"]}}',
        "\ufeff{}",
        "9" * 10_000,
    ],
    ids=lambda text: text[:20] or "empty",
)
def test_a_broken_file_is_set_aside_with_one_line_in_the_log(path, text, caplog):
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    form = again(path)
    assert form.settings == Settings("PRODIGY")
    (record,) = caplog.records
    assert "broken" in record.getMessage()
    assert "\n" not in record.getMessage()
    form.type("d_coef", "2")
    assert again(path).settings == Settings("PRODIGY", d_coef=2.0)
    assert path.with_suffix(".broken.json").read_text(encoding="utf-8") == text


def test_a_file_that_is_no_text_is_broken_too(path):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    assert again(path).settings == Settings("PRODIGY")


def test_a_newer_file_is_neither_used_nor_touched(path, caplog):
    path.parent.mkdir()
    path.write_text(json.dumps({"format": 2, "optimizer": "ADAM", "own": "elsewhere"}))
    before = path.read_text()
    form = again(path)
    for text in ("1", "2", "3"):
        form.type("d_coef", text)
    assert form.settings == Settings("PRODIGY", d_coef=3.0)
    assert path.read_text() == before
    assert ["another version" in record.getMessage() for record in caplog.records] == [True]


def test_what_this_version_does_not_know_stays_in_the_file(path):
    path.parent.mkdir()
    known = {"PRODIGY": {"d_coef": "0.5", "d_gone": "7"}, "NO_SUCH": {"lr": "1"}}
    data = {"format": 1, "optimizer": "NO_SUCH", "own": known, "shared": {"schedule": "REX", "tempo": "3"}, "more": [1]}
    path.write_text(json.dumps(data))
    form = again(path)
    assert form.settings == Settings("PRODIGY", schedule="REX", d_coef=0.5)
    form.type("d_coef", "2")
    form.type("schedule", "LINEAR")
    kept = json.loads(path.read_text())
    assert kept["own"]["NO_SUCH"] == {"lr": "1"}
    assert kept["own"]["PRODIGY"]["d_gone"] == "7"
    assert kept["own"]["PRODIGY"]["d_coef"] == "2"
    assert kept["shared"] == {"tempo": "3", "schedule": "LINEAR"}
    assert kept["more"] == [1]


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    form = again(tmp_path / "file" / "form.json")
    for text in ("1", "2", "3"):
        form.type("d_coef", text)
    assert form.settings == Settings("PRODIGY", d_coef=3.0)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert len(caplog.records) == 1


def test_a_disk_that_is_full_leaves_the_old_file_and_no_rest(path, caplog, monkeypatch):
    again(path).type("d_coef", "2")
    form = again(path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    for text in ("3", "4"):
        form.type("d_coef", text)
    assert form.settings.options["d_coef"] == 4.0
    assert ["No space left" in record.getMessage() for record in caplog.records] == [True]
    monkeypatch.undo()
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert again(path).settings.options["d_coef"] == 2.0


def test_a_file_that_may_not_be_read_is_left_alone(path, caplog):
    path.mkdir(parents=True)  # a folder in its place: nobody can read that, root neither
    form = again(path)
    form.type("d_coef", "2")
    assert path.is_dir()
    assert len(caplog.records) == 1


def test_a_link_to_elsewhere_is_followed(path, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "real.json")
    again(path).type("d_coef", "2")
    assert path.is_symlink()
    assert again(path).settings.options["d_coef"] == 2.0


def test_a_change_that_changes_nothing_is_not_written(path):
    form = again(path)
    form.type("d_coef", "2")
    written = path.stat().st_ino
    form.type("d_coef", "2")
    assert path.stat().st_ino == written


def test_the_user_s_folder_is_the_one_named_or_the_system_s(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFOPT_CONFIG_DIR", str(tmp_path))
    assert FormFile.of_user().path == tmp_path / "form.json"
    monkeypatch.delenv("DIFFOPT_CONFIG_DIR")
    assert "diffopt_widgets" in str(FormFile.of_user().path)
    assert os.fspath(Path.cwd()) not in os.fspath(FormFile.of_user().path)


def test_nothing_is_kept_in_the_working_directory(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFOPT_CONFIG_DIR", "here")
    assert FormFile.of_user() is None
    assert "absolute" in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.dictionaries(st.sampled_from(["lr", "beta1", "schedule", "x"]), st.text() | JSON, max_size=3)


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "format": st.just(1) | JSON,
            "optimizer": st.sampled_from(list_optimizers()) | JSON,
            "own": st.dictionaries(st.sampled_from([*list_optimizers(), "x"]), TEXTS, max_size=3) | JSON,
            "shared": TEXTS | JSON,
        },
    )
)
def test_any_json_opens_a_form_that_can_be_sent(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "form.json"
    path.write_text(json.dumps(data))
    form = again(path)
    json.dumps(form.get_state(["panel", "state", "code"]), ensure_ascii=False).encode()
    form.type("lr", "0.1")
    assert form.draft.texts["lr"] == "0.1"
