"""A button clicked in a real page is seen in Python: what every other browser test relies on."""

import pytest

ANYWIDGET = """
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    _esm = '''
    function render({ model, el }) {
      const button = document.createElement("button");
      const show = () => { button.textContent = `clicked ${model.get("clicks")}`; };
      button.addEventListener("click", () => { model.set("clicks", model.get("clicks") + 1); model.save_changes(); });
      model.on("change:clicks", show);
      show();
      el.append(button);
    }
    export default { render };
    '''
    clicks = traitlets.Int(0).tag(sync=True)

counter = Counter()
counter
"""


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_click_reaches_python(notebook, app):
    opened = notebook([ANYWIDGET], app=app)
    opened.run_all()
    opened.page.get_by_role("button", name="clicked 0").click()
    opened.until_python("counter.clicks == 1")
    opened.page.get_by_role("button", name="clicked 1").wait_for()
    opened.screenshot(f"harness-{app}")


def test_a_change_in_python_reaches_the_page(notebook):
    opened = notebook(["import ipywidgets\nslider = ipywidgets.IntSlider(3)\nslider", "slider.value = 7"], theme="dark")
    opened.run_cell(0)
    assert "3" in opened.output_text(0)
    opened.run_cell(1)
    opened.output(0).get_by_text("7", exact=True).wait_for()


def test_python_answers_while_a_cell_is_saved_and_reloaded(notebook):
    opened = notebook(["kept = [1.5, float('inf')]\nprint('here')"])
    opened.run_all()
    assert opened.output_text(0).strip() == "here"
    assert opened.save().cells[0].outputs[0].text == "here\n"
    opened.reload()
    assert opened.eval_python("kept") == [1.5, float("inf")]


def test_an_error_in_a_cell_is_not_passed_over(notebook):
    opened = notebook(["1 / 0"])
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        opened.run_all()


def test_an_error_in_a_widget_is_kept(notebook):
    opened = notebook([ANYWIDGET.replace("show();\n      el", "nowhere();\n      el")])
    opened.run_all()
    opened.page.wait_for_function("() => document.body.innerText.includes('nowhere')")
    assert any("nowhere is not defined" in error for error in opened.page_errors)
    opened.page_errors.clear()
