"""Damage files of every kind that the package reads, and read them: what comes is a value or a plain error of ours.

    python tests/faults/mutated_files.py [COUNT] [READER ...]

writes a table of COUNT (10,000) damaged files for each reader. A child process of limited memory and time reads them, so a bomb
ends the child and not the machine. `damaged` yields the files, `READERS` has how each kind is made and read.
"""

from __future__ import annotations

import io
import logging
import os
import random
import signal
import sqlite3
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import diffopt_widgets as dw
from diffopt_widgets.interop.event_files import Event, event_record, first_record, masked_crc
from diffopt_widgets.records import History
from diffopt_widgets.store.extras import pack_samples, unpack_samples
from diffopt_widgets.training.checkpoint import Checkpoint, CheckpointError, DamagedError
from diffopt_widgets.widgets.form.draft import Draft
from diffopt_widgets.widgets.form.exchange import read_settings, write_settings
from diffopt_widgets.widgets.form.form_file import FormFile

MEMORY = 1 << 30
"""Bytes that reading may take beyond what the process has when it begins."""
SECONDS = 10.0
"""Processor time after which a file counts as one that never ends, on any machine."""
MARK = Path(tempfile.gettempdir()) / f"executed-{os.getpid()}"
"""File that code in a damaged file would make."""
PLAN = dw.RunPlan(dw.Settings("ADAM"), "swiss_roll", steps=3)


@dataclass(frozen=True)
class Reader:
    """A kind of file: how a whole one is made, how it is read, and the errors that a damaged one may give."""

    make: Callable[[], bytes]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...]
    bombs: Callable[[], list[bytes]] = list


# ------------------------------------------------------------------------------------------------------------ readers


def read_json(path: Path) -> object:
    return dw.Settings.from_json(path.read_bytes().decode("utf-8", "surrogateescape"))


def read_pasted(path: Path) -> object:
    return read_settings(path.read_bytes().decode("utf-8", "replace"))


def read_form(path: Path) -> object:
    return FormFile(path).recall()


def whole_form() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = FormFile(Path(folder) / "form.json")
        draft = Draft.begin("PRODIGY")
        file.keep(draft, draft.type("d_coef", "0.5").type("warmup", "10"))
        return file.path.read_bytes()


def whole_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        store = dw.RunStore(Path(folder) / "runs.sqlite")
        dw.train(PLAN.settings, task="swiss_roll", steps=3, store=store, progress=False)
        history = History(("a", "b"))
        history.extend_columns(range(500), {"loss": np.linspace(1, 0, 500), "lr": np.ones((500, 2))})
        writer = store.begin("two", history, {"batch": 4})
        writer.end("done")
        store.annotate(writer.id, "a note")
        return store.path.read_bytes()


def read_store(path: Path) -> object:
    store = dw.RunStore(path)
    loaded = []
    for run in store.list():
        try:
            loaded.append(store.load(run.id))
            repr(loaded[-1])
        except (dw.StoreError, KeyError) as error:  # of one run; the others are given
            plain(error)
    store.search("a")
    return loaded


def whole_checkpoint() -> bytes:
    from diffopt_widgets.training.loop import Training

    training = Training(PLAN)
    next(training.steps())
    return Checkpoint.of(training).data


def read_checkpoint(path: Path) -> object:
    return Checkpoint(1, path.read_bytes()).restored(PLAN)


def whole_samples() -> bytes:
    from diffopt_widgets.tasks import Samples

    batch = Samples("points", np.ones((40, 2), np.float32), np.arange(40))
    return pack_samples({0: batch, 3: batch}, batch)


def read_samples(path: Path) -> object:
    return unpack_samples(path.read_bytes())


def whole_events() -> bytes:
    records = [event_record(Event(step, 1e9 + step, {"loss": 1 / (step + 1), "lr/a": 0.1})) for step in range(20)]
    return b"".join([first_record(1e9), *records])


def read_events(path: Path) -> object:
    runs = dw.read_logs(path)
    return [(repr(run), run.history.to_columns()) for run in runs]


# -------------------------------------------------------------------------------------------------------------- bombs


class _Executes:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch {MARK}",))


def pickles() -> list[bytes]:
    import pickle

    import torch

    code = pickle.dumps(_Executes())
    file = io.BytesIO()
    torch.save({"format": 1, "device": "cpu", "weights": _Executes()}, file)
    array = io.BytesIO()
    np.save(array, np.array([_Executes()], dtype=object), allow_pickle=True)
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("0.points.npy", array.getvalue())
    return [code, file.getvalue(), array.getvalue(), bundle.getvalue()]


def zip_bombs() -> list[bytes]:
    """Archives that grow by a thousand times, or say that they do."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 34, 2)})
    found = []
    for content in (header.getvalue(), header.getvalue() + bytes(1 << 28)):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("0.points.npy", content)
        found.append(file.getvalue())
    return found


def texts() -> list[bytes]:
    deep = 200_000
    return [
        b"[" * deep,
        b'{"optimizer":' * deep,
        b'{"optimizer": "PRODIGY", "options": ' + b'{"a":' * deep,
        b'{"optimizer": "PRODIGY", "lr": ' + b"9" * 1_000_000 + b"}",
        b'{"optimizer": "PRODIGY", "lr": 1e999999999999}',
        b'{"optimizer": "' + b"A" * 5_000_000 + b'"}',
        b'{"optimizer": "' + b"A." * 500_000 + b'B"}',
        b'{"optimizer": "PRODIGY", "options": {' + b",".join(b'"k%d": %d' % (i, i) for i in range(1_000_000)) + b"}}",
        b'{"optimizer": "PRODIGY", "own": {' + b",".join(b'"k%d": {}' % i for i in range(300_000)) + b"}}",
        b'{"own": {"PRODIGY": {"d_coef": "' + b"9" * 1_000_000 + b'"}}}',
        b"Settings(" * 3000 + b")" * 3000,
        b"Settings('PRODIGY', lr=" + b"(" * 5000 + b")" * 5000 + b")",
        b"Settings('PRODIGY', lr=" + b"-" * 15_000 + b"1)",
        b"Settings('PRODIGY', lr=9**9**9**9)",
        b"Settings('PRODIGY', name=__import__('os').system('touch %s'))" % str(MARK).encode(),
        b"!!python/object/apply:os.system ['touch %s']" % str(MARK).encode(),
        b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]",
        b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><l>&b;</l>',
        b"\xff\xfe\x00\x00",
        b"\xef\xbb\xbf{}",
        b"\x00" * 10_000_000,
        b"\xed\xa0\x80",
        b"",
    ]


def events() -> list[bytes]:
    def record(content: bytes, length: int | None = None) -> bytes:
        head = struct.pack("<Q", len(content) if length is None else length)
        return head + struct.pack("<I", masked_crc(head)) + content + struct.pack("<I", masked_crc(content))

    start = first_record(1e9)
    chunk = b"\x0a" + b"\xff" * 9 + b"\x01"  # a field of 2^64 - 1 bytes
    far = [
        Event(step, moment, {"loss": 1.0})
        for step, moment in ((2**62, 1e9), (-(2**62), 1e300), (1, -1e300), (5, float("nan")))
    ]
    return [
        start + record(b"", 2**60),
        start + record(b"", 2**63 + 5),
        start + record(chunk),
        start + record(b"\x2a\x05" + chunk[:5]),
        start + record(b"\x2a" * 4000),
        start + b"".join(map(event_record, far)),
        *(start + event_record(event) for event in far),
        start + event_record(Event(1, float("inf"), {"loss": 1.0})),
        start + b"".join(event_record(Event(1, 1e9, {f"tag{i}": 1.0})) for i in range(3000)),
        start + b"".join(event_record(Event(i, 1e9, {f"tag{i}": 1.0})) for i in range(3000)),
        start + record(bytes(4000)),
        start + record(b"\x0a\x00" * 2000),
        bytes(1 << 24),
    ]


def stores() -> list[bytes]:
    """Stores whose values are of another kind, or say that there is far more than there is."""
    changes = [
        "UPDATE runs SET rows = 1152921504606846976",
        "UPDATE chunks SET rows = 1152921504606846976",
        "UPDATE chunks SET rows = -5",
        "UPDATE chunks SET rows = 'x'",
        "UPDATE chunks SET layout = '[[\"loss\", 1000000000, true]]'",
        "UPDATE chunks SET layout = '[[\"loss\", 1000000000, false]]'",
        "UPDATE chunks SET layout = '[[\"loss\", -1, true]]'",
        "UPDATE chunks SET layout = '[[1, 0, true]]'",
        "UPDATE chunks SET layout = '{}'",
        "UPDATE chunks SET layout = replace(hex(zeroblob(50000)), '0', '[')",
        "UPDATE chunks SET data = 5",
        "UPDATE runs SET groups = '5'",
        "UPDATE runs SET groups = '[1, 2]'",
        "UPDATE runs SET groups = '\"abc\"'",
        "UPDATE runs SET groups = replace(hex(zeroblob(50000)), '0', '[')",
        "UPDATE runs SET about = replace(hex(zeroblob(100000)), '0', '[')",
        'UPDATE runs SET about = \'{"plan": {"settings": {"optimizer": "ADAM"}, "task": "swiss_roll", "steps": 1e30}}\'',
        'UPDATE runs SET about = \'{"plan": {"settings": 5}, "results": 7}\'',
        "UPDATE runs SET about = json_set(about, '$.results', json('5'))",
        "UPDATE runs SET about = json_set(about, '$.results.fix', json('5'))",
        "UPDATE runs SET about = json_set(about, '$.results.eval_after', json('\"x\"'))",
        "UPDATE runs SET about = json_set(about, '$.results.trace', json('[1]'))",
        "UPDATE runs SET about = json_set(about, '$.plan.steps', json('100000000000'))",
        "UPDATE runs SET about = json_set(about, '$.plan.seed', json('\"x\"'))",
        "UPDATE runs SET status = 'running', writer = replace(hex(zeroblob(500000)), '0', 'a')",
        "UPDATE runs SET status = 'running', writer = '{\"pid\": \"x\"}'",
        "UPDATE runs SET id = 5 WHERE name = 'two'",
        "UPDATE runs SET id = x'00ff' WHERE name = 'two'",
        "UPDATE runs SET name = x'00ff', note = 5",
        "UPDATE runs SET started = 9e999, saved = -1.0",
        "UPDATE runs SET final_loss = 'x'",
        "UPDATE extras SET data = zeroblob(100)",
        "UPDATE extras SET step = 'x'",
        "UPDATE extras SET step = -5, kind = 'checkpoint'",
        "DROP TABLE chunks",
        "DROP TABLE extras; CREATE VIEW extras AS SELECT 1 AS run, 2 AS kind, 3 AS step, 4 AS data",
        "DROP TABLE runs; CREATE VIEW runs AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id, x AS name, 'done' AS status, '' AS message, 1.0 AS started, 1.0 AS saved, '' AS writer, '[]' AS groups, 0 AS rows, 1.0 AS final_loss, '{}' AS about, '' AS note, NULL AS deleted FROM c",
        "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM runs; END",
        "PRAGMA user_version = 99",
        "PRAGMA user_version = -1",
        "PRAGMA application_id = 5",
    ]
    whole, found = whole_store(), []
    for change in changes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "runs.sqlite"
            path.write_bytes(whole)
            with sqlite3.connect(path) as connection:
                connection.executescript(change)
            connection.close()
            found.append(path.read_bytes())
    return found


READERS: dict[str, Reader] = {
    "settings (JSON)": Reader(
        lambda: dw.Settings("PRODIGY", d_coef=0.5).to_json().encode(), read_json, (dw.SettingsError,), texts
    ),
    "pasted settings": Reader(
        lambda: write_settings(dw.Settings("PRODIGY", d_coef=0.5)).encode(), read_pasted, (dw.SettingsError,), texts
    ),
    "pasted code": Reader(
        lambda: b"optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99))",
        read_pasted,
        (dw.SettingsError,),
        texts,
    ),
    "form file": Reader(whole_form, read_form, (), texts),
    "store": Reader(whole_store, read_store, (dw.StoreError,), stores),
    "checkpoint": Reader(
        whole_checkpoint, read_checkpoint, (CheckpointError, DamagedError), lambda: [*pickles(), *zip_bombs()]
    ),
    "samples": Reader(whole_samples, read_samples, (ValueError, OSError), lambda: [*pickles(), *zip_bombs()]),
    "event file": Reader(whole_events, read_events, (ValueError, FileNotFoundError), events),
}


# ----------------------------------------------------------------------------------------------------------- mutations

INTERESTING = [
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"9",
    b"[",
    b"{",
    b'"',
    b"\\u0000",
    b"NaN",
    b"1e999",
    b"-",
    b"null",
    b"\xff" * 8,
]


def damaged(whole: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield a file `count` times, damaged in another way each time, the same for the same seed."""
    random_ = random.Random(seed)  # not for secrets
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(random_.choice((1, 1, 1, 2, 4, 16))):
            place = random_.randrange(len(data) or 1)
            size = random_.choice((1, 1, 2, 4, 8, 64, 1024))
            match random_.randrange(7):
                case 0 if data:
                    data[min(place, len(data) - 1)] ^= 1 << random_.randrange(8)
                case 1:
                    data[place : place + size] = random_.randbytes(size)
                case 2:
                    del data[place : place + size]
                case 3:
                    data[place:place] = data[place : place + size] * random_.choice((1, 2, 50))
                case 4:
                    data[place:place] = random_.choice(INTERESTING)
                case 5:
                    part = random_.choice(INTERESTING)
                    data[place : place + len(part)] = part
                case 6 if random_.random() < 0.3:
                    del data[place:]
        yield bytes(data)


def plain(error: Exception) -> None:
    """Fail unless the message is one for a person: short, and not that of the library below."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if not text or len(text) > 3000:
        raise AssertionError(f"{type(error).__name__} with a message of {len(text)} characters")
    raw = (
        "struct.error",
        "codec can't",
        "object has no attribute",
        "unpack",
        "recursion",
        "NoneType",
        "argument must be",
    )
    if found := [words for words in raw if words in text]:
        raise AssertionError(f"{type(error).__name__} speaks of {found}: {text[:300]}")


def tried(reader: Reader, path: Path) -> str:
    """Read a file; return `read` or the name of the error, and raise what may not come."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader.read(path)
        except reader.errors as error:
            if type(error) not in reader.errors:
                raise
            plain(error)
            return type(error).__name__
    return "read"


@dataclass
class Result:
    """What came of many files."""

    outcomes: Counter[str]
    wrong: list[str]
    slowest: float
    bytes: int


def try_all(name: str, contents: Iterator[bytes] | list[bytes], *, kept: int = 5) -> Result:
    """Read every one of these contents as a file of this kind, in this process; keep the first that went wrong."""
    signal.signal(signal.SIGPROF, _too_slow)
    reader, outcomes, wrong, slowest = READERS[name], Counter[str](), [], 0.0
    peak()
    before = resident()
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(contents):
            path = Path(folder) / f"{number}" / "events.out.tfevents.1"
            path.parent.mkdir()
            path.write_bytes(content)
            began = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                outcomes[tried(reader, path)] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcomes["WRONG"] += 1
                if len(wrong) < kept:
                    wrong.append(f"file {number}: {type(error).__name__}: {str(error)[:300]}")
                    keep = os.environ.get("DIFFOPT_DAMAGED")
                    if keep:
                        (Path(keep) / f"{name.replace(' ', '_')}-{number}").write_bytes(content)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            slowest = max(slowest, time.process_time() - began)
            for left in path.parent.iterdir():
                left.unlink()
            path.parent.rmdir()
    return Result(outcomes, wrong, slowest, peak() - before)


class TooSlowError(BaseException):
    """Error of a file whose reading takes more than `SECONDS`."""


def _too_slow(*_: object) -> None:
    raise TooSlowError


def peak() -> int:
    """Return the most bytes that this process has had since the last call."""
    status = Path("/proc/self/status").read_text("utf-8")
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # forget it
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def resident() -> int:
    """Return the bytes that this process has now."""
    import resource

    return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * resource.getpagesize()


def limit() -> None:
    """Limit the memory of this process to what it has now, and `MEMORY` more."""
    import resource

    now = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))


def main() -> int:
    """Print a line of the table for each reader."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    names = sys.argv[2:] or list(READERS)
    wholes = {name: READERS[name].make() for name in names}
    bombs = {name: READERS[name].bombs() for name in names}
    for name in names:
        Path("/dev/null").write_bytes(wholes[name])
        tried(READERS[name], _written(wholes[name]))  # everything is imported
    limit()
    logging.disable()  # the form's file says in the log what it does
    print("| reader | files | read | refused in words | slowest, CPU seconds | memory | wrong |")
    print("|---|---|---|---|---|---|---|")
    failed = False
    for name in names:
        mutated = try_all(name, damaged(wholes[name], count))
        bomb = try_all(name, bombs[name])
        total = mutated.outcomes + bomb.outcomes
        refused = sum(n for outcome, n in total.items() if outcome not in {"read", "WRONG"})
        print(
            f"| {name} | {total.total():,} | {total['read']:,} | {refused:,} | {mutated.slowest:.2f} (bombs {bomb.slowest:.2f}) | "
            f"{max(mutated.bytes, bomb.bytes) >> 20} MB | {total['WRONG']} |",
            flush=True,
        )
        for line in (*mutated.wrong, *(f"bomb, {one}" for one in bomb.wrong)):
            failed = True
            print(f"  {name}: {line}", file=sys.stderr)
    if MARK.exists():
        print("CODE WAS EXECUTED", file=sys.stderr)
        return 1
    return int(failed)


def _written(content: bytes) -> Path:
    path = Path(tempfile.mkdtemp()) / "events.out.tfevents.1"
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    sys.exit(main())
