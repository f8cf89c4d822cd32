"""What a store keeps of a run beside its rows: the last checkpoint, from which it goes on, and its samples."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from diffopt_widgets.store.database import EXTRAS_TABLE

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from diffopt_widgets.tasks import Samples

Kind: TypeAlias = Literal["checkpoint", "samples"]


@dataclass(frozen=True, eq=False)
class Extra:
    """One of them; of each kind a run has at most one."""

    step: int
    """After how many steps it was made."""
    data: bytes


def put(connection: sqlite3.Connection, id: str, kind: Kind, extra: Extra | None) -> None:
    """Keep one in the place of the one before; None takes that away."""
    connection.execute(EXTRAS_TABLE)
    if extra is None:
        connection.execute("DELETE FROM extras WHERE run = ? AND kind = ?", (id, kind))
    else:
        connection.execute("INSERT OR REPLACE INTO extras VALUES (?, ?, ?, ?)", (id, kind, extra.step, extra.data))


def extras_of(connection: sqlite3.Connection, id: str) -> dict[str, Extra]:
    """What is kept of a run, by kind."""
    if not _there(connection):
        return {}
    found = connection.execute("SELECT kind, step, data FROM extras WHERE run = ?", (id,))
    return {kind: Extra(step, data) for kind, step, data in found}


def purge(connection: sqlite3.Connection) -> None:
    """Let go of those of runs that are not there any more."""
    if _there(connection):
        connection.execute("DELETE FROM extras WHERE run NOT IN (SELECT id FROM runs)")


def _there(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'extras'").fetchone() is not None


def pack_samples(samples: Mapping[int, Samples], wanted: Samples | None) -> bytes:
    """Samples by the number of steps, and real examples, as numpy's `.npz`."""
    named = {f"{step}": made for step, made in samples.items()} | ({"wanted": wanted} if wanted else {})
    arrays: dict[str, NDArray[Any]] = {}  # Any: values are numbers, labels whole numbers
    for name, made in named.items():
        arrays[f"{name}.{made.kind}"] = made.values
        if made.labels is not None:
            arrays[f"{name}.labels"] = made.labels
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack_samples(data: bytes) -> tuple[dict[int, Samples], Samples | None]:
    """What `pack_samples` was given; nothing in it is executed.

    Raises:
        ValueError, OSError: it is damaged.
    """
    from diffopt_widgets.tasks import Samples

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
    return {int(name): made for name, made in named.items()}, wanted
