"""The whole bench by the keyboard alone: everything is within reach, and the focus is never lost from sight."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

expect.set_options()

OPEN = "import diffopt_widgets as dw\nbench = dw.lab(dw.Settings('PRODIGY'), task='swiss_roll', steps=100000)\nbench"

FOCUS = """() => {
  const look = (node) => [node, node.parentElement, ...(node.parentElement?.children ?? [])].map((one) => {
    const { outline, boxShadow, borderColor, backgroundColor } = getComputedStyle(one);
    return [outline, boxShadow, borderColor, backgroundColor];
  }).join();
  const node = document.activeElement;
  const before = window.focusBefore;
  const unseen = before?.node.closest('.dw-bench') && before.node !== node && before.look === look(before.node);
  window.focusBefore = { node, look: look(node), name: window.nameOfFocus() };
  const { top, bottom, width } = node.getBoundingClientRect();
  return {
    name: window.nameOfFocus(),
    inBench: node.closest('.dw-bench') !== null,
    inSight: width > 0 && bottom > 0 && top < innerHeight,
    unseen: unseen ? before.name : '',
  };
}"""
NAME = """window.focusBefore = null;
window.nameOfFocus = () => {
  const node = document.activeElement;
  return (node.ariaLabel || node.labels?.[0]?.textContent || node.dataset.title || node.textContent).trim();
}"""


@dataclass
class Keyboard:
    """Somebody without a mouse, who must always see where the focus is."""

    page: Page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def write(self, text: str) -> None:
        """Write over what a field holds."""
        self.press("ControlOrMeta+a")
        self.page.keyboard.type(text)

    def to(self, name: str, *, by: str = "Tab") -> None:
        """Go to the control of this name; the focus is in the bench, in sight and marked on each step of the way."""
        passed: list[str] = []
        while len(passed) < 150:
            self.press(by)
            here = self.page.evaluate(FOCUS)
            assert not here["unseen"], f"the focus does not show on {here['unseen']!r}"
            if passed and not here["inBench"]:
                break
            if here["inBench"]:
                assert here["inSight"], f"{here['name']!r} has the focus and is not in sight"
                passed.append(here["name"])
            if re.fullmatch(name, here["name"]):
                return
        pytest.fail(f"{name!r} is not to be reached by {by}; on the way are {passed}")

    def is_at(self, name: str) -> None:
        """Wait until the focus is on the control of this name."""
        self.page.wait_for_function("name => new RegExp(`^(?:${name})$`).test(window.nameOfFocus())", arg=name)

    def leaves(self, *, by: str) -> None:
        """Go on until the focus is outside the bench."""
        for _ in range(150):
            self.press(by)
            if not self.page.evaluate(FOCUS)["inBench"]:
                return
        pytest.fail(f"the focus cannot leave the bench by {by}")


def opened(notebook, app):
    nb = notebook([OPEN], app=app)
    nb.run_cell(0)
    expect(nb.page.locator(".dw-bench .dw-plot-graph")).to_be_attached()
    expect(nb.page.locator(".dw-bench .dwr")).to_contain_text("Runs appear here")
    nb.page.evaluate(NAME)
    return nb, Keyboard(nb.page)


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_from_an_optimizer_to_compared_runs_without_a_mouse(notebook, app):
    nb, keys = opened(notebook, app)
    choose_an_optimizer_and_find_an_option(nb, keys)
    start_pause_resume_and_stop(nb, keys)
    continue_from_the_table(nb, keys)
    train_once_more_and_compare(nb, keys)
    remove_and_undo(nb, keys)
    keys.leaves(by="Tab")


def choose_an_optimizer_and_find_an_option(nb, keys):
    keys.to("Optimizer")
    keys.press("Home")
    nb.until_python("bench.form.settings.optimizer == 'ADAMW'")
    keys.is_at("Optimizer")
    keys.to("Find an option of any optimizer")
    nb.page.keyboard.type("weight decay")
    expect(nb.page.locator(".dwf-results").get_by_role("option").first).to_contain_text("weight_decay")
    keys.press("Enter")
    keys.is_at("Weight decay.*")
    keys.write("0.02")
    nb.until_python("bench.form.settings.options['weight_decay'] == 0.02")


def start_pause_resume_and_stop(nb, keys):
    keys.to("Run")
    keys.press("Enter")
    nb.until_python("bench.runs and len(bench.runs[0].history) > 5")
    keys.is_at("Pause")
    keys.press("Space")
    nb.until_python("bench.runs[0].status == 'paused'")
    keys.is_at("Resume")
    held = nb.eval_python("len(bench.runs[0].history)")
    keys.press("Space")
    nb.until_python(f"len(bench.runs[0].history) > {held}")
    keys.to("Stop")
    keys.press("Enter")
    nb.until_python("bench.runs[0].status == 'stopped'")
    keys.is_at("Run")


def continue_from_the_table(nb, keys):
    taken = nb.eval_python("len(bench.runs[0].history)")
    keys.to("Continue .*")
    keys.press("Enter")
    nb.until_python(f"len(bench.runs[0].history) > {taken}")
    keys.is_at("Stop .+")  # the same button stops this run alone now
    keys.to("Stop", by="Shift+Tab")
    keys.press("Enter")
    nb.until_python("bench.runs[0].status == 'stopped'")
    keys.is_at("Run")


def train_once_more_and_compare(nb, keys):
    keys.to("Steps", by="Shift+Tab")
    keys.write("5")
    nb.until_python("bench.bar.values['steps'] == 5")
    keys.to("Run")
    keys.press("Enter")
    nb.until_python("[run.status for run in bench.runs] == ['stopped', 'done']")
    keys.is_at("Run")  # it began at Run, was at Pause meanwhile, and that is of no use now
    keys.to("Compare settings")
    keys.press("Enter")
    panel = nb.page.get_by_role("region", name="Settings side by side")
    expect(panel.get_by_role("row", name=re.compile("^Steps"))).to_contain_text("100000")
    keys.is_at("Compare settings")


def remove_and_undo(nb, keys):
    keys.to("Remove .* steps 5", by="Shift+Tab")
    keys.press("Enter")
    keys.is_at("Undo: bring .* steps 5 back")
    nb.until_python("len(bench.runs) == 1")
    keys.press("Enter")
    keys.is_at("Remove .* steps 5")
    nb.until_python("[run.status for run in bench.runs] == ['stopped', 'done']")


CELLS = "window.jupyterapp.shell.currentWidget.content.widgets.length"
RECORDS = "Number(document.querySelector('.dw-plot-graph').dataset.rows)"


def test_keys_that_are_commands_of_the_notebook_stay_in_the_bench(notebook):
    nb, keys = opened(notebook, "lab")
    page, bench = nb.page, nb.page.locator(".dw-bench")
    task, run = bench.get_by_label("Task", exact=True), bench.get_by_role("button", name="Run", exact=True)
    steps = bench.get_by_label("Steps", exact=True)
    task.focus()
    for key, name in (("ArrowDown", "digits"), ("ArrowUp", "swiss_roll")):
        keys.press(key)
        nb.until_python(f"bench.bar.values['task'] == {name!r}")
        expect(steps).to_have_value(nb.eval_python(f"str(dw.tasks.get_task({name!r}).steps)"))  # each brings its own
    steps.fill("100000")
    nb.until_python("bench.bar.values['steps'] == 100000")
    run.focus()
    keys.press("Enter")
    page.wait_for_function(f"{RECORDS} > 5")
    names = ("Stop", "PRODIGY", "log loss", "Warm-up or not", "Remove PRODIGY")
    buttons = [bench.get_by_role("button", name=name, exact=True).first for name in names]
    for control in (task, *buttons, bench.locator(".modebar-btn").first):
        control.focus()
        keys.press("b", "a", "j", "d", "d", "x")
        expect(control).to_be_focused()
        assert page.evaluate(CELLS) == 1
    # the plot goes on under the focus
    drawn = page.evaluate(RECORDS)
    page.wait_for_function(f"{RECORDS} > {drawn} + 20")
    expect(bench.locator(".modebar-btn").first).to_be_focused()
