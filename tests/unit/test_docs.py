"""The code in docs/watch.md runs as it stands there."""

from __future__ import annotations

import re

import pytest
from places import ROOT

DOCS = ROOT / "docs"
FENCE = re.compile(r"(?:<!-- needs: (\w+) -->\n)?```python\n(.*?)```", re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # the trainers' own
@pytest.mark.parametrize("needs", ["", "transformers", "accelerate", "diffusers"])
def test_the_code_of_the_watch_page_runs(needs, tmp_path, monkeypatch):
    if needs:
        pytest.importorskip(needs, reason="needs the extra diffopt-widgets[integrations]")
    monkeypatch.chdir(tmp_path)
    fences = FENCE.findall((DOCS / "watch.md").read_text(encoding="utf-8"))
    chosen = [code for wanted, code in fences if wanted in {"", needs}]
    assert len(chosen) == 2 + bool(needs)
    names: dict[str, object] = {}
    for code in chosen:
        exec(compile(code, "docs/watch.md", "exec"), names)  # noqa: S102  # that it runs is the point
    assert (tmp_path / "runs.sqlite").exists()
