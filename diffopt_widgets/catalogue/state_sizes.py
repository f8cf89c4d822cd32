"""Sizes of the state that each optimizer keeps for models that people train, and the sentences made from them.

`python -m diffopt_widgets.state_size.table` makes the table, a JSON file beside this one, with `dw.memory`. Every number of
bytes in a text of the catalogue comes from it. Reading it loads no back end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from diffopt_widgets.catalogue.values import Value, format_value

TABLE = Path(__file__).with_name("state_sizes.json")
DTYPES = ("float32", "bfloat16")
RANKS = (4, 16, 64)
"""Ranks of the LoRAs in the table, on the attention layers."""
NEAR = 0.02
"""Difference that a sentence leaves out."""

Sizes: TypeAlias = Mapping[str, Sequence[float]]
"""Bytes per weight of each model in order, by "full" or a LoRA's rank: `{"full": (8.0, 8.0, 8.0), "4": …}`."""


@dataclass(frozen=True, slots=True)
class StateTable:
    """Bytes of state per trained weight, by optimizer (with the options that are changed), precision and training."""

    models: Mapping[str, str]
    """Titles of the models by key."""
    sizes: Mapping[str, Mapping[str, Sizes]]


def row_name(key: str, options: Mapping[str, Value] | None = None) -> str:
    """Return the name of a row of the table.

    >>> row_name("PRODIGY", {"slice_p": 11})
    'PRODIGY slice_p=11'
    """
    return " ".join([key, *(f"{name}={format_value(value)}" for name, value in (options or {}).items())])


@cache
def state_table() -> StateTable:
    """Return the checked-in table; do not change it. It is empty before it is made for the first time."""
    return read_table(TABLE.read_text("utf-8")) if TABLE.exists() else StateTable({}, {})


def read_table(text: str) -> StateTable:
    """Read the table from the JSON that `write_table` makes."""
    content = json.loads(text)
    return StateTable(content["models"], content["sizes"])


def write_table(table: StateTable) -> str:
    """Write the table as JSON with one precision of an optimizer on each line, so that a diff is easy to read."""
    rows = ",\n".join(
        f"    {json.dumps(name)}: {{\n"
        + ",\n".join(f"      {json.dumps(dtype)}: {json.dumps(sizes)}" for dtype, sizes in by_dtype.items())
        + "\n    }"
        for name, by_dtype in sorted(table.sizes.items())
    )
    return f'{{\n  "models": {json.dumps(table.models)},\n  "sizes": {{\n{rows}\n  }}\n}}\n'


def state_sentence(key: str) -> str:
    """Describe the state that an optimizer keeps at its defaults, beside AdamW's; "" if it is not in the table.

    >>> state_sentence("ADAMW")
    'State per weight at the defaults: 8 bytes; half of that with weights in bfloat16.'
    >>> state_sentence("LAMB")
    'State per weight at the defaults: 8 bytes; as much with weights in bfloat16 (AdamW: 4).'
    """
    table = state_table()
    if key not in table.sizes:
        return ""
    row, adamw = table.sizes[key], table.sizes["ADAMW"]
    if not any(_values(row["float32"])):
        return "State per weight at the defaults: none."
    wide, half = _amount(row["float32"]), _in_bfloat16(row)
    beside = [
        "" if _alike(row[dtype], adamw[dtype]) else f" (AdamW: {_span(_values(adamw[dtype]))})" for dtype in DTYPES
    ]
    as_adamw = half == _in_bfloat16(adamw)
    return f"State per weight at the defaults: {wide}{beside[0]}; {half}{'' if as_adamw else beside[1]}."


def state_words(key: str, /, **options: Value) -> str:
    """Describe the bytes per weight that an optimizer keeps with some options, for a note in a text.

    >>> state_words("PRODIGY", slice_p=11)
    '8.7 bytes per float32 weight, 8.5 in LoRAs'
    """
    row = state_table().sizes.get(row_name(key, options))
    if row is None:
        return "a size that is not counted yet"
    sizes = row["float32"]
    words = f"{_bytes(sizes['full'])} per float32 weight"
    return words if _near(_values(sizes)) else f"{words}, {_span(_in_loras(sizes))} in LoRAs"


def _amount(sizes: Sizes) -> str:
    """Describe bytes per weight: one number where it is the same for all models, and what a LoRA keeps if that differs."""
    full = sizes["full"]
    if _near(full):
        words = _bytes(full)
    else:
        titles = state_table().models.values()
        each = [f"{_number(size)} on {title}" for size, title in zip(full, titles, strict=True)]
        words = f"{each[0].replace(' on', ' bytes on', 1)}, {', '.join(each[1:])}"
    if _near(_values(sizes)):
        return words
    return f"{words}, {_span(_in_loras(sizes))} in LoRAs of rank {RANKS[0]} to {RANKS[-1]}"


def _values(sizes: Sizes) -> list[float]:
    return [size for each in sizes.values() for size in each]


def _in_loras(sizes: Sizes) -> list[float]:
    return [size for rank in RANKS for size in sizes[str(rank)]]


def _alike(sizes: Sizes, others: Sizes) -> bool:
    return all(_near(pair) for pair in zip(_values(sizes), _values(others), strict=True))


def _in_bfloat16(row: Mapping[str, Sizes]) -> str:
    pairs = [
        (wide, half)
        for training, sizes in row["float32"].items()
        for wide, half in zip(sizes, row["bfloat16"][training], strict=True)
        if wide > NEAR
    ]
    if all(_near([wide, half]) for wide, half in pairs):
        return "as much with weights in bfloat16"
    if all(_near([wide / 2, half]) for wide, half in pairs):
        return "half of that with weights in bfloat16"
    return f"{_span(_values(row['bfloat16']))} with weights in bfloat16"


def _near(sizes: Sequence[float]) -> bool:
    return max(sizes) - min(sizes) <= NEAR * max(sizes)


def _span(sizes: Sequence[float]) -> str:
    """Format the smallest and the largest size, or one number where they are the same."""
    ends = (min(sizes), min(sizes) if _near(sizes) else max(sizes))
    return " to ".join(dict.fromkeys(map(_number, ends)))


def _bytes(sizes: Sequence[float]) -> str:
    span = _span(sizes)
    return f"{span} {'byte' if span == '1' else 'bytes'}"


def _number(size: float) -> str:
    """Format bytes per weight.

    >>> _number(8.0), _number(4.764), _number(0.0002), _number(6152.01)
    ('8', '4.8', 'below 0.1', '6,152')
    """
    if 0 < size < 0.05:
        return "below 0.1"
    return f"{size:.1f}".removesuffix(".0") if size < 9.95 else f"{size:,.0f}"
