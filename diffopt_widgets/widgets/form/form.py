"""The form: every option of an optimizer, explained, as one widget."""

from __future__ import annotations

import logging
import pathlib
from dataclasses import replace
from typing import Any

import traitlets

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.interop.code import to_python
from diffopt_widgets.optimizers.backends import Trouble, troubles
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.settings.plan import check_run
from diffopt_widgets.widgets.form import panel as page
from diffopt_widgets.widgets.form.changes import Change, asked, loaded, typed
from diffopt_widgets.widgets.form.draft import START, Draft
from diffopt_widgets.widgets.form.exchange import read_settings, write_settings
from diffopt_widgets.widgets.form.messages import BadMessageError, Message, message_of, sender_of, text_in
from diffopt_widgets.widgets.form.remembered import Memory
from diffopt_widgets.widgets.form.schedule import schedule_svg
from diffopt_widgets.widgets.form.search import index_message
from diffopt_widgets.widgets.form.slider import linked_slider
from diffopt_widgets.widgets.page.page_widget import PageWidget

UNDO_STEPS = 100

log = logging.getLogger(__name__)


class Form(PageWidget):
    """The options of an optimizer as a panel to look at, change and learn from.

    `settings` is an ordinary trait: observe it, link it, set it. It always holds valid settings: while a text is wrong it
    keeps the last right value, and `errors` says what is wrong, by the name of the control. `run` has the options of the run
    that these settings are for: the picture of the schedule, the code and what is refused follow them.

    Args:
        settings: what to show at first; the name of an optimizer shows its defaults. One that is not in the catalogue
            (`Settings(spec_of(torch.optim.RAdam))`) joins the menu.
        steps: length of the run, for the picture of the schedule.
        memory: where to keep what is typed. Without settings the form opens as it was last; with settings these are
            shown, and the rest is remembered. Without a memory nothing is read or written.
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

    settings = traitlets.Instance(Settings, help="What the form says; the last right values while something is wrong.")
    errors = traitlets.Dict(read_only=True, help="What is wrong, by the name of the control; empty when all is right.")
    run = traitlets.Instance(
        RunOptions, args=(), help="The run that the settings are for. A batch size of None is 1 in the code."
    )
    notice = traitlets.Unicode(help="Something that went wrong elsewhere, shown above the form.").tag(sync=True)

    menu: traitlets.List[Any] = traitlets.List(read_only=True).tag(sync=True)
    panel = traitlets.Dict(read_only=True).tag(sync=True)
    state = traitlets.Dict(read_only=True).tag(sync=True)
    preview = traitlets.Unicode(read_only=True).tag(sync=True)
    code = traitlets.Unicode(read_only=True).tag(sync=True)
    json = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(
        self,
        settings: Settings | str | None = None,
        *,
        steps: int = RunOptions.steps,
        memory: Memory | None = None,
        layout: Any = None,
    ) -> None:
        self._memory = memory
        self._draft = _opening(settings, memory)
        self._past: list[tuple[Draft, Change]] = []  # what was shown, and the change made then
        self._seen: list[Any] = []
        self._pasted: list[Any] = []
        self._missing = _cannot_run()
        self.run = RunOptions(steps=steps)
        self._publish()  # before the widget opens, so that its first message holds everything
        super().__init__(**({} if layout is None else {"layout": layout}))
        self.on_msg(self._receive)

    @property
    def draft(self) -> Draft:
        """What is typed in the controls."""
        return self._draft

    @property
    def trouble(self) -> Trouble | None:
        """Why the optimizer that is shown cannot run here; None when nothing is known that would keep it from it.

        What is installed is looked at when the form opens, and again at a choice as long as something is missing.
        """
        return dict(self._missing).get(self._draft.optimizer)

    def type(self, name: str, text: str) -> None:
        """Type a text into a control, as a person would.

        Raises:
            KeyError: the optimizer has no such control.
        """
        self._change(typed(self._draft, name, text))

    def choose(self, optimizer: str) -> None:
        """Switch to another optimizer and what was last typed for it.

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
        self._change(loaded(self._draft, preset))

    def undo(self) -> None:
        """Take the last change back; nothing happens when there is none."""
        if self._past:
            self._show(self._past.pop()[0])

    def paste(self, text: str) -> None:
        """Show the settings that a text holds: JSON as in `json`, or the repr of Settings.

        Raises:
            SettingsError: with everything that is wrong with the text; nothing is changed then.
        """
        self._show_pasted(read_settings(text))

    def slider(self, name: str) -> Any:  # an ipywidgets widget; which one depends on the option
        """A plain ipywidgets control for one option, linked both ways.

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
        finally:  # after it: the page need not wait for the disk; an observer may have changed the draft meanwhile
            if self._memory:
                self._memory.keep(before, self._draft)

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
            self.settings = draft.last_good

    def _state(self) -> dict[str, Any]:
        undo = self._past[-1][1].done if self._past else ""
        return {**page.state(self._draft), "undo": undo, "seen": self._seen, "pasted": self._pasted}

    @traitlets.observe("settings")
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
        """The draft, told of the run that is planned."""
        return replace(draft, run=self.run)

    def _write_run(self) -> None:
        """Bring up to date what depends on the run beside the settings."""
        good, run = self._draft.last_good, self.run
        batch = {"batch_size": run.batch_size or 1, "accumulation": run.accumulation}
        self.set_trait("code", to_python(good, steps=run.steps, **batch, dtype=run.dtype))
        self.set_trait("json", write_settings(good))
        self.set_trait("preview", schedule_svg(good, run.steps))

    def _receive(self, _: object, content: object, __: object) -> None:
        """Do what the page asks. Nothing raised here would be seen by anyone, so it is shown in the form."""
        try:
            self._obey(content)
        except (BadMessageError, KeyError, SettingsError) as error:
            self._say(f"The page and the kernel disagree: {error}. Run the cell again to draw the form anew.")
        except Exception as error:  # an observer of somebody else's
            log.exception("a change in the form failed")
            self._say(f"The change is made, but something that follows it failed: {type(error).__name__}: {error}")

    def _say(self, words: str) -> None:
        log.warning("%s", words)
        self.notice = words
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
            case "dismiss":
                self.notice = ""
            case _:
                self._change(asked(message, self._draft))

    def _paste_from_page(self, message: Message) -> None:
        """What is wrong with the text is shown where it stands, so the answer says whose it is."""
        text = text_in(message, "text")
        try:
            settings = read_settings(text)
        except SettingsError as error:
            self._pasted = [*self._seen, [str(fault) for fault in error.faults]]
            self.set_trait("state", self._state())
        else:
            self._pasted = [*self._seen, []]
            self._show_pasted(settings)

    def _show_pasted(self, settings: Settings) -> None:
        self._change(Change(self._draft.show(settings), "paste settings", f"paste:{settings!r}"))


def _cannot_run() -> tuple[tuple[str, Trouble], ...]:
    """The optimizers of the catalogue that cannot run here, with the reason."""
    return tuple(troubles(map(spec, list_optimizers())).items())


def _opening(settings: Settings | str | None, memory: Memory | None) -> Draft:
    """What the form shows at first."""
    remembered = memory.recall() if memory else None
    if settings is None:
        return remembered or Draft.begin(START)
    begun = Draft.begin(settings)
    return remembered.show(begun.last_good) if remembered else begun
