"""The state of every optimizer for each model, full and as a LoRA, and how long it takes to tell.

Run it: `python tests/benchmarks/bench_memory.py [float32|bfloat16]`.
"""

from __future__ import annotations

import sys
from time import perf_counter

from rich.console import Console
from rich.table import Table

from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.settings import Settings
from diffopt_widgets.state_size.count import tensors_memory
from diffopt_widgets.state_size.models import MODELS, Choice


def main(dtype: str = "float32") -> None:
    choices = [Choice(model, rank, dtype=dtype) for model in MODELS for rank in (None, 64)]
    heads = [f"{choice.network.title}\n{'full' if choice.rank is None else 'LoRA 64'}" for choice in choices]
    table = Table("", title=f"GiB of state, weights in {dtype}")
    for head in heads:
        table.add_column(head, justify="right")
    seconds = [0.0] * len(choices)
    tensors = [choice.tensors() for choice in choices]
    for key in list_optimizers():
        settings = Settings(key)
        tensors_memory(settings, {next(iter(tensors[0])): 1}, dtype)  # what is imported is not timed
        row = []
        for place, kinds in enumerate(tensors):
            began = perf_counter()
            row.append(f"{tensors_memory(settings, kinds, dtype) / 2**30:.2f}")
            seconds[place] += perf_counter() - began
        table.add_row(key, *row)
    table.add_section()
    table.add_row("tensors", *(str(sum(kinds.values())) for kinds in tensors))
    table.add_row("seconds, all optimizers", *(f"{total:.1f}" for total in seconds))
    table.add_row("seconds, mean", *(f"{total / len(list_optimizers()):.2f}" for total in seconds))
    Console().print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
