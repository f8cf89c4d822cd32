"""In Colab, widgets of one's own show only once its custom widget manager is switched on: nobody should need to know.

Colab's own module cannot be installed elsewhere; what stands for it here keeps to the two names that are used of it:
https://github.com/googlecolab/colabtools/blob/main/google/colab/output/_widgets.py
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MANAGER = "https://example.org/manager.min.js"
COLAB = f"""
import sys
from types import ModuleType, SimpleNamespace

output = sys.modules["google.colab.output"] = ModuleType("google.colab.output")
output._widgets = SimpleNamespace(_installed_url=None)
output.enable_custom_widget_manager = lambda: setattr(output._widgets, "_installed_url", {MANAGER!r})

import json, IPython.display
shown = []
IPython.display.display = lambda *_, metadata=None, **__: shown.append(metadata)

import diffopt_widgets as dw
"""


def ask(code: str) -> object:
    """What a fresh Python that takes itself for Colab prints: a thing is switched on once in a process."""
    done = subprocess.run([sys.executable, "-c", COLAB + code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["lab", "Form"])
def test_making_a_widget_switches_the_manager_on(part):
    assert ask(f"dw.{part}(); print(json.dumps(output._widgets._installed_url))") == MANAGER


@pytest.mark.slow
def test_the_display_of_a_live_plot_names_the_manager():
    named = {"application/vnd.jupyter.widget-view+json": {"colab": {"custom_widget_manager": {"url": MANAGER}}}}
    assert ask("dw.LivePlot()._ipython_display_(); print(json.dumps(shown))") == [named]
