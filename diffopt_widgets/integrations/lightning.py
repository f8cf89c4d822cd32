"""WatchCallback for lightning's Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffopt_widgets.integrations import checked, missing
from diffopt_widgets.watching.watcher import Watcher

try:
    from lightning.pytorch.callbacks import Callback
except ImportError as error:
    raise missing("lightning") from error

if TYPE_CHECKING:
    from collections.abc import Iterable


class WatchCallback(Callback):
    """Watches the training of a lightning Trainer: `Trainer(callbacks=[WatchCallback()])`.

    It records the values that the module logs with `self.log`, and the loss of each step when there is one optimizer.
    Several optimizers make as many watches in one plot. With several processes only the first is watched.

    Args:
        options: arguments of `dw.watch`, such as `measure` and `store`.
    """

    def __init__(self, **options: Any) -> None:  # Any: as Watcher takes them
        self._options = checked(options)
        self.watchers: list[Watcher] = []
        """Watches of the training in progress or of the last one, one for each optimizer."""
        self._seen: dict[str, Any] = {}  # Any: lightning's metrics as it keeps them
        self._of_steps: set[str] = set()
        """Metrics that were logged at steps."""
        self._step = 0

    def on_train_start(
        self, trainer: Any, pl_module: Any
    ) -> None:  # Any: lightning has no types without being installed
        """Begin to watch."""
        if not trainer.is_global_zero:
            return
        self._seen, self._step = dict(trainer.callback_metrics), trainer.global_step
        self.watchers = []
        schedulers = {id(config.scheduler.optimizer): config.scheduler for config in trainer.lr_scheduler_configs}
        for number, optimizer in enumerate(trainer.optimizers):
            options = {"start": trainer.global_step, **self._options}
            if len(trainer.optimizers) > 1:
                options["name"] = f"{options.get('name', type(optimizer).__name__)} {number}"
                if number and (options.get("show") is not False):
                    options["plot"] = self.watchers[0].plot
            watcher = Watcher(optimizer, schedulers.get(id(optimizer)), pl_module, **options)
            self.watchers.append(watcher)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:  # Any: as above
        """Record the loss of a batch, still on the device."""
        if len(self.watchers) == 1:
            parts = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
            self.watchers[0].log_at("next", {"loss": loss.detach() * parts})  # lightning has divided it

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002  # Any: as above
        """Record the values that the module logged in a batch that ended with a step."""
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self._of_steps.update(self._log_new(trainer))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002  # Any: as above
        """Record the results of a validation."""
        if not trainer.sanity_checking:
            self._log_new(trainer, without=self._of_steps)  # at the end of an epoch lightning makes these anew

    def _log_new(self, trainer: Any, without: Iterable[str] = ()) -> Iterable[str]:
        """Record the metrics that have changed since the last time; return them."""
        metrics = trainer.callback_metrics
        new = {name: metrics[name] for name in metrics.keys() - without if self._seen.get(name) is not metrics[name]}
        self._seen.update(new)
        for watcher in self.watchers:
            own = {"loss", *watcher.measures} if len(self.watchers) == 1 else set(watcher.measures)
            watcher.log_at("last", {name: value for name, value in new.items() if name not in own})
        return new

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002  # Any: as above
        """End the watch."""
        for watcher in self.watchers:
            watcher.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002  # Any: as above
        """End the watch as failed, or as stopped by KeyboardInterrupt."""
        for watcher in self.watchers:
            watcher.__exit__(type(exception), exception, None)
