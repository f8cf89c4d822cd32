"""WatchCallback for transformers.Trainer."""

from __future__ import annotations

from typing import Any

from diffopt_widgets.integrations import RATES, checked, missing
from diffopt_widgets.watching.watcher import Watcher

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise missing("transformers") from error

_NO_METRICS = RATES | {"epoch", "step", "total_flos", "num_input_tokens_seen"}
_SPEEDS = ("_runtime", "_per_second")
"""Endings of values that the Trainer logs about speed only."""


class WatchCallback(TrainerCallback):
    """Watches the training of a transformers.Trainer: `Trainer(..., callbacks=[WatchCallback()])`.

    The rates are recorded at each step, the loss and the metrics when the Trainer logs them: with `logging_steps=10`, the
    loss is the mean of ten steps. With several processes only the first is watched. The Trainer does not report
    exceptions: after one, `callback.watcher.close()` ends the watch, and so does the next training.

    Args:
        options: arguments of `dw.watch`, such as `measure` and `store`. By default `start`, `samples_per_step`, `name`
            and `about` come from the Trainer.
    """

    def __init__(self, **options: Any) -> None:  # Any: as Watcher takes them
        self._options = checked(options)
        self.watcher: Watcher | None = None
        """Watch of the training in progress or of the last one; None before the first."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002  # Any: transformers hands these over without types
        """Begin to watch."""
        if not state.is_world_process_zero:
            return
        if self.watcher is not None:
            self.watcher.close()
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        known = {
            "start": state.global_step,
            "samples_per_step": batch,
            "name": args.run_name or type(kwargs["model"]).__name__,
            "about": {"arguments": args.to_sanitized_dict()},
        }
        self.watcher = Watcher(
            kwargs["optimizer"], kwargs.get("lr_scheduler"), kwargs["model"], **{**known, **self._options}
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ARG002  # Any: as above
        """Record what the Trainer logs, without the schedule's rate and the summary at the end.

        It logs after a step, and with `eval_on_start` also before the first.
        """
        if self.watcher is None or self.watcher.closed or not logs or "train_runtime" in logs:
            return
        own = self.watcher.measures
        self.watcher.log_at(
            "last",
            {
                name: value
                for name, value in logs.items()
                if not (name in _NO_METRICS or name in own or name.endswith(_SPEEDS))
                and isinstance(value, (int, float))
            },
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002  # Any: as above
        """End the watch."""
        if self.watcher is not None:
            self.watcher.close()
