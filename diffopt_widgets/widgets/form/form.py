"""The form: every option of an optimizer, explained, as one widget."""

from __future__ import annotations

import logging
import pathlib
from dataclasses import replace
from typing import Any

import traitlets
from ipywidgets import ValueWidget

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.interop.code import to_python
from diffopt_widgets.optimizers.backends import Trouble, troubles
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.settings.arguments import check_text
from diffopt_widgets.settings.plan import check_run
from diffopt_widgets.widgets.form import panel as page
from diffopt_widgets.widgets.form.changes import Change, loaded, requested, typed
from diffopt_widgets.widgets.form.draft import START, Draft
from diffopt_widgets.widgets.form.exchange import pasted_note, read_settings, write_settings
from diffopt_widgets.widgets.form.form_file import FormFile
from diffopt_widgets.widgets.form.messages import BadMessageError, Message, message_of, sender_of, text_in
from diffopt_widgets.widgets.form.schedule import schedule_svg
from diffopt_widgets.widgets.form.search import index_message
from diffopt_widgets.widgets.form.settings_trait import SettingsTrait
from diffopt_widgets.widgets.form.slider import linked_slider
from diffopt_widgets.widgets.form.still import settings_still
from diffopt_widgets.widgets.page.folders import without_folders
from diffopt_widgets.widgets.page.stand_in import Still, StillWidget

UNDO_STEPS = 100

log = logging.getLogger(__name__)


@printed_readably
class Form(StillWidget, ValueWidget):  # type: ignore[misc]  # ipywidgets is not typed
    """A panel with the options of an optimizer, to read, change and learn from.

    `settings` is an ordinary trait: observe it, link it, set it. It always holds valid settings: while a text is wrong it
    keeps the last valid value, and `errors` has the message, by the name of the control. `value` is the same settings under
    the name that ipywidgets' `interact` looks for. `run` has the options of the run that these settings are for: the picture
    of the schedule, the code and the refused values follow them.

    Args:
        settings: settings to show at first; the name of an optimizer shows its defaults. An optimizer that is not in the
            catalogue (`Settings(spec_of(torch.optim.RAdam))`) joins the menu.
        steps: length of the run, for the picture of the schedule.
        file: file that keeps the typed texts. Without settings the form opens as it was last; with settings it shows
            them, and remembers the rest. Without a file nothing is read or written.
        layout: an ipywidgets Layout.

    Raises:
        SettingsError: there is no such optimizer.

    >>> form = Form(Settings("PRODIGY", schedule="COSINE"))
    >>> form.settings = form.settings.replace(d_coef=0.5)
    >>> form.type("beta1", "2")
    >>> form.settings, list(form.errors)
    (Settings('PRODIGY', lr=1.0, schedule='COSINE', d_coef=0.5), ['beta1'])
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = (
        *("page/dom.js", "page/text.js", "page/tip.js"),
        *("outbox.js", "search.js", "exchange.js", "finder.js", "menu.js", "presets.js", "help.js", "row.js"),
        *("handover.js", "sums.js", "form.js"),
    )
    STYLES = ("page/theme.css", "form.css", "aids.css")

    description = "settings"
    """What `interact` of ipywidgets 7 asks for, and would set if it were empty."""

    settings = SettingsTrait(help="The settings in the form; the last valid values while something is wrong.")
    value = SettingsTrait(help="The same as `settings`, for `interact` and for links to other widgets.")
    errors = traitlets.Dict(
        read_only=True, help="Error messages by the name of the control; empty when nothing is wrong."
    )
    run = traitlets.Instance(
        RunOptions, args=(), help="The run that the settings are for. A batch size of None is 1 in the code."
    )
    notice = traitlets.Unicode(help="A message shown above the form, about a failure elsewhere.").tag(sync=True)

    aside = traitlets.Dict(
        read_only=True, help="What other settings are in use, and what its button does; empty when these are."
    ).tag(sync=True)

    menu: traitlets.List[Any] = traitlets.List(read_only=True).tag(sync=True)
    panel = traitlets.Dict(read_only=True).tag(sync=True)
    state = traitlets.Dict(read_only=True).tag(sync=True)
    preview = traitlets.Unicode(read_only=True).tag(sync=True)
    code = traitlets.Unicode(read_only=True).tag(sync=True)
    json = traitlets.Unicode(read_only=True).tag(sync=True)
    told = traitlets.Int(help="Changes of `json` that the page has told to marimo.").tag(sync=True)

    def __init__(
        self,
        settings: Settings | str | None = None,
        *,
        steps: int = RunOptions.steps,
        file: FormFile | None = None,
        layout: Any = None,
    ) -> None:
        self._form_file = file
        self._draft = _opening(settings, file)
        self._past: list[tuple[Draft, Change]] = []  # each draft with the change that replaced it
        self._seen: list[Any] = []
        self._pasted: list[Any] = []
        self._offered: Settings | None = None
        self._missing = _cannot_run()
        self.run = RunOptions(steps=steps)
        self._publish()  # before the widget opens: its first message then holds everything
        super().__init__(**({} if layout is None else {"layout": layout}))
        self.on_msg(self._receive)
        self.observe(lambda _: self.renew_still(), ["settings", "errors"])

    def __repr__(self) -> str:
        wrong = f", {len(self.errors)} wrong" if self.errors else ""
        return f"Form({self.settings!r}{wrong})"

    def still(self) -> Still:
        """Return the settings as a table, for pages without widgets."""
        return settings_still(self.settings, len(self.errors))

    @property
    def draft(self) -> Draft:
        """Texts in the controls, with their values and errors."""
        return self._draft

    @property
    def trouble(self) -> Trouble | None:
        """Reason why the shown optimizer cannot run here; None when no reason is known.

        The form checks what is installed when it opens, and again at each choice while something is missing.
        """
        return dict(self._missing).get(self._draft.optimizer)

    def type(self, name: str, text: str) -> None:
        """Type a text into a control, as a person would.

        Raises:
            KeyError: the optimizer has no such control.
        """
        check_text("text", text, 'Write a value as a text, such as "1e-4".')
        self._change(typed(self._draft, name, text))

    def choose(self, optimizer: str) -> None:
        """Switch to another optimizer and the texts last typed for it.

        Raises:
            KeyError: there is no such optimizer.
        """
        if self._missing:
            self._missing = _cannot_run()
        self._change(Change(self._draft.choose(optimizer), f"switch to {optimizer}", "choose"))

    def load(self, preset: str) -> None:
        """Load a preset of this optimizer.

        Raises:
            KeyError: there is no such preset.
        """
        check_text("preset", preset, 'Write the key of one, such as "recommended".')
        self._change(loaded(self._draft, preset))

    def undo(self) -> None:
        """Undo the last change; nothing happens when there is none."""
        if self._past:
            self._show(self._past.pop()[0])

    def paste(self, text: str) -> None:
        """Show the settings that a text holds: JSON as in `json`, or the repr of Settings.

        Raises:
            SettingsError: with everything that is wrong with the text; the form then stays as it is.
        """
        check_text("text", text, "Write the text that Settings.to_json() returned.")
        self._show_pasted(read_settings(text), pasted_note(text))

    def set_aside(self, words: str, offered: Settings | None = None, about: str = "", *, in_use: bool = False) -> None:
        """Say that other settings are in use, and mark those of the form as not in use; an empty text ends that.

        Args:
            words: why.
            offered: the settings that are in use; a button puts them into the form, as `take_offered` does.
            about: what that button does, in a sentence.
            in_use: the settings of the form are in use too, and not marked.
        """
        self._offered = offered
        button = about if offered is not None and offered != self.settings else ""
        self.set_trait("aside", {"words": words, "button": button, "unused": not in_use} if words else {})

    def take_offered(self) -> None:
        """Show the settings that are in use instead of those of the form; `undo` brings these back."""
        if self._offered is not None:
            self._change(Change(self._draft.show(self._offered), "take settings", f"take:{self._offered!r}"))

    def slider(self, name: str) -> Any:  # an ipywidgets widget; its class depends on the option
        """Make a plain ipywidgets control for one option, linked both ways.

        Raises:
            KeyError: the optimizer has no such control.
        """
        return linked_slider(self, name)

    def _change(self, change: Change) -> None:
        if not self._past or self._past[-1][1].place != change.place:
            self._past = [*self._past[1 - UNDO_STEPS :], (self._draft, change)]
        self._show(change.draft)

    def _show(self, draft: Draft) -> None:
        before, self._draft = self._draft, self._planned(draft)
        try:
            self._publish()
        finally:  # the page need not wait for the disk; an observer may have changed the draft meanwhile
            if self._form_file:
                self._form_file.keep(before, self._draft)

    def _publish(self) -> None:
        """Bring every trait up to date with the draft: one message to the page, then the observers."""
        draft = self._draft
        with self.hold_sync():
            self.set_trait("menu", page.menu(draft.uncatalogued, self._missing))
            self.set_trait("panel", page.panel(draft.optimizer))
            self.set_trait("state", self._state())
            self._write_run()
        with self.hold_trait_notifications():
            self.set_trait("errors", draft.errors)
            self.settings = self.value = draft.last_good

    def _state(self) -> dict[str, Any]:
        undo = self._past[-1][1].done if self._past else ""
        return {**page.state(self._draft), "undo": undo, "seen": self._seen, "pasted": self._pasted}

    @traitlets.observe("settings", "value")
    def _set_from_outside(self, change: Any) -> None:
        if change["new"] != self._draft.last_good:
            self._change(Change(self._draft.show(change["new"]), "set from code", f"settings:{change['new']!r}"))

    @traitlets.validate("run")
    def _check_run(self, proposal: Any) -> RunOptions:
        run: RunOptions = proposal["value"]
        if faults := check_run(run)[1]:
            raise traitlets.TraitError("\n".join(map(str, faults)))
        return run

    @traitlets.observe("run")
    def _plan(self, _: object) -> None:
        self._draft = self._planned(self._draft)
        self._publish()

    def _planned(self, draft: Draft) -> Draft:
        """Return the draft with the options of the planned run."""
        return replace(draft, run=self.run)

    def _write_run(self) -> None:
        """Bring the traits up to date that depend on the run and the settings."""
        good, run = self._draft.last_good, self.run
        batch = {"batch_size": run.batch_size or 1, "accumulation": run.accumulation}
        self.set_trait("code", to_python(good, steps=run.steps, **batch, dtype=run.dtype))
        self.set_trait("json", write_settings(good))
        self.set_trait("preview", schedule_svg(good, run.steps))

    def _receive(self, _: object, content: object, __: object) -> None:
        """Do what the page asks. Nobody would see an exception raised here, so the form shows it."""
        try:
            self._obey(content)
        except (BadMessageError, KeyError, SettingsError) as error:
            self._report(f"The page and the kernel disagree: {error}. Run the cell again to draw a new form.")
        except Exception as error:  # an observer of the user's may raise anything
            log.exception("a change in the form failed")
            self._report(
                f"The change was made, but code that observes the form failed: {type(error).__name__}: {error}"
            )

    def _report(self, message: str) -> None:
        log.warning("%s", message)
        self.notice = without_folders(message)
        self.set_trait("state", self._state())

    def _obey(self, content: object) -> None:
        message = message_of(content)
        self._seen = sender_of(message)
        match message.get("k"):
            case "choose":
                self.choose(text_in(message, "optimizer"))
            case "paste":
                self._paste_from_page(message)
            case "index":
                self.send({"k": "index", "options": index_message(self._draft.uncatalogued)})
            case "undo":
                self.undo()
            case "take":
                self.take_offered()
            case "dismiss":
                self.notice = ""
            case _:
                self._change(requested(message, self._draft))

    def _paste_from_page(self, message: Message) -> None:
        """Show pasted settings, or answer with the faults of the text; the answer names the page and the message."""
        text = text_in(message, "text")
        try:
            settings = read_settings(text)
        except SettingsError as error:
            self._pasted = [*self._seen, [str(fault) for fault in error.faults]]
            self.set_trait("state", self._state())
        else:
            self._pasted = [*self._seen, []]
            self._show_pasted(settings, pasted_note(text))

    def _show_pasted(self, settings: Settings, note: str) -> None:
        if note:
            self.notice = f"{note}."
        self._change(Change(self._draft.show(settings), "paste settings", f"paste:{settings!r}"))


def _cannot_run() -> tuple[tuple[str, Trouble], ...]:
    """Return the optimizers of the catalogue that cannot run here, with the reason."""
    return tuple(troubles(map(spec, list_optimizers())).items())


def _opening(settings: Settings | str | None, file: FormFile | None) -> Draft:
    """Return the draft that the form shows at first."""
    remembered = file.recall() if file else None
    if settings is None:
        return remembered or Draft.begin(START)
    fresh = Draft.begin(settings)
    return remembered.show(fresh.last_good) if remembered else fresh
