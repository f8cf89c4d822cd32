"""What the adapters cost and save: live bytes at their peak, and time, with and without each option.

Run: python tests/benchmarks/bench_adapters.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import diffopt_widgets as dw

LAYERS, WIDTH, BATCH, STEPS = 24, 512, 8, 12
KEYS = ("ADAMW", "ADAFACTOR", "LION", "ADAMW_8BIT")


def measure(settings: dw.Settings, dtype: torch.dtype) -> tuple[float, float]:
    """The most that one step holds beside weights and states (MiB), and milliseconds per step."""
    from test_adapters import LiveBytes

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layers = [torch.nn.Linear(WIDTH, WIDTH, bias=False, dtype=dtype, device=device) for _ in range(LAYERS)]
    model = torch.nn.Sequential(*layers)
    optimizer = dw.build_optimizer(settings, model.parameters())
    x = torch.ones(BATCH, WIDTH, dtype=dtype, device=device)

    def step() -> None:
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # makes the states
    with LiveBytes() as live:
        step()
    times = []
    for _ in range(STEPS):
        began = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return live.most / 2**20, 1000 * sorted(times)[STEPS // 2]


def main() -> None:
    """Print the table."""
    sys.path.insert(
        0, str(Path(__file__).parents[1] / "unit" / "optimizers")
    )  # the test of the same name has the counter of live bytes
    rows = {
        "float32": (torch.float32, {}),
        "float32, fused back pass": (torch.float32, {"fused_back_pass": True}),
        "float32, percentile clipping": (torch.float32, {"percentile_clipping": 95}),
        "bfloat16": (torch.bfloat16, {}),
        "bfloat16, stochastic rounding": (torch.bfloat16, {"stochastic_rounding": True}),
        "bfloat16, rounding and fused": (torch.bfloat16, {"stochastic_rounding": True, "fused_back_pass": True}),
    }
    weights = LAYERS * WIDTH * WIDTH * 4 / 2**20
    table = Table(
        "optimizer",
        "weights and options",
        "peak beside weights and states, MiB",
        "ms/step",
        title=f"{weights:.0f} MiB in float32",
    )
    for key in KEYS:
        for words, (dtype, options) in rows.items():
            peak, milliseconds = measure(dw.Settings(key, lr=1e-4, **options), dtype)
            table.add_row(key, words, f"{peak:.1f}", f"{milliseconds:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
