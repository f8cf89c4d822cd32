"""StateSize: the size of an optimizer's state for a model that people train, and a chart of all optimizers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import pathlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import traitlets

from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.catalogue.precision import PRECISIONS
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.state_size.models import LAYERS, MODELS, Choice
from diffopt_widgets.state_size.words import bytes_words, state_details, state_sentence
from diffopt_widgets.widgets.page.event_loop import running_loop
from diffopt_widgets.widgets.page.html import paragraph
from diffopt_widgets.widgets.page.stand_in import Still, StillWidget

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

PAUSE_SECONDS = 0.5
"""Time without a change before a size is counted, so that nothing is counted while somebody types."""
OPENING_SECONDS = 2.0
"""Time before the first count in a kernel: the bench is opening then, and the modules for counting are slow to import."""
MOST_OPERATIONS = 15_000
"""Limit of one count, which blocks the event loop: twice what any optimizer of the catalogue needs for any of the models."""
LARGEST_RANK = 1024

log = logging.getLogger(__name__)


@printed_readably
class StateSize(StillWidget):
    """Line such as "PRODIGY: 1.3 GB of state for an SDXL LoRA of rank 64"; on demand a bar for each optimizer.

    Sizes are counted on the event loop, one optimizer at a time, after a pause, and remembered. Without an event loop, as
    in a plain script, call `count`.

    Args:
        settings: the optimizer with its options.
        loop: the event loop to count on; by default the running one.
        layout: an ipywidgets Layout.

    >>> size = StateSize(Settings("ADAMW"))
    >>> size.count()
    >>> size.shown["sentence"]
    'ADAMW: 743 MB of state for an SDXL LoRA of rank 64'
    >>> size.choose(rank=None)
    >>> size.count()
    >>> size.shown["sentence"]
    "ADAMW: 21 GB of state for a full fine-tune of SDXL's UNet"
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = ("page/dom.js", "state_size.js")
    STYLES = ("page/theme.css", "state_size.css")

    settings = traitlets.Instance(Settings, help="The optimizer with its options.")
    menus = traitlets.Dict(read_only=True, help="The choices of each menu, with their titles.").tag(sync=True)
    chosen = traitlets.Dict(read_only=True, help="The chosen training: model, rank, layers, dtype.").tag(sync=True)
    shown = traitlets.Dict(
        read_only=True, help="The sentence, its details, and pending: True while it is being counted again."
    ).tag(sync=True)
    wrong = traitlets.Unicode(read_only=True, help="The error in the rank that was typed last.").tag(sync=True)
    comparing = traitlets.Bool(read_only=True, help="True while all optimizers are shown.").tag(sync=True)
    bars: traitlets.List[Any] = traitlets.List(
        read_only=True, help="A dict for each optimizer: key, words, share of the largest; the smallest first."
    ).tag(sync=True)

    def __init__(
        self,
        settings: Settings,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        layout: Any = None,  # an ipywidgets Layout, or a dict for one
    ) -> None:
        self._choice = Choice()
        self._known: dict[Hashable, int | str] = {}
        self._loop = loop or running_loop()
        self._task: asyncio.Task[None] | None = None
        self.set_trait("menus", _menus())
        self.set_trait("chosen", _plain(self._choice))
        super().__init__(settings=settings, **({} if layout is None else {"layout": layout}))
        self._refresh()
        self.on_msg(self._receive)
        self.observe(lambda _: self.renew_still(), ["shown"])

    def open(self) -> None:
        """Open the model in the page, and go on with a count that `close` has ended."""
        self._ended = False
        super().open()
        if self.shown.get("pending"):
            self._begin()

    def close(self) -> None:
        """Close the model in the page, and end the count that is in progress."""
        self._ended = True
        super().close()
        if self._task is not None and not self._task.done() and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def __repr__(self) -> str:
        return f"StateSize({self.shown['sentence'] or self.settings.optimizer})"

    def still(self) -> Still:
        """Return the sentence, for pages without widgets."""
        sentence = self.shown["sentence"] or "The state of this optimizer was not counted."
        return Still(paragraph(sentence, ""), sentence)

    @property
    def choice(self) -> Choice:
        """Model and how it is trained."""
        return self._choice

    def choose(self, **changes: Any) -> None:
        """Change the training: `model`, `rank` (None for a full fine-tune), `layers` or `dtype`.

        Raises:
            ValueError: there is no such choice; the last one stays.
        """
        choice = replace(self._choice, **changes)
        menus = _menus()
        for name in ("model", "layers", "dtype"):
            if getattr(choice, name) not in menus[name]:
                raise ValueError(
                    f"there is no {name} {getattr(choice, name)!r}; choose one of {', '.join(menus[name])}"
                )
        rank = choice.rank
        if rank is not None and (type(rank) is not int or not 1 <= rank <= LARGEST_RANK):
            raise ValueError(f"The rank must be a whole number from 1 to {LARGEST_RANK}")
        self._choice = choice
        with self.hold_sync():
            self.set_trait("chosen", _plain(choice))
            self.set_trait("wrong", "")
            self._refresh()

    def compare(self, *, on: bool = True) -> None:
        """Show a bar for each optimizer, or hide the bars."""
        with self.hold_sync():
            self.set_trait("comparing", on)
            self._refresh()

    def count(self) -> None:
        """Count the missing sizes now; it takes a fraction of a second for each optimizer."""
        for settings in self._all_settings():
            self._find(settings)
        self._refresh()

    @traitlets.observe("settings")
    def _settings_changed(self, _: object) -> None:
        if self.shown:  # else it is being made
            self._refresh()

    def _all_settings(self) -> list[Settings]:
        """Return the settings to count: those of the form, and in a comparison the defaults of all other optimizers."""
        others = [key for key in list_optimizers() if key != self.settings.optimizer] if self.comparing else []
        return [self.settings, *map(Settings, others)]

    def _refresh(self) -> None:
        """Show the known sizes, and begin to count the others."""
        self._show()
        if any(self._key(settings) not in self._known for settings in self._all_settings()):
            self._begin()

    def _show(self) -> None:
        """Show the known sizes; an outdated sentence stays, with its optimizer's name, until there is another."""
        all_settings = self._all_settings()
        sizes = [self._known.get(self._key(settings)) for settings in all_settings]
        own = sizes[0]
        with self.hold_sync():
            if own is None:
                self.set_trait("shown", {"sentence": "", "details": "", **self.shown, "pending": True})
            else:
                sentence = state_sentence(self.settings.optimizer, self._choice, own)
                details = state_details(self.settings, self._choice, own)
                self.set_trait("shown", {"sentence": sentence, "details": details, "pending": False})
            self.set_trait("bars", _bars(all_settings, sizes) if self.comparing else [])

    def _begin(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._restart)

    def _restart(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._loop is not None and not self._ended:
            self._task = self._loop.create_task(self._work(self._loop))

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        await asyncio.sleep(PAUSE_SECONDS if self._known else OPENING_SECONDS)
        for settings in self._all_settings():
            if self._key(settings) in self._known:
                continue
            # The first import in a kernel takes seconds, during which the bench must answer.
            await loop.run_in_executor(None, _load, settings)
            self._find(settings)
            self._show()
            await asyncio.sleep(0)

    def _find(self, settings: Settings) -> None:
        from diffopt_widgets.optimizers.factory import MissingBackend
        from diffopt_widgets.state_size.count import tensors_memory

        key = self._key(settings)
        if key in self._known:
            return
        try:
            self._known[key] = tensors_memory(
                settings, self._choice.tensors(), self._choice.dtype, most=MOST_OPERATIONS
            )
        except (MissingBackend, SettingsError) as error:
            self._known[key] = str(error)
        except Exception as error:  # a back end may raise anything; the chart goes on without it
            log.exception("the state of %s could not be counted", settings.optimizer)
            self._known[key] = f"its state could not be counted ({type(error).__name__}: {error})"

    def _key(self, settings: Settings) -> Hashable:
        """Return the values that the size depends on; the learning rate and the schedule are not among them."""
        return settings.optimizer, tuple(settings.options.items()), self._choice

    def _receive(self, _: object, content: object, __: object) -> None:
        """Do what the page asks, and show errors there."""
        if not isinstance(content, dict):
            return
        if "compare" in content:
            self.compare(on=content["compare"] is True)
        elif isinstance(changes := content.get("choose"), dict):
            try:
                self.choose(**changes)
            except (TypeError, ValueError) as error:
                self.set_trait("wrong", str(error))


def _menus() -> dict[str, Mapping[str, str]]:
    return {
        "model": {key: model.title for key, model in MODELS.items()},
        "layers": {key: _LAYER_TITLES[key] for key in LAYERS},
        "dtype": PRECISIONS,
    }


_LAYER_TITLES = {"attention": "Attention", "blocks": "Transformer blocks", "all": "All"}


def _plain(choice: Choice) -> dict[str, Any]:
    return {"model": choice.model, "rank": choice.rank, "layers": choice.layers, "dtype": choice.dtype}


def _bars(all_settings: Sequence[Settings], sizes: Sequence[int | str | None]) -> list[dict[str, Any]]:
    """Make a dict for each optimizer, the smallest first, then those not yet counted, then those that cannot be."""
    largest = max((size for size in sizes if isinstance(size, int)), default=0) or 1
    bars = [
        {
            "key": settings.optimizer,
            "words": bytes_words(size) if isinstance(size, int) else "" if size is None else "not here",
            "why": size if isinstance(size, str) else "",
            "share": size / largest if isinstance(size, int) else 0.0,
            "own": place == 0,
        }
        for place, (settings, size) in enumerate(zip(all_settings, sizes, strict=True))
    ]
    return sorted(bars, key=lambda bar: (bool(bar["why"]), not bar["words"], bar["share"], bar["key"]))


def _load(settings: Settings) -> None:
    """Import the modules for counting, so that a count blocks the event loop for a fraction of a second only."""
    for module in ("torch._dynamo", "diffopt_widgets.state_size.count", settings.spec.target.partition(":")[0]):
        with contextlib.suppress(Exception):  # the count reports it
            importlib.import_module(module)
