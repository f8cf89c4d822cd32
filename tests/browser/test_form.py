"""The form used as a person would, by keyboard and by mouse."""

import json
import re

import pytest
from playwright.sync_api import expect

CELL = "from diffopt_widgets.widgets.form.form import Form\nform = Form('PRODIGY')\nform"
OPTION = "form.settings.options[{!r}]"


@pytest.fixture
def opened(notebook):
    found = notebook([CELL], height=1600)
    found.run_all()
    found.output(0).locator(".dwf").wait_for()
    return found


def entry(opened, name):
    return opened.output(0).locator(f"[data-name={name}] .dwf-field > :is(input:not([type=range]), select)")


def row(opened, name):
    return opened.output(0).locator(f"[data-name={name}]")


def test_an_option_is_changed_by_the_keyboard_alone(opened):
    entry(opened, "d_coef").focus()
    opened.page.keyboard.press("ControlOrMeta+a")
    opened.page.keyboard.type("0.5")
    opened.until_python(f"{OPTION.format('d_coef')} == 0.5")
    expect(row(opened, "d_coef")).to_contain_text("(changed)")
    opened.page.keyboard.press("ArrowUp")
    opened.until_python(f"{OPTION.format('d_coef')} == 0.6")
    expect(entry(opened, "d_coef")).to_have_value("0.6")
    opened.page.keyboard.press("Tab")
    expect(row(opened, "d_coef").get_by_role("button", name="✓ within the advice")).to_be_disabled()
    expect(opened.output(0)).to_contain_text("Differs from the defaults: d_coef 0.6")


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_keys_that_are_commands_of_the_notebook_stay_in_the_form(notebook, app):
    opened = notebook([CELL], app=app, height=1600)
    opened.run_all()
    entry(opened, "use_bias_correction").focus()
    for key in ("a", "b", "d", "d", "x", "ArrowDown", "Escape"):
        opened.page.keyboard.press(key)
    assert opened.page.locator(".jp-Notebook .jp-Cell").count() == 1
    opened.page.keyboard.press("Space")
    opened.until_python(f"{OPTION.format('use_bias_correction')} is True")


def test_a_wrong_text_marks_its_control_and_keeps_the_settings(opened):
    entry(opened, "d_coef").fill("0,5")
    expect(row(opened, "d_coef").get_by_text("write a point, not a comma")).to_be_visible()
    expect(entry(opened, "d_coef")).to_have_attribute("aria-invalid", "true")
    expect(entry(opened, "d_coef")).to_have_value("0,5")
    opened.until_python("list(form.errors) == ['d_coef'] and form.settings.options['d_coef'] == 1.0")
    opened.output(0).get_by_role("button", name="D coefficient", exact=True).click()
    expect(entry(opened, "d_coef")).to_be_focused()
    row(opened, "d_coef").get_by_role("button", name="Reset").click()
    expect(entry(opened, "d_coef")).to_have_value("1")
    opened.until_python("form.errors == {}")
    expect(entry(opened, "d_coef")).not_to_have_attribute("aria-invalid", "true")


def test_a_switch_and_back_keeps_what_was_typed(opened):
    entry(opened, "d_coef").fill("zwei")
    entry(opened, "schedule").select_option("COSINE")
    menu = opened.output(0).get_by_label("Optimizer", exact=True)
    menu.focus()
    menu.select_option("ADAM")
    opened.until_python("form.settings.optimizer == 'ADAM' and form.settings.schedule == 'COSINE' and not form.errors")
    expect(row(opened, "d_coef")).to_have_count(0)
    expect(menu).to_be_focused()
    menu.select_option("PRODIGY")
    expect(entry(opened, "d_coef")).to_have_value("zwei")
    expect(entry(opened, "schedule")).to_have_value("COSINE")
    opened.until_python("list(form.errors) == ['d_coef']")


@pytest.fixture
def slow(notebook):
    """A form whose switches of optimizer take until a file is there, and the path of that file."""
    wait = "def wait(_):\n    while not pathlib.Path('go').exists(): time.sleep(0.02)\n"
    found = notebook([f"import pathlib, time\n{wait}{CELL}.observe(wait, 'panel')\nform"], height=1600)
    found.run_all()
    found.output(0).locator(".dwf").wait_for()
    go = found.path.parent / "go"
    yield found, go
    go.unlink(missing_ok=True)


def test_who_types_before_another_optimizer_has_come_keeps_the_place_and_the_text(slow):
    opened, go = slow
    menu = opened.output(0).get_by_label("Optimizer", exact=True)
    menu.select_option("ADAM")
    entry(opened, "lr").select_text()
    opened.page.keyboard.type("0.0025")
    opened.page.keyboard.press("ArrowLeft")
    expect(entry(opened, "lr")).to_have_value("0.0025")
    expect(row(opened, "d_coef")).to_be_visible()
    go.touch()
    expect(row(opened, "d_coef")).to_have_count(0)
    expect(entry(opened, "lr")).to_have_value("0.0025")
    expect(entry(opened, "lr")).to_be_focused()
    opened.page.keyboard.press("Backspace")
    opened.until_python("form.settings == type(form.settings)('ADAM', lr=0.005)")

    entry(opened, "lr").fill("1")
    opened.until_python("form.settings.lr == 1")
    go.unlink()
    menu.select_option("SGD")
    entry(opened, "lr").select_text()
    go.touch()
    expect(row(opened, "nesterov")).to_be_attached()
    opened.page.keyboard.type("0.25")  # over all that is selected, although another text has come
    opened.until_python("form.settings == type(form.settings)('SGD', lr=0.25)")


def test_what_the_other_optimizer_does_not_have_is_kept_for_the_one_it_was_typed_in(slow):
    opened, go = slow
    menu = opened.output(0).get_by_label("Optimizer", exact=True)
    menu.select_option("ADAM")
    entry(opened, "d_coef").select_text()
    opened.page.keyboard.type("0.2")
    go.touch()
    expect(row(opened, "d_coef")).to_have_count(0)
    expect(opened.output(0).locator(".dwf-body")).to_be_focused()
    opened.until_python("form.settings.optimizer == 'ADAM' and not form.notice and not form.errors")
    menu.select_option("PRODIGY")
    expect(entry(opened, "d_coef")).to_have_value("0.2")
    opened.until_python(f"{OPTION.format('d_coef')} == 0.2")


def test_presets_and_undo(opened):
    entry(opened, "lr").fill("3")
    opened.until_python("form.settings.lr == 3")
    opened.output(0).get_by_role("button", name="Recommended", exact=True).click()
    opened.until_python("'recommended' in form.draft.parsed.presets")
    expect(opened.output(0).get_by_role("button", name="Recommended", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    opened.output(0).get_by_role("button", name="Undo: load Recommended").click()
    expect(entry(opened, "lr")).to_have_value("3")
    opened.until_python("form.settings.lr == 3")


def test_undo_is_within_reach_of_the_keyboard_and_says_what_it_takes_back(opened):
    presets = opened.output(0).locator(".dwf-presets")
    entry(opened, "lr").fill("3")
    opened.until_python("form.settings.lr == 3")
    presets.get_by_role("button").nth(-2).focus()
    opened.page.keyboard.press("Enter")
    opened.until_python("form.settings.lr != 3")
    undo = presets.get_by_role("button", name="Undo: load")
    expect(undo).to_be_visible()
    opened.page.keyboard.press("Tab")
    expect(undo).to_be_focused()
    expect(opened.output(0).get_by_role("tooltip")).to_contain_text("Undo: load")
    opened.page.keyboard.press("Enter")
    opened.until_python("form.settings.lr == 3")
    opened.page.keyboard.press("Enter")
    opened.until_python("form.settings.lr == 1")
    last = presets.get_by_role("button", name="Undo: nothing to take back")
    expect(last).to_be_focused()
    expect(last).to_have_attribute("aria-disabled", "true")


def test_a_fix_is_one_click(opened):
    entry(opened, "lr").fill("1e-4")
    row(opened, "lr").get_by_role("button", name="Set Learning rate to 1").click()
    expect(entry(opened, "lr")).to_have_value("1")
    opened.until_python("form.settings.lr == 1.0 and not form.draft.parsed.warnings")


def test_help_opens_below_its_control(opened):
    button = row(opened, "d_coef").get_by_role("button", name="Explain D coefficient")
    button.focus()
    opened.page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(row(opened, "d_coef").get_by_text("Scales the estimate")).to_be_visible()
    opened.page.keyboard.press("Enter")
    expect(row(opened, "d_coef").get_by_text("Scales the estimate")).to_be_hidden()


def finder(opened):
    return opened.output(0).get_by_role("combobox", name="Find an option of any optimizer")


def hits(opened):
    return opened.output(0).locator(".dwf-results").get_by_role("option")


def test_an_option_is_found_by_a_word_and_reached_by_the_keyboard(opened):
    found = hits(opened)
    finder(opened).focus()
    opened.page.keyboard.type("weight decay")
    expect(found.first).to_contain_text("weight_decay")
    expect(found.first).to_contain_text("all optimizers")
    expect(finder(opened)).to_have_attribute("aria-expanded", "true")
    opened.page.keyboard.press("Escape")
    expect(found.first).to_be_hidden()
    expect(finder(opened)).to_have_value("weight decay")
    for _ in range(2):
        opened.page.keyboard.press("ArrowDown")
    expect(found.nth(1)).to_contain_text("Decouple")
    expect(found.nth(1)).to_have_attribute("aria-selected", "true")
    expect(finder(opened)).to_have_attribute("aria-activedescendant", found.nth(1).get_attribute("id"))
    expect(entry(opened, "decouple")).to_be_hidden()  # in a fold
    opened.page.keyboard.press("Enter")
    expect(row(opened, "decouple").get_by_role("button", name="Explain")).to_be_focused()  # greyed: no weight decay
    expect(entry(opened, "decouple")).to_be_visible()
    expect(finder(opened)).to_have_value("")
    assert opened.page.locator(".jp-Notebook .jp-Cell").count() == 1


def test_an_option_of_another_optimizer_is_reached_by_a_click(opened):
    finder(opened).fill("momentum")
    group = opened.output(0).get_by_role("group", name="Momentum, not in Prodigy")
    group.get_by_role("option", name="Momentum in SGD", exact=True).click()
    opened.until_python("form.settings.optimizer == 'SGD'")
    expect(entry(opened, "momentum")).to_be_focused()
    finder(opened).fill("no such thing <b>")
    expect(
        opened.output(0).get_by_text("No option has “no such thing <b>” in its name or explanation.")
    ).to_be_visible()


def test_a_question_is_understood_and_answered_with_those_that_have_the_option(opened):
    finder(opened).fill("Which optimizers have weight decay by lr?")
    expect(opened.output(0).get_by_role("group", name="Weight decay by learning rate, not in Prodigy")).to_be_visible()
    expect(hits(opened)).to_have_text("Prodigy Plus (schedule-free)")
    finder(opened).fill("which have nesterov?")
    expect(hits(opened).first).to_have_text("SGD")
    expect(hits(opened).last).to_have_text("LARS (8-bit) (no effect)")


def test_an_option_whose_name_means_something_else_elsewhere_is_told_apart(opened):
    finder(opened).fill("lr")
    expect(hits(opened).first).to_contain_text("A factor on the rate that this optimizer estimates")
    elsewhere = opened.output(0).get_by_role("group", name="Learning rate, with another meaning than in Prodigy")
    expect(elsewhere).to_contain_text("The size of each step.")
    expect(elsewhere.get_by_role("option", name="Learning rate in AdamW", exact=True)).to_be_visible()


def test_enter_alone_never_switches_to_another_optimizer(opened):
    finder(opened).fill("decay")
    expect(hits(opened).first).to_contain_text("weight_decay")
    expect(hits(opened).first).to_have_attribute("aria-selected", "true")
    finder(opened).fill("momentum")
    expect(opened.output(0).get_by_text("↓ chooses the optimizer to switch to.")).to_be_visible()
    expect(hits(opened).and_(opened.page.locator("[aria-selected=true]"))).to_have_count(0)
    opened.page.keyboard.press("Enter")
    expect(finder(opened)).to_have_value("momentum")
    assert opened.eval_python("form.settings.optimizer") == "PRODIGY"
    opened.page.keyboard.press("ArrowDown")
    owner = hits(opened).first.text_content()
    opened.page.keyboard.press("Enter")
    expect(opened.output(0).get_by_label("Optimizer", exact=True).locator("option:checked")).to_have_text(owner)


def test_an_option_that_is_greyed_is_reached_at_its_question_mark(opened):
    finder(opened).fill("min_factor")
    expect(hits(opened).first).to_contain_text("min_factor")
    opened.page.keyboard.press("Enter")
    expect(row(opened, "min_factor").get_by_role("button", name="Explain")).to_be_focused()
    expect(opened.output(0).get_by_role("tooltip")).to_contain_text("The Constant schedule does not fall.")


def test_short_help_floats_without_moving_anything(opened):
    output, page = opened.output(0), opened.page
    tip = output.get_by_role("tooltip")
    boxes = "form => JSON.stringify([...form.querySelectorAll('.dwf-row')].map(row => row.getBoundingClientRect()))"
    entry(opened, "slice_p").focus()
    before = output.locator(".dwf").evaluate(boxes)
    page.keyboard.press("Tab")
    button = row(opened, "slice_p").get_by_role("button", name="Explain")
    expect(button).to_be_focused()
    expect(tip).to_contain_text("Uses only every n-th weight")
    expect(tip).to_contain_text("Recommended: 11 (OneTrainer's defaults).")
    expect(button).to_have_attribute("aria-describedby", tip.get_attribute("id"))
    assert output.locator(".dwf").evaluate(boxes) == before
    inside = """tip => { const [a, b] = [tip, tip.parentElement].map(node => node.getBoundingClientRect());
                         return a.left >= b.left && a.right <= b.right + 1; }"""
    assert tip.evaluate(inside)
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    row(opened, "cycles").locator("label").hover()
    expect(tip).to_contain_text("The Constant schedule has no cycles.")
    tip.hover()
    expect(tip).to_be_visible()
    output.locator(".dwf-formula").hover()
    expect(tip).to_be_hidden()


def test_a_tap_opens_the_long_help_and_no_short_one(fresh_notebook):
    found = fresh_notebook([CELL], height=1600, touch=True)
    found.run_all()
    button = row(found, "slice_p").get_by_role("button", name="Explain")
    button.tap()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(row(found, "slice_p").locator(".dwf-help")).to_contain_text("Recommended")
    expect(found.output(0).get_by_role("tooltip")).to_be_hidden()


def test_a_text_that_cannot_be_used_stays_and_is_explained(opened):
    for text in ("9" * 10_000, "x" * 10_000, "1e999", "٣", "−1"):
        entry(opened, "lr").fill(text)
        expect(row(opened, "lr").locator(".dwf-error")).to_contain_text(re.compile(r"(Allowed:|Must be) above 0\."))
        expect(entry(opened, "lr")).to_have_value(text)
        opened.until_python("list(form.errors) == ['lr'] and form.settings.lr == 1")
        expect(opened.output(0).get_by_text("To correct:")).to_be_visible()
        entry(opened, "lr").fill("1")
        opened.until_python("form.errors == {}")
        expect(row(opened, "lr").locator(".dwf-error")).to_have_count(0)


def test_a_slider_moves_the_settings_while_it_moves(opened):
    slider = row(opened, "d_coef").get_by_label("D coefficient, slider")
    slider.evaluate(
        """slider => { for (let i = 0; i <= 1000; i += 5) {
             slider.value = i; slider.dispatchEvent(new Event('input', { bubbles: true })); } }"""
    )
    opened.until_python(f"{OPTION.format('d_coef')} == 10.0")
    expect(entry(opened, "d_coef")).to_have_value("10")


def test_copy_as_code_reaches_the_clipboard(opened):
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.output(0).get_by_role("button", name="Copy as code").click()
    expect(opened.output(0).get_by_text("Copied", exact=True)).to_be_visible()
    assert opened.page.evaluate("navigator.clipboard.readText()") == opened.eval_python("form.code")


def test_what_is_copied_is_what_was_typed_although_it_is_not_answered_yet(slow):
    opened, go = slow
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.output(0).get_by_label("Optimizer", exact=True).select_option("ADAM")
    entry(opened, "lr").fill("0.0025")
    opened.output(0).get_by_role("button", name="Copy settings").click()
    expect(opened.output(0).get_by_text("Waiting for the kernel, which is busy…")).to_be_visible()
    expect(opened.output(0).get_by_text("Copied", exact=True)).to_have_count(0)
    go.touch()
    expect(opened.output(0).get_by_text("Copied", exact=True)).to_be_visible()
    copied = json.loads(opened.page.evaluate("navigator.clipboard.readText()"))
    assert (copied["optimizer"], copied["lr"]) == ("ADAM", 0.0025)


@pytest.mark.usefixtures("patched_page")
def test_without_a_clipboard_the_code_is_selected(opened):
    opened.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    opened.output(0).get_by_role("button", name="Copy as code").click()
    expect(opened.output(0).get_by_label("The settings as code")).to_be_focused()
    assert opened.page.evaluate("document.activeElement.selectionEnd") == len(opened.eval_python("form.code"))


def test_settings_are_copied_and_pasted_back_by_the_keyboard(opened):
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    output = opened.output(0)
    entry(opened, "d_coef").fill("0.5")
    opened.until_python(f"{OPTION.format('d_coef')} == 0.5")
    expect(row(opened, "d_coef")).to_contain_text("(changed)")
    output.get_by_role("button", name="Copy settings").click()
    expect(output.get_by_text("Copied", exact=True)).to_be_visible()
    assert opened.page.evaluate("navigator.clipboard.readText()") == opened.eval_python("form.json")
    row(opened, "d_coef").get_by_role("button", name="Reset").click()
    opened.until_python(f"{OPTION.format('d_coef')} == 1")
    output.get_by_role("button", name="Paste settings").focus()
    opened.page.keyboard.press("Enter")
    area = output.get_by_label("Settings as JSON, or as Settings(…)")
    expect(area).to_be_focused()
    opened.page.keyboard.press("ControlOrMeta+v")
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Enter")
    expect(area).to_be_hidden()
    expect(output.get_by_role("button", name="Paste settings", exact=True)).to_be_focused()
    expect(output.get_by_text("Pasted; Undo takes it back")).to_be_visible()
    expect(entry(opened, "d_coef")).to_have_value("0.5")
    output.get_by_role("button", name="Undo: paste settings").click()
    expect(entry(opened, "d_coef")).to_have_value("1")


def test_a_wrong_text_that_is_pasted_stays_and_is_explained_below_it(opened):
    output = opened.output(0)
    output.get_by_role("button", name="Paste settings").click()
    area = output.get_by_label("Settings as JSON, or as Settings(…)")
    text = '{"optimizer": "LION", "lr": "<img src=x onerror=hacked=1>", "options": {"beta1": 7, "<b>x</b>": 1}}'
    area.fill(text)
    output.get_by_role("button", name="Apply").click()
    alert = output.locator(".dwf-paste").get_by_role("alert")
    expect(alert.locator("li")).to_have_count(3)
    expect(alert).to_contain_text("beta1 = 7: must be from 0 to below 1.")
    expect(area).to_have_value(text)
    expect(area).to_have_attribute("aria-invalid", "true")
    assert output.locator(".dwf-paste :is(img, b)").count() == 0
    opened.page.keyboard.press("Escape")
    expect(area).to_be_hidden()
    assert opened.eval_python("form.settings.optimizer") == "PRODIGY"
    output.get_by_role("button", name="Paste settings").click()
    expect(area).to_have_value(text)
    area.fill("dw.Settings('LION', lr=1e-5)")
    output.get_by_role("button", name="Apply").click()
    opened.until_python("form.settings == type(form.settings)('LION', lr=1e-5)")
    expect(area).to_be_hidden()


def test_text_from_elsewhere_is_never_html(opened):
    entry(opened, "lr").fill("<img src=x onerror='window.hacked = 1'>")
    expect(row(opened, "lr").get_by_text("<img src=x").first).to_be_visible()
    assert opened.output(0).locator("img").count() == 0
    assert opened.page.evaluate("window.hacked") is None


def test_after_a_reload_the_form_is_as_it_was(opened):
    entry(opened, "d_coef").fill("nope")
    opened.until_python("list(form.errors) == ['d_coef']")
    opened.save()
    opened.reload()
    expect(entry(opened, "d_coef")).to_have_value("nope")
    expect(entry(opened, "d_coef")).to_have_attribute("aria-invalid", "true")
    entry(opened, "d_coef").fill("2")
    opened.until_python(f"{OPTION.format('d_coef')} == 2.0")


def test_another_kernel_opens_the_form_as_it_was_left(fresh_notebook):
    cell = (
        "from diffopt_widgets.widgets.form.form import Form\nfrom diffopt_widgets.widgets.form.form_file import FormFile\n"
        "form = Form(file=FormFile.of_user())\nform"
    )
    first = fresh_notebook([cell], height=1600)
    first.run_all()
    entry(first, "d_coef").fill("5e-1")
    first.output(0).get_by_label("Optimizer", exact=True).select_option("ADAM")
    entry(first, "beta1").fill("0,8")
    first.until_python("list(form.errors) == ['beta1']")
    second = fresh_notebook([cell], height=1600)
    second.run_all()
    expect(entry(second, "beta1")).to_have_value("0,8")
    expect(entry(second, "beta1")).to_have_attribute("aria-invalid", "true")
    second.output(0).get_by_label("Optimizer", exact=True).select_option("PRODIGY")
    expect(entry(second, "d_coef")).to_have_value("5e-1")


def test_interact_follows_what_is_typed(notebook):
    cell = "import ipywidgets, diffopt_widgets as dw\nform = dw.Form('PRODIGY')\nbox = ipywidgets.interact({}, settings=form)"
    nb = notebook([cell.format("lambda settings: f'rate {settings.lr} of {settings.optimizer}'")], height=1600)
    nb.run_all()
    said = nb.output(0).locator(".widget-output")
    expect(said).to_contain_text("rate 1.0 of PRODIGY")
    rate = nb.output(0).locator("[data-name=lr] input[type=text]")
    rate.fill("0.5")
    expect(said).to_contain_text("rate 0.5 of PRODIGY")
    rate.fill("fast")
    expect(rate).to_have_attribute("aria-invalid", "true")
    nb.output(0).get_by_label("Optimizer", exact=True).select_option("LION")
    expect(said).to_contain_text("rate 0.0001 of LION")


def test_two_views_and_code_show_the_same(notebook):
    found = notebook([CELL, "form", "form.settings = form.settings.replace(d_coef=0.7)"], height=1600)
    found.run_cell(0)
    found.run_cell(1)
    first, second = (found.output(i).locator("[data-name=d_coef] input[type=text]") for i in (0, 1))
    first.fill("0.3")
    expect(second).to_have_value("0.3")
    found.run_cell(2)
    expect(first).to_have_value("0.7")
    expect(second).to_have_value("0.7")


@pytest.mark.parametrize("width", [320, 480, 700])
def test_nothing_is_wider_than_the_form(notebook, width):
    cell = f"import ipywidgets\nfrom diffopt_widgets.widgets.form.form import Form\nForm('ADAFACTOR', layout=dict(width='{width}px'))"
    found = notebook([cell], app="notebook", height=1600)
    found.run_all()
    form = found.output(0).locator(".dwf")
    form.wait_for()
    form.locator("summary").last.click()
    for button in form.get_by_role("button", name="Explain").all():
        button.click()
    inside = form.evaluate(
        """form => [...form.querySelectorAll('*')].filter(node => {
             if (node.classList.contains('dwf-sr')) return false;
             const box = node.getBoundingClientRect();
             return box.width && box.right > form.getBoundingClientRect().right + 1;
           }).map(node => node.className || node.tagName)"""
    )
    assert inside == []


@pytest.mark.parametrize("order", [("panel", "state"), ("state", "panel")])
def test_panel_and_state_may_come_in_either_order(opened, order):
    """ipywidgets sends what changed together as a set, whose order differs from kernel to kernel."""
    parts = ", ".join(f"{name!r}: other.{name}" for name in order)
    update = f"{{'method': 'update', 'state': {{{parts}}}, 'buffer_paths': []}}"
    opened.eval_python(f"[form.comm.send({update}) for other in [type(form)('ADAGRAD')]] and 1")
    expect(row(opened, "initial_accumulator_value")).to_be_attached()
    expect(entry(opened, "lr")).to_have_value("0.01")
    expect(entry(opened, "min_8bit_size")).to_have_value("4096")


def test_an_optimizer_outside_the_catalogue_has_a_form_that_says_so(notebook):
    cell = (
        "import torch, diffopt_widgets as dw\n"
        "class Unknown(torch.optim.NAdam):\n    __doc__ = torch.optim.NAdam.__doc__\n"
        "form = dw.Form(dw.Settings(dw.spec_of(Unknown)))\nform"
    )
    found = notebook([cell], height=1600)
    found.run_all()
    output = found.output(0)
    output.locator(".dwf").wait_for()
    chosen = output.get_by_label("Optimizer", exact=True)
    expect(chosen.locator("option:checked")).to_have_text("Unknown")
    expect(chosen.locator("optgroup[label='Not catalogued'] option")).to_have_text(["Unknown"])
    expect(output.get_by_text("Not catalogued: everything here is read from its signature")).to_be_visible()
    expect(output.locator(".dwf-formula")).to_be_hidden()
    button = row(found, "weight_decay").get_by_role("button", name="Explain Weight decay")
    button.focus()
    found.page.keyboard.press("Enter")
    expect(row(found, "weight_decay").get_by_text("its docstring says “weight decay (L2 penalty)")).to_be_visible()
    expect(row(found, "weight_decay").get_by_text("not catalogued: whether it changes the run")).to_be_visible()
    entry(found, "weight_decay").fill("0.01")
    found.until_python("form.settings == dw.Settings('__main__:Unknown', weight_decay=0.01)")
    finder(found).fill("momentum_decay")
    expect(hits(found).first).to_contain_text("Unknown")
    chosen.select_option("ADAMW")
    expect(output.locator(".dwf-formula")).to_be_visible()
    chosen.select_option("__main__:Unknown")
    expect(entry(found, "weight_decay")).to_have_value("0.01")


def test_a_mark_says_that_an_option_is_inert_and_its_tip_what_was_seen(notebook):
    opened = notebook(["from diffopt_widgets.widgets.form.form import Form\nform = Form('LAMB')\nform"], height=2000)
    opened.run_all()
    form = opened.output(0)
    form.get_by_text("All other options").click()
    expect(row(opened, "adam_w_mode").locator(".dwf-mark")).to_have_text("inert")
    expect(row(opened, "beta1").locator(".dwf-mark")).to_have_count(0)
    row(opened, "adam_w_mode").locator(".dwf-label").hover()
    expect(form.get_by_role("tooltip")).to_contain_text("Tried: on → off: the same to the bit after 40 steps")
    row(opened, "beta1").get_by_role("button", name="Explain").click()
    expect(row(opened, "beta1").locator(".dwf-help")).to_contain_text("0.9 → 0.45: the weights first differ at step 1")
    row(opened, "beta1").get_by_role("button", name="Explain").click()
    form.get_by_label("Optimizer", exact=True).select_option("ADAM_8BIT")
    expect(row(opened, "is_paged").locator(".dwf-mark")).to_have_text("not tried")
    row(opened, "is_paged").locator(".dwf-label").hover()
    expect(form.get_by_role("tooltip")).to_contain_text("Tried: not yet: it needs an NVIDIA GPU.")
