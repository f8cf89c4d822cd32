"""Extras: data that a store keeps of a run beside its rows, namely the last checkpoint (to resume from) and its samples."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from diffopt_widgets.store.database import EXTRAS_TABLE

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from diffopt_widgets.tasks import Samples

LARGEST_SAMPLES = 256 * 2**20
"""Size in bytes above which samples are not read: a packed file of a few bytes can hold any number of zeros."""
Kind: TypeAlias = Literal["checkpoint", "samples"]


@dataclass(frozen=True, eq=False)
class Extra:
    """A checkpoint or the samples of a run, which has at most one of each kind."""

    step: int
    """Number of steps after which it was made."""
    data: bytes


def write_extra(connection: sqlite3.Connection, id: str, kind: Kind, extra: Extra | None) -> None:
    """Write an extra in place of the last one of its kind; None deletes that."""
    connection.execute(EXTRAS_TABLE)
    if extra is None:
        connection.execute("DELETE FROM extras WHERE run = ? AND kind = ?", (id, kind))
    else:
        connection.execute("INSERT OR REPLACE INTO extras VALUES (?, ?, ?, ?)", (id, kind, extra.step, extra.data))


def read_extras(connection: sqlite3.Connection, id: str) -> dict[str, Extra]:
    """Return the extras of a run, by kind."""
    if not _has_table(connection):
        return {}
    rows = connection.execute("SELECT kind, step, data FROM extras WHERE run = ?", (id,))
    return {kind: Extra(step, data) for kind, step, data in rows}


def delete_orphans(connection: sqlite3.Connection) -> None:
    """Delete the extras of runs that do not exist any more."""
    if _has_table(connection):
        connection.execute("DELETE FROM extras WHERE run NOT IN (SELECT id FROM runs)")


def _has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'extras'").fetchone() is not None


def pack_samples(samples: Mapping[int, Samples], wanted: Samples | None) -> bytes:
    """Pack samples by the number of steps, and real examples, as numpy's `.npz`."""
    named = {f"{step}": batch for step, batch in samples.items()} | ({"wanted": wanted} if wanted else {})
    arrays: dict[str, NDArray[Any]] = {}  # Any: values are numbers, labels whole numbers
    for name, batch in named.items():
        arrays[f"{name}.{batch.kind}"] = batch.values
        if batch.labels is not None:
            arrays[f"{name}.labels"] = batch.labels
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack_samples(data: bytes) -> tuple[dict[int, Samples], Samples | None]:
    """Return the arguments of `pack_samples`; no code in the data is executed.

    Raises:
        ValueError: the data are damaged.
    """
    try:
        return _unpack(data)
    except Exception as error:  # what damaged archives and arrays raise is of many kinds
        raise ValueError("the samples are damaged") from error


def _unpack(data: bytes) -> tuple[dict[int, Samples], Samples | None]:
    from diffopt_widgets.tasks import Samples

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > LARGEST_SAMPLES:
        raise ValueError(f"they would take {size:,} bytes")
    named: dict[str, Samples] = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        for key in arrays.files:
            name, _, kind = key.partition(".")
            if kind in {"points", "images"}:
                labels = f"{name}.labels"
                named[name] = Samples(
                    cast('Literal["points", "images"]', kind),
                    arrays[key],
                    arrays[labels] if labels in arrays.files else None,
                )
    wanted = named.pop("wanted", None)
    return {int(name): batch for name, batch in named.items()}, wanted
