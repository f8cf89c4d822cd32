"""What the package prints where the output has few characters, as on Windows or in a container: never an error, always readable."""

import ast
import codecs
import contextlib
import functools
import io
import re
import unicodedata
import warnings
from pathlib import Path

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import families
from diffopt_widgets.cli.main import main
from diffopt_widgets.execution.progress import progress_bars
from diffopt_widgets.optimizers.backends import Trouble
from diffopt_widgets.plain_text import ERRORS, printable, readable
from diffopt_widgets.runs.comparisons import comparisons
from diffopt_widgets.tasks.task import ParameterGroup
from diffopt_widgets.watching.warn_once import WarnOnce

ENCODINGS = ("ascii", "cp1252", "cp437", "latin-1")
PACKAGE = Path(dw.__file__).parent
ODD = "β₁ √x → 世界 · é – “a” 😀 \ud800"
ESCAPE = re.compile(r"\\(x|u|U)[0-9a-f]{2}")


in_each = pytest.mark.parametrize("encoding", ENCODINGS)


@contextlib.contextmanager
def narrow(encoding):
    """Give the streams of the process an encoding, as strict as Python's own; yields what was printed, by stream."""
    streams = {
        name: io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")
        for name in ("stdout", "stderr")
    }

    def printed(name="stdout"):
        streams[name].flush()
        return streams[name].buffer.getvalue().decode(encoding)

    with contextlib.redirect_stdout(streams["stdout"]), contextlib.redirect_stderr(streams["stderr"]):
        yield printed


# -------------------------------------------------------------------------------------------------------- characters


@functools.cache
def characters():
    """Return the characters of all texts in the code that are no docstrings."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                found.update(letter for letter in node.value if letter.isprintable() and not letter.isascii())
    return found


@pytest.mark.slow
def test_every_character_of_our_texts_has_a_readable_replacement():
    assert {"→", "·", "√", "−"} <= characters()
    for encoding in ENCODINGS:
        for character in characters():
            shown = readable(character, encoding)
            assert not ESCAPE.search(shown), (encoding, character, unicodedata.name(character))
            shown.encode(encoding)


def test_what_an_encoding_has_is_left_alone():
    assert readable("é – “a” · ×", "cp1252") == "é – “a” · ×"
    assert readable(ODD, "utf-8") == ODD.replace("\ud800", "\\ud800")
    assert readable(ODD, "no such encoding") == ODD


def test_a_sum_keeps_its_meaning():
    assert readable("0.2 · lr − 1 × 10⁻³ ≤ √β₂", "ascii") == "0.2 * lr - 1 x 10^-3 <= sqrt beta2"


def test_only_encoding_is_answered():
    with pytest.raises(UnicodeDecodeError):
        codecs.decode(b"\xff", "utf-8", ERRORS)


# ----------------------------------------------------------------------------------------------------------- objects


def run_of(name="PRODIGY"):
    return dw.train(dw.Settings(name, d_coef=0.5), "swiss_roll", 2, progress=False)


def objects(folder):
    """Yield an object of every public class, and of those that come with them, with names that no narrow encoding has."""
    run = run_of()
    run.rename(ODD)
    store = dw.RunStore(folder / f"{ODD[:-1]}.sqlite")
    writer = store.begin(ODD[:-1], run.history, {"model": ODD[:-1]})
    writer.save()
    yield writer
    writer.end("done")
    yield from (store, *store.list(), *map(store.load, [row.id for row in store.list()]))
    settings = dw.Settings("MUON", muon_hidden_layers="β.→")
    yield from (
        settings,
        dw.RunPlan(settings, task="digits"),
        run,
        run.history,
        next(iter(dw.stream("SGD", "swiss_roll", 1))),
    )
    for family in families().values():
        for entry in family:
            yield from (entry, *entry.uses, *entry.rules, *entry.presets, *entry.hidden, *entry.links)
            yield from (use.option for use in entry.uses)
    yield from comparisons()
    yield dw.Task(key="tache", title=ODD, summary=ODD, build=len)
    yield ParameterGroup(ODD, [], [])
    yield Trouble("x", ODD, ODD)
    watcher = dw.watch(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), name=ODD[:-1], show=False)
    yield watcher
    watcher.close()
    plot = dw.LivePlot()
    plot.add_run("a", ODD[:-1], run.history)
    yield from (
        dw.Form(settings),
        plot,
        dw.RunBar(),
        dw.RunsTable([run]),
        dw.RunStoreTable(store),
        dw.SchedulePreview(settings),
    )
    yield dw.lab(settings)
    for wrong in (
        lambda: dw.Settings("ADAMW", lr=ODD),
        lambda: dw.Settings(ODD),
        lambda: dw.Settings("ADAMW", **{ODD: 1}),
        lambda: dw.train("SGD", task=ODD),
        lambda: dw.memory("SGD", ODD),
        lambda: dw.RunStore(folder / "β → no" / "a.sqlite").list(),
        lambda: dw.compare(ODD),
        lambda: dw.sweep("SGD", {ODD: [1]}),
        lambda: dw.export("SGD", to=ODD),
        lambda: dw.read_logs(folder / "β → no"),
        lambda: store.add(ODD[:-1]),
        lambda: dw.Task(key="tâche", title="", summary="", build=len),
        lambda: dw.watch(ODD),
        lambda: dw.resume(ODD[:-1]),
        lambda: dw.register_task(ODD),
        lambda: dw.build_optimizer("SGD", ODD),
        lambda: dw.applied_lr(ODD),
        lambda: dw.spec(ODD),
        lambda: dw.spec_of(ODD),
        lambda: dw.preset("SGD", ODD),
        lambda: run.to_frame(ODD),
        lambda: run.rename(ODD) or run.pause(),
        lambda: dw.RunsTable(ODD),
        lambda: dw.RunBar(ODD),
        lambda: dw.LivePlot().add_run(ODD, ODD, ODD),
        lambda: run.history.column(ODD),
        lambda: store.load(ODD[:-1]),
    ):
        with pytest.raises(Exception) as raised:  # noqa: PT011  # each has a class of its own
            wrong()
        yield raised.value
        yield from getattr(raised.value, "faults", ())


@pytest.mark.slow
@in_each
def test_every_object_can_be_printed(encoding, tmp_path):
    lost = set()
    with narrow(encoding) as printed:
        for thing in objects(tmp_path):
            for shown in (thing, [thing]):
                try:
                    print(shown)
                except UnicodeEncodeError as error:
                    lost.add(f"{type(thing).__name__}: {ascii(error.object)[:200]}")
        assert len(printed()) > 50_000
    assert not lost, "\n".join(sorted(lost))


@in_each
def test_a_run_is_printed_readably(encoding):
    run = run_of()
    with narrow(encoding) as printed:
        print(run, [run], dw.Settings("PRODIGY"))
        run.rename("√x → 1 · 世")
        print(run, [run])
        shown = str(run)
    assert "PRODIGY" in printed()
    assert "->" in shown
    assert "sqrt x" in shown or "√" in shown  # cp437 has a root
    assert "\\u4e16" in shown


def test_an_output_with_every_character_changes_nothing():
    for stream in (io.StringIO(), None, io.TextIOWrapper(io.BytesIO(), encoding="utf-8")):
        with contextlib.redirect_stdout(stream):
            assert printable("√x → 世") == "√x → 世"


def test_warnings_are_readable():
    with warnings.catch_warnings(record=True) as caught, narrow("ascii"):
        warnings.simplefilter("always")
        WarnOnce()("topic", "a → b")
    assert str(caught[0].message) == "a -> b"


@pytest.mark.slow
@in_each
def test_a_progress_bar_is_readable(encoding):
    run = run_of()
    run.rename("√x → 1")
    with narrow(encoding) as printed, progress_bars() as show:
        show(run)
    assert "-> 1" in printed()


# ---------------------------------------------------------------------------------------------------------- commands


HELP = [["--help"], *([name, "--help"] for name in ("lab", "run", "options", "memory", "doctor", "probe"))]
CHEAP = [
    *HELP,
    ["options"],
    ["options", "PRODIGY"],
    ["options", "MUON_ADV"],
    ["options", "ODD"],
    ["options", ODD],
    ["memory", "ADAMW"],
    ["memory", "MUON", "--set", "muon_hidden_layers=β→"],
    ["run", "ADAMW", "--set", "β=1"],
    ["run", "ADAMW", "--lr", "1→2"],
    ["run", "ADAMW", "--steps", "2", "--out", "/proc/β→"],
    ["run", "ADAMW", "--steps", "2", "--store", "/proc/β→/s.sqlite"],
    ["lab", "--folder", "/nowhere/β→"],
    ["lab", "β→"],
]
DEAR = [
    ["run", "PRODIGY", "--steps", "2", "--task", "swiss_roll", "--set", "d_coef=0.5,1"],
    ["probe", "SGD"],
    ["memory"],
    ["doctor"],
    *(["options", key] for key in dw.list_optimizers()),
]


@in_each
@pytest.mark.parametrize(
    "arguments", [*CHEAP, *(pytest.param(arguments, marks=pytest.mark.slow) for arguments in DEAR)], ids=ascii
)
def test_every_command_prints_in_few_characters(arguments, encoding, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with narrow(encoding) as printed:
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = ended.code
    said = printed() + printed("stderr")
    assert status in {0, 1, 2}
    assert said.strip()
    assert "Traceback" not in said
    assert "UnicodeEncodeError" not in said
    if all(argument.isascii() for argument in arguments):
        assert not ESCAPE.search(said)


@pytest.mark.parametrize("arguments", [["options"], ["options", "PRODIGY"], ["memory", "ADAMW,MUON"]], ids=" ".join)
def test_the_lines_are_those_of_a_terminal_with_every_character(arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("DIFFOPT_CACHE_DIR", "/proc/nowhere")  # nothing is said to be kept
    assert main(arguments) == 0
    whole = [readable(line, "ascii").split() for line in capsys.readouterr().out.splitlines()]
    with narrow("ascii") as printed:
        assert main(arguments) == 0
    assert [line.split() for line in printed().splitlines()] == whole


@in_each
@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("arguments", [["options"], ["options", "PRODIGY"], ["memory", "ADAMW,MUON"]], ids=" ".join)
def test_replacements_do_not_make_lines_longer_than_the_terminal(arguments, width, encoding, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    with narrow(encoding) as printed:
        assert main(arguments) == 0
    assert max(map(len, printed().splitlines())) <= width
