"""Plain ipywidgets control for one option of a form, for lessons."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import parse_value
from diffopt_widgets.widgets.form.parsed import text_of
from diffopt_widgets.widgets.page.event_loop import on_loop_in_turn, running_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffopt_widgets.catalogue.values import Value
    from diffopt_widgets.widgets.form.draft import Draft


class OptionForm(Protocol):
    """Form to which a control is linked."""

    @property
    def draft(self) -> Draft:
        """Typed texts, with their values and errors."""

    def type(self, name: str, text: str) -> None:
        """Type a text into the control of an option."""

    def observe(self, handler: Callable[[object], None], names: str) -> None:
        """Call a handler when a trait changes."""


def linked_slider(form: OptionForm, name: str) -> Any:
    """Make a control for one option of a form: a slider, a check box, a menu or a line of text.

    The control and the form follow each other. The control is greyed while the form shows an optimizer without this option.

    Raises:
        KeyError: the form's optimizer has no such option.
    """
    option = form.draft.use(name).option
    control = _control(option, form.draft.values[name])
    tooltip = "tooltip" if control.has_trait("tooltip") else "description_tooltip"  # ipywidgets 8, 7
    setattr(control, tooltip, option.help)

    def follow_form(_: object = None) -> None:
        control.disabled = name not in form.draft.texts
        if not control.disabled:
            control.value = _shown(control, form.draft.values[name])

    def follow_control(change: Any) -> None:
        if not control.disabled and change["new"] != _shown(control, form.draft.values[name]):
            form.type(name, text_of(change["new"]))

    cells = running_loop()  # newer kernels handle the messages of plain widgets beside it
    control.observe(lambda change: on_loop_in_turn(cells, follow_control, change), "value")
    form.observe(follow_form, "settings")
    return control


def _control(option: Option, value: Value) -> Any:
    label = {"description": option.title, "style": {"description_width": "initial"}}
    if option.choices or (option.kind == "bool" and option.nullable):
        listed: list[Value] = [parse_value(option.kind, choice) for choice in option.choices] or [True, False]
        pairs = [(text_of(choice), choice) for choice in listed]
        empty: list[tuple[str, Value]] = [(option.null_words or "empty", None)] if option.nullable else []
        return ipywidgets.Dropdown(options=[*empty, *pairs], value=value, **label)
    if option.kind == "bool":
        return ipywidgets.Checkbox(value=bool(value), indent=False, **label)
    if option.kind == "text":
        return ipywidgets.Text(value=text_of(value), placeholder=option.null_words, continuous_update=False, **label)
    return _number(option, value, label)


def _number(option: Option, value: Value, label: dict[str, Any]) -> Any:
    number = value if isinstance(value, int | float) and math.isfinite(value) else None
    if option.soft is None:
        kind = ipywidgets.IntText if option.kind == "int" else ipywidgets.FloatText
        return kind(value=0 if number is None else number, **label)
    low, high = option.soft
    if option.kind == "int":
        low, high = math.floor(low), math.ceil(high)
        return ipywidgets.IntSlider(value=_between(number, low, high), min=low, max=high, **label)
    if option.log and low > 0:
        ends = {"min": math.log10(low), "max": math.log10(high), "step": 0.01}
        return ipywidgets.FloatLogSlider(
            value=_between(number, low, high), base=10, readout_format=".3g", **ends, **label
        )
    step = (high - low) / 200
    return ipywidgets.FloatSlider(
        value=_between(number, low, high), min=low, max=high, step=step, readout_format=".3g", **label
    )


def _shown(control: Any, value: Value) -> Value:
    """Return the value that the control shows for a value: the nearest one that it can show."""
    if isinstance(control, ipywidgets.Dropdown | ipywidgets.Checkbox):
        return value
    if isinstance(control, ipywidgets.Text):
        return text_of(value)
    number = value if isinstance(value, int | float) else None
    if isinstance(control, ipywidgets.FloatLogSlider):
        return _between(number, control.base**control.min, control.base**control.max)
    if isinstance(control, ipywidgets.FloatSlider | ipywidgets.IntSlider):
        return _between(number, control.min, control.max)
    return control.value if number is None or math.isinf(number) else number


def _between(number: float | None, low: float, high: float) -> float:
    return low if number is None else min(max(number, low), high)
