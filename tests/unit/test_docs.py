"""The code in docs/watch.md and docs/own-task.md runs as it stands there."""

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


def test_the_code_of_the_page_on_tasks_runs(monkeypatch, capsys):
    monkeypatch.setattr("diffopt_widgets.tasks.registry._OWN", {})
    fences = FENCE.findall((DOCS / "own-task.md").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for _, code in fences:
        exec(compile(code, "docs/own-task.md", "exec"), names)  # noqa: S102  # that it runs is the point
    assert capsys.readouterr().out.splitlines()[-1] == code.partition("# ")[2].partition("\n")[0]
    for run in (names["run"], *names["runs"]):
        assert run.status == "done", run.message
        assert run.eval_after < 0.5 * run.eval_before
        assert run.samples == {}
