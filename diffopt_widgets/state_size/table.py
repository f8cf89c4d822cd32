"""The table of state sizes that the catalogue's texts quote: made with `tensors_memory`, the real optimizers stepping.

Make it again: `python -m diffopt_widgets.state_size.table [KEY …]`; with keys only the rows of these optimizers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.catalogue.state_sizes import DTYPES, RANKS, TABLE, StateTable, row_name, state_table, write_table
from diffopt_widgets.settings import Settings
from diffopt_widgets.state_size.count import tensors_memory
from diffopt_widgets.state_size.models import MODELS, Choice

VARIANTS: Mapping[str, tuple[Mapping[str, Any], ...]] = MappingProxyType(
    {
        "ADAFACTOR": ({"beta1": 0.9},),
        "ADAMW_8BIT": ({"min_8bit_size": 1},),
        "ADAMW_ADV": ({"nnmf_factor": True},),
        "LION_ADV": ({"nnmf_factor": True},),
        "PRODIGY": ({"slice_p": 11},),
        "PRODIGY_PLUS_SCHEDULE_FREE": ({"factored": False}, {"factored_fp32": False}, {"use_speed": True}),
    }
)
"""Options other than the defaults that texts of the catalogue tell the size of, by optimizer."""


def rows() -> list[Settings]:
    """Return the settings of every row."""
    return [Settings(key, **options) for key in list_optimizers() for options in ({}, *VARIANTS.get(key, ()))]


def row_of(settings: Settings) -> str:
    """Return the name of the row of settings."""
    default = Settings(settings.optimizer).options
    return row_name(settings.optimizer, {k: v for k, v in settings.options.items() if v != default[k]})


def sizes(settings: Settings) -> dict[str, dict[str, list[float]]]:
    """Count the bytes per weight for every model, in full and as LoRAs, in each precision."""
    return {
        dtype: {
            training: [_per_weight(settings, Choice(model, rank, dtype=dtype)) for model in MODELS]
            for training, rank in (("full", None), *((str(rank), rank) for rank in RANKS))
        }
        for dtype in DTYPES
    }


def _per_weight(settings: Settings, choice: Choice) -> float:
    size = tensors_memory(settings, choice.tensors(), choice.dtype) / choice.weights()
    return float(f"{size:.4g}")


def main(keys: Iterable[str]) -> None:
    """Write the table, or only the rows of some optimizers."""
    known = state_table().sizes if TABLE.exists() else {}
    chosen = set(keys)
    new = {row_of(settings): settings for settings in rows()}
    told = {
        name: sizes(settings) if not chosen or settings.optimizer in chosen or name not in known else known[name]
        for name, settings in new.items()
    }
    table = StateTable({key: model.title for key, model in MODELS.items()}, told)
    TABLE.write_text(write_table(table), "utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
