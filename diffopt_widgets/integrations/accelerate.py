"""WatchTracker for accelerate's Accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffopt_widgets.integrations import RATES, checked, missing
from diffopt_widgets.watching.logged_values import to_scalar
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

_RECORDED_BY_WATCH = RATES | {"step"}


class WatchTracker(GeneralTracker):
    """Tracker for scripts that log with `accelerator.log`, as those of diffusers do.

    Pass it as `accelerator = Accelerator(log_with=tracker)`, and call `tracker.watch(optimizer)` after `prepare` and
    `init_trackers`. Logged values go to the watch, except the schedule's rate and the step, which the watch records
    itself. Values logged for each batch of an accumulation (`accelerator.accumulate`) are averaged over the batches of a
    step. `accelerator.end_training()` closes the watch.

    Args:
        options: arguments of `dw.watch`, such as `measure` and `store`.
    """

    name = "diffopt_widgets"
    requires_logging_directory = False

    def __init__(self, **options: Any) -> None:  # Any: as Watcher takes them
        super().__init__()
        self._options = checked(options)
        self._config: dict[str, Any] = {}
        self._warn = WarnOnce()
        self._waiting: dict[str, list[Any]] = {}
        """Values of batches whose step has not been taken yet."""
        self.watcher: Watcher | None = None
        """Watch in progress; None before `watch`, and in all processes but the first."""

    @property
    def tracker(self) -> Watcher | None:
        """Watch, as `accelerator.get_tracker(name, unwrap=True)` returns it."""
        return self.watcher

    @on_main_process
    def watch(self, optimizer: object, scheduler: object | None = None, model: torch.nn.Module | None = None) -> None:
        """Begin to watch an optimizer, prepared by accelerate or not; an earlier watch of this tracker is closed.

        Call it after `accelerator.init_trackers`, so that the script's configuration is stored too.
        """
        self.finish()
        self._waiting = {}
        about = {**self._config, **(self._options.get("about") or {})}
        self.watcher = Watcher(optimizer, scheduler, model, **{**self._options, "about": about})

    @on_main_process
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:  # Any: a script's own arguments
        """Note the script's configuration, which is stored with the next watch."""
        self._config = {
            name: value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
            for name, value in values.items()
        }

    @on_main_process
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:  # noqa: ARG002  # Any: whatever a script logs
        """Record values for the optimizer's present step."""
        if self.watcher is None:
            text = "nothing is recorded before WatchTracker.watch(optimizer) is called, after accelerator.prepare()"
            self._warn("watch", text)
            return
        others = {name: value for name, value in values.items() if name not in _RECORDED_BY_WATCH}
        self.watcher.log(self._of_step(others))

    def _of_step(self, values: dict[str, Any]) -> dict[str, Any]:
        """Average values with those of earlier batches; values of a batch that ends without a step wait."""
        whole: dict[str, Any] = {}
        for name, value in values.items():
            try:
                parts = [*self._waiting.pop(name, ()), to_scalar(value)]
            except (TypeError, ValueError, RuntimeError):
                whole[name] = value  # the watch warns of it
                continue
            if GradientState().sync_gradients:
                whole[name] = sum(parts) / len(parts)
            else:
                self._waiting[name] = parts
        return whole

    @on_main_process
    def finish(self) -> None:
        """End the watch; values of batches without a step go to the last one."""
        if self.watcher is not None:
            waiting, self._waiting = self._waiting, {}
            if waiting and not self.watcher.closed:
                self.watcher.log_at("last", {name: sum(parts) / len(parts) for name, parts in waiting.items()})
            self.watcher.close()
