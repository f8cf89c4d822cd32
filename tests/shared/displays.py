"""Displays of a real IPython shell, kept for the test that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@contextmanager
def shown() -> Iterator[list[dict[str, Any]]]:
    """Give what is displayed meanwhile: dicts with data, metadata, transient and update."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config, display_pub_class=CapturingDisplayPublisher)
    try:
        yield shell.display_pub.outputs
    finally:
        InteractiveShell.clear_instance()


def saved(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a notebook would hold: each update replaces the data of every display with its id."""
    held: list[dict[str, Any]] = []
    for output in outputs:
        own = (output["transient"] or {}).get("display_id")
        for before in held:
            if own and before["id"] == own:
                before["data"] = output["data"]
        if not output["update"]:
            held.append({"id": own, "data": output["data"]})
    return [display["data"] for display in held]
