"""WatchTracker for accelerate's Accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffopt_widgets.integrations import RATES, checked, missing
from diffopt_widgets.watching.logged_values import kept
from diffopt_widgets.watching.warn_once import WarnOnce
from diffopt_widgets.watching.watcher import Watcher

try:
    from accelerate.state import GradientState
    from accelerate.tracking import GeneralTracker, on_main_process
except ImportError as error:
    raise missing("accelerate") from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_BY_ITSELF = RATES | {"step"}


class WatchTracker(GeneralTracker):
    """A tracker for scripts that log with `accelerator.log`, as those of diffusers do.

    `accelerator = Accelerator(log_with=tracker)`, and after `prepare` and `init_trackers` `tracker.watch(optimizer)`. What is
    logged goes to the watch, except the schedule's rate and the step, which the watch records by itself. What is logged for
    each batch of an accumulation (`accelerator.accumulate`) is averaged over the batches of a step.
    `accelerator.end_training()` closes the watch.

    Args:
        options: of `dw.watch`, such as `measure` and `store`.
    """

    name = "diffopt_widgets"
    requires_logging_directory = False

    def __init__(self, **options: Any) -> None:  # Any: as Watcher takes them
        super().__init__()
        self._options = checked(options)
        self._config: dict[str, Any] = {}
        self._tell = WarnOnce()
        self._waiting: dict[str, list[Any]] = {}
        """Values of batches whose step is yet to come."""
        self.watcher: Watcher | None = None
        """None before `watch`, and in all processes but the first."""

    @property
    def tracker(self) -> Watcher | None:
        """The watch, as `accelerator.get_tracker(name, unwrap=True)` gives it."""
        return self.watcher

    @on_main_process
    def watch(self, optimizer: object, scheduler: object | None = None, model: torch.nn.Module | None = None) -> None:
        """Begin to watch an optimizer, prepared by accelerate or not; an earlier watch of this tracker is closed.

        After `accelerator.init_trackers`, so that the script's configuration is kept in the store too.
        """
        self.finish()
        self._waiting = {}
        about = {**self._config, **(self._options.get("about") or {})}
        self.watcher = Watcher(optimizer, scheduler, model, **{**self._options, "about": about})

    @on_main_process
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:  # Any: a script's own arguments
        """Note the script's configuration, to be kept in the store with the watch that begins then."""
        self._config = {
            name: value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
            for name, value in values.items()
        }

    @on_main_process
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:  # noqa: ARG002  # Any: whatever a script logs
        """Record values; the step is the one that the optimizer has come to."""
        if self.watcher is None:
            text = "nothing is recorded before WatchTracker.watch(optimizer) is called, after accelerator.prepare()"
            self._tell("watch", text)
            return
        self.watcher.log(self._of_step({name: value for name, value in values.items() if name not in _BY_ITSELF}))

    def _of_step(self, values: dict[str, Any]) -> dict[str, Any]:
        """What to record of values, with those of earlier batches; those of a batch that ends without a step wait."""
        whole: dict[str, Any] = {}
        for name, value in values.items():
            try:
                parts = [*self._waiting.pop(name, ()), kept(value)]
            except (TypeError, ValueError, RuntimeError):
                whole[name] = value  # the watch says what is wrong with it
                continue
            if GradientState().sync_gradients:
                whole[name] = sum(parts) / len(parts)
            else:
                self._waiting[name] = parts
        return whole

    @on_main_process
    def finish(self) -> None:
        """End the watch."""
        if self.watcher is not None:
            self.watcher.close()
