"""StateSize: how much state the optimizer will keep for a model that people train, and a chart of all optimizers."""

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
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.state_size.models import LAYERS, MODELS, Choice
from diffopt_widgets.state_size.words import bytes_words, state_details, state_sentence
from diffopt_widgets.widgets.page.event_loop import running_loop
from diffopt_widgets.widgets.page.page_widget import PageWidget

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

PAUSE_SECONDS = 0.5
"""How long nothing may change before a size is counted: while somebody types, none is."""
OPENING_SECONDS = 2.0
"""The same before the first one in a kernel: the bench is being opened then, and what counting needs is slow to import."""
MOST_OPERATIONS = 15_000
"""Most that one count may take: the event loop waits for it. Twice what any of the catalogue needs for any of the models."""
LARGEST_RANK = 1024

log = logging.getLogger(__name__)


class StateSize(PageWidget):
    """One line, such as "PRODIGY: 1.3 GB of state for an SDXL LoRA of rank 64"; on demand a bar for each optimizer.

    Sizes are counted on the event loop, one optimizer at a time, after a pause; what was counted once is known. Without
    an event loop, as in a plain script, call `count`.

    Args:
        settings: whose state to tell.
        loop: the event loop to count on; the running one when not given.
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

    settings = traitlets.Instance(Settings, help="Whose state is told.")
    menus = traitlets.Dict(read_only=True, help="What can be chosen, each with its title.").tag(sync=True)
    chosen = traitlets.Dict(read_only=True, help="What is trained: model, rank, layers, dtype.").tag(sync=True)
    shown = traitlets.Dict(read_only=True, help="The sentence, what it rests on, and whether it is counted anew.").tag(
        sync=True
    )
    wrong = traitlets.Unicode(read_only=True, help="What is wrong with the rank that was typed last.").tag(sync=True)
    comparing = traitlets.Bool(read_only=True, help="Whether all optimizers are shown.").tag(sync=True)
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

    @property
    def choice(self) -> Choice:
        """What is trained."""
        return self._choice

    def choose(self, **changes: Any) -> None:
        """Change what is trained: `model`, `rank` (None for a full fine-tune), `layers` or `dtype`.

        Raises:
            ValueError: there is no such thing; what was chosen stays.
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
            raise ValueError(f"The rank is a whole number from 1 to {LARGEST_RANK}")
        self._choice = choice
        with self.hold_sync():
            self.set_trait("chosen", _plain(choice))
            self.set_trait("wrong", "")
            self._refresh()

    def compare(self, *, on: bool = True) -> None:
        """Show a bar for each optimizer, or put them away."""
        with self.hold_sync():
            self.set_trait("comparing", on)
            self._refresh()

    def count(self) -> None:
        """Count at once what is not known yet; it takes a fraction of a second for each optimizer."""
        for settings in self._wanted():
            self._find(settings)
        self._refresh()

    @traitlets.observe("settings")
    def _settings_changed(self, _: object) -> None:
        if self.shown:  # else it is being made
            self._refresh()

    def _wanted(self) -> list[Settings]:
        """The settings that are to be known: those of the form, and the defaults of all other optimizers."""
        others = [key for key in list_optimizers() if key != self.settings.optimizer] if self.comparing else []
        return [self.settings, *map(Settings, others)]

    def _refresh(self) -> None:
        """Show what is known, and see to it that the rest will be."""
        self._show()
        if any(self._key(settings) not in self._known for settings in self._wanted()):
            self._begin()

    def _show(self) -> None:
        """Show what is known; a sentence that is no longer true stays until there is another, and says whose it is."""
        wanted = self._wanted()
        found = [self._known.get(self._key(settings)) for settings in wanted]
        own = found[0]
        with self.hold_sync():
            if own is None:
                self.set_trait("shown", {"sentence": "", "details": "", **self.shown, "pending": True})
            else:
                sentence = state_sentence(self.settings.optimizer, self._choice, own)
                details = state_details(self._choice, own)
                self.set_trait("shown", {"sentence": sentence, "details": details, "pending": False})
            self.set_trait("bars", _bars(wanted, found) if self.comparing else [])

    def _begin(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._restart)

    def _restart(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._loop is not None:
            self._task = self._loop.create_task(self._work(self._loop))

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        await asyncio.sleep(PAUSE_SECONDS if self._known else OPENING_SECONDS)
        for settings in self._wanted():
            if self._key(settings) in self._known:
                continue
            # Importing takes seconds the first time in a kernel, and the bench answers meanwhile.
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
        except Exception as error:  # what a back end raises; the chart goes on without it
            log.exception("the state of %s could not be counted", settings.optimizer)
            self._known[key] = f"its state could not be counted ({type(error).__name__}: {error})"

    def _key(self, settings: Settings) -> Hashable:
        """What the size hangs on: neither the learning rate nor the schedule is among it."""
        return settings.optimizer, tuple(settings.options.items()), self._choice

    def _receive(self, _: object, content: object, __: object) -> None:
        """Do what the page asks; what is wrong with it is said there."""
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


def _bars(wanted: Sequence[Settings], found: Sequence[int | str | None]) -> list[dict[str, Any]]:
    """A dict for each optimizer, the smallest first, then those that are not known yet and those that cannot be."""
    sizes = [size for size in found if isinstance(size, int)]
    largest = max(sizes, default=0) or 1
    bars = [
        {
            "key": settings.optimizer,
            "words": bytes_words(size) if isinstance(size, int) else "" if size is None else "not here",
            "why": size if isinstance(size, str) else "",
            "share": size / largest if isinstance(size, int) else 0.0,
            "own": place == 0,
        }
        for place, (settings, size) in enumerate(zip(wanted, found, strict=True))
    ]
    return sorted(bars, key=lambda bar: (bool(bar["why"]), not bar["words"], bar["share"], bar["key"]))


def _load(settings: Settings) -> None:
    """Import what counting needs; only then does it take the event loop for a fraction of a second."""
    for module in ("torch._dynamo", "diffopt_widgets.state_size.count", settings.spec.target.partition(":")[0]):
        with contextlib.suppress(Exception):  # told when it is used
            importlib.import_module(module)
