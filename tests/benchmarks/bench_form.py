"""What the form costs: time in Python, widget models and messages, beside the same panel made of plain ipywidgets.

Run it: `python tests/benchmarks/bench_form.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from time import perf_counter

import ipywidgets
from rich.console import Console
from rich.table import Table

from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.slider import linked_slider

OPTIMIZERS = ("SGD", "ADAM", "PRODIGY", "ADAFACTOR")


def milliseconds(action: Callable[[], object], repeat: int = 15) -> float:
    """Return the median time of an action, after one to warm up."""
    times = []
    for _ in range(repeat + 1):
        start = perf_counter()
        action()
        times.append(1000 * (perf_counter() - start))
    return median(times[1:])


def models(action: Callable[[], object]) -> int:
    """Return how many widget models an action makes."""
    made = []
    ipywidgets.Widget.on_widget_constructed(made.append)
    try:
        action()
    finally:
        ipywidgets.Widget.on_widget_constructed(None)
    return len(made)


def messages(form: Form, action: Callable[[], object]) -> str:
    """Return how many messages an action sends to the page, and their size."""
    sent: list[int] = []
    form._send = lambda message, buffers=None: sent.append(len(json.dumps(message)))
    action()
    del form._send
    return f"{len(sent)} of {sum(sent) / 1000:.1f} kB"


def plain(form: Form) -> ipywidgets.Widget:
    """Return the same panel out of plain ipywidgets: for each option a control, a help button, a line and a box."""
    rows = []
    for name, control in form.panel["controls"].items():
        tools = [ipywidgets.Button(description="?"), ipywidgets.Button(description="reset")]
        line = ipywidgets.HTML(control["help"])
        rows.append(ipywidgets.VBox([ipywidgets.HBox([linked_slider(form, name), *tools]), line]))
    return ipywidgets.VBox(rows)


def row(optimizer: str) -> list[str]:
    form = Form(optimizer)
    other = "LION" if optimizer != "LION" else "ADAM"
    texts = iter(str(0.1 + i / 1000) for i in range(10_000))

    def switch() -> None:
        form.choose(other)
        form.choose(optimizer)

    def keystroke() -> None:
        form.type("lr", next(texts))

    sizes = messages(form, lambda: form.choose(other))
    switching = milliseconds(switch) / 2
    return [
        optimizer,
        str(len(form.draft.texts)),
        f"{milliseconds(lambda: Form(optimizer)):.1f}",
        str(models(lambda: Form(optimizer))),
        f"{switching:.1f}",
        sizes,
        f"{milliseconds(keystroke, repeat=200):.2f}",
        messages(form, keystroke),
        f"{milliseconds(lambda: plain(form), repeat=3):.0f}",
        str(models(lambda: plain(form))),
    ]


def main() -> None:
    for optimizer in list_optimizers():
        Form(optimizer)  # descriptions are made once in a process
    table = Table(title="The form, in Python (ms are medians; the page is not in them)")
    heads = ["optimizer", "options", "create ms", "models", "switch ms", "switch sends", "key ms", "key sends"]
    for head in [*heads, "plain: create ms", "plain: models"]:
        table.add_column(head, justify="right")
    for optimizer in OPTIMIZERS:
        table.add_row(*row(optimizer))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
