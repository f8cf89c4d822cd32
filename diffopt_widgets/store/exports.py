"""Runs as files for other programs: CSV, Parquet, TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.interop.tensorboard import event_file
from diffopt_widgets.records import write_csv
from diffopt_widgets.runs.run import Run
from diffopt_widgets.store.database import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffopt_widgets.store.logged_run import LoggedRun


def write_runs(runs: Sequence[tuple[str, Run | LoggedRun, float]], path: Path) -> None:
    """Write runs, each with its id and its start in seconds since 1970, in the format that the path's suffix names.

    Raises:
        StoreError: the format is not known, a package is missing, or the path cannot be written.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet, "": _write_events}
    if path.suffix.lower() not in writers:
        raise StoreError(
            f"cannot export to {path.name!r}: name a .csv or a .parquet file, or, for TensorBoard, a folder without a suffix"
        )
    try:
        writers[path.suffix.lower()](runs, path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}. Name another path.") from error


def _write_csv(runs: Sequence[tuple[str, Run | LoggedRun, float]], path: Path) -> None:
    texts = _texts(runs)
    rows = [(tuple(column[place] for column in texts.values()), run.history) for place, (_, run, _) in enumerate(runs)]
    write_csv(path, rows, tuple(texts))


def _texts(runs: Sequence[tuple[str, Run | LoggedRun, float]]) -> dict[str, list[str]]:
    """Return the columns that say which run a row is of, by name, with a text for each run."""
    texts = {"id": [key for key, _, _ in runs], "run": [run.name for _, run, _ in runs]}
    facts = [run.facts if isinstance(run, Run) else {} for _, run, _ in runs]
    names = dict.fromkeys(name for own in facts for name in own)
    return texts | {name: [own.get(name, "") for own in facts] for name in names}


def _write_parquet(runs: Sequence[tuple[str, Run | LoggedRun, float]], path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise StoreError(
            "writing Parquet needs pyarrow. To fix it: pip install pyarrow; or name a .csv file"
        ) from error
    names = _columns(runs)
    texts: dict[str, list[str]] = {name: [] for name in _texts(runs)}
    columns: dict[str, list[NDArray[np.float64] | NDArray[np.int64]]] = {name: [] for name in names}
    for place, (_, run, _) in enumerate(runs):
        rows, table = len(run.history), run.history.to_columns()
        for name, column in _texts(runs).items():
            texts[name] += [column[place]] * rows
        for name in names:
            columns[name].append(table.get(name, np.full(rows, np.nan)))
    arrays = {name: pa.array(np.concatenate(parts), from_pandas=True) for name, parts in columns.items()}
    pq.write_table(pa.table({**texts, **arrays}), path)


def _write_events(runs: Sequence[tuple[str, Run | LoggedRun, float]], path: Path) -> None:
    """Write a folder for each run, named after it, with one event file."""
    for key, run, began in runs:
        name = re.sub(r"[^\w .=-]+", "_", run.name).strip(" .")[:80] or "run"
        folder = path / f"{name} {key}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"events.out.tfevents.{int(began)}.diffopt.{key}"
        with file.open("wb") as out:
            out.writelines(event_file(run.history, began))


def _columns(runs: Sequence[tuple[str, Run | LoggedRun, float]]) -> list[str]:
    return list(dict.fromkeys(name for _, run, _ in runs for name in run.history.to_columns()))
