"""StepRecorder: records the steps of any loop by the optimizer's own step hooks.

This code runs at every step of somebody's training, so it does little: it reads the rates before and after the step,
appends a tuple and looks at the clock. Tensors stay on their device. About ten times a second the waiting rows go into the
History at once, up to the last step but one: the last step may still get values.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from diffopt_widgets.optimizers.adapters import adapter_of
from diffopt_widgets.rates.applied import RateMeter
from diffopt_widgets.rates.base import rate_of
from diffopt_widgets.rates.unwrap import hooked_optimizer
from diffopt_widgets.records import History
from diffopt_widgets.settings import whole_number
from diffopt_widgets.training.measures import Measured, Measures, check_measures
from diffopt_widgets.training.numbers_of import numbers
from diffopt_widgets.watching.hooks import group_names, later_names, with_closure
from diffopt_widgets.watching.logged_values import LoggedValues, as_list, check_name, is_evaluation, merge, to_scalar
from diffopt_widgets.watching.rows import Row, skipped, table, without_skipped
from diffopt_widgets.watching.warn_once import WarnOnce

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from diffopt_widgets.rates.base import LastStep, Rates
    from diffopt_widgets.records import Scalar
    from diffopt_widgets.watching.columns import Cell
    from diffopt_widgets.watching.hooks import Arguments
    from diffopt_widgets.watching.logged_values import Where

_log = logging.getLogger(__name__)
_NONE: Measured = {}
_FORKS: list[None] = []
"""An entry for each fork between the process that imported this and the present one; asking the system is slower."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _FORKS.append(None))


class StepRecorder:
    """Records the steps of one optimizer into a History until it is closed.

    Errors here never reach the loop: they give one warning each, and the training goes on. A recording belongs to the process
    that began it: in a forked one nothing is recorded.

    Args:
        optimizer: the optimizer whose `step()` is recorded, or a wrapper around it.
        names: names of its parameter groups.
        model: gives names to groups that have none.
        measure: names of `training.measures.MEASURES`.
        every: measure only at every n-th step.
        start: number of steps taken before, when a training is resumed.
        seconds: shortest time between two calls of `on_publish`.
        on_publish: called after new rows are in the history.

    Raises:
        TypeError: the optimizer has no step hooks.
        ValueError: an argument cannot be used.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> recorder = StepRecorder(optimizer)
    >>> for _ in range(2):
    ...     loss = weight.square().sum(); loss.backward(); optimizer.step()
    ...     recorder.log(loss=loss)
    >>> recorder.close()
    >>> recorder.history, recorder.history.column("loss").round(2).tolist()
    (History(2 steps: loss, lr, applied_lr, seconds), [3.0, 1.92])
    """

    def __init__(
        self,
        optimizer: object,
        *,
        names: Sequence[str] | None = None,
        model: torch.nn.Module | None = None,
        measure: str | Iterable[str] = (),
        every: int = 1,
        start: int = 0,
        seconds: float = 0.1,
        on_publish: Callable[[], None] = lambda: None,
    ) -> None:
        whole_number("every", every, 1)
        whole_number("start", start, 0)
        self.optimizer: Optimizer = hooked_optimizer(optimizer)
        self.taken = start
        """Number of steps published so far."""
        self.calls = 0
        """Number of steps that the optimizer was asked for since the recording began; it counts those that the device skips."""
        self.closed = False
        self.measures = check_measures(measure)
        """Names of the further measures."""
        self.published = History(group_names(self.optimizer, names, model))
        """Steps that have been published; it grows."""
        self._group_count = len(self.published.groups)
        self._adapter = adapter_of(self.optimizer)
        self._meter = RateMeter(optimizer, fused=self._adapter is not None and self._adapter.fused)
        self._measuring = Measures(self.optimizer, self.measures, self._adapter) if self.measures else None
        self._every = every
        self._until_measured = 0
        self._measures_now = False
        self._logged = LoggedValues()
        self._read: History | None = None
        """Copy of the history that was read since the last step or log."""
        self._accepted: set[str] = set()
        self._warn = WarnOnce()
        self._rows: list[Row] = []
        """Steps that are not published yet. The last one waits for the next: it may still get values."""
        self._carried: dict[str, Cell] = {}
        """Values of skipped steps, for the first of those steps."""
        self.by_call = 0
        """Number of rows at the end that are no steps, but values logged without one, by call."""
        self._forks = len(_FORKS)
        if "bf16_lost" in self.measures and not self._has_bfloat16():
            self._warn("bf16_lost", "bf16_lost has no values here: none of these weights is in bfloat16", stacklevel=4)
        self.in_step = False
        """True while a step is in progress."""
        self._lr: Rates = ()
        self._found_inf: torch.Tensor | None = None
        self._seconds = seconds
        self._on_publish = on_publish
        self._began = time.perf_counter()
        self._due = self._began + seconds
        self._handles = [
            self.optimizer.register_step_pre_hook(self._before),
            self.optimizer.register_step_post_hook(self._after),
        ]
        if self._adapter is not None:
            self._adapter.on_begin.append(self._before_first)

    @property
    def estimates(self) -> bool:
        """True when the optimizer applies other rates than those of its schedule."""
        return not self._meter.plain

    @property
    def averages(self) -> bool:
        """True when a step applies an average over the rates of past steps."""
        return self._meter.averages

    def recall(self, records: Sequence[LastStep]) -> None:
        """Continue the averages from the one of these records of the step before the first that the state continues."""
        self._meter.recall(records)

    def saved_averages(self) -> list[Any]:  # Any: as the reader of applied rates saves them
        """Return the averages over the rates of past steps, for a checkpoint."""
        return self._meter.saved()

    def restore(self, averages: Sequence[Any]) -> None:
        """Continue the averages that were saved; where they do not fit, they are not known at first, with a warning."""
        try:
            self._meter.restore(averages)
        except Exception as error:  # noqa: BLE001  # the loop must go on, whatever a checkpoint holds
            self._report("continuing the applied rates of the checkpoint", error)

    @property
    def momentum(self) -> float | None:
        """Size of the momentum that holds the rates of past steps, None if there is none; reading it waits for the device."""
        return self._meter.momentum

    @property
    def steps(self) -> int:
        """Number of steps taken so far; a step that the device may have skipped counts until it is published."""
        return self.taken + len(self._rows)

    @property
    def forked(self) -> bool:
        """True in a process that was forked from the one that began the recording."""
        return len(_FORKS) != self._forks

    # ------------------------------------------------------------------------------------------------ steps

    def _before(self, _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        """Handle the begin of a step, unless an adapter has begun it: it steps each tensor alone, often in backward."""
        adapter = self._adapter
        if self.forked or (adapter is not None and (adapter.within or self.in_step)):
            return None
        self._begin()
        if not (self._measures_now and "grad_norm" in self.measures):
            return None
        arguments = with_closure(args, kwargs, self._on_gradients)
        if arguments is None:
            self._on_gradients()
        return arguments

    def _before_first(self) -> None:
        """Handle the begin of an adapter's step."""
        if self.forked:
            return
        self._begin()
        self._on_gradients()

    def _begin(self) -> None:
        """Read the rates before any weight moves; it may run twice when a step calls the step of its base class."""
        self.in_step, self._lr = True, ()
        try:
            groups = self.optimizer.param_groups
            if len(groups) != self._group_count:
                self._regroup()
            self._lr = tuple([rate_of(group) for group in groups])
            if not self._meter.plain:
                self._meter.before()
            self._found_inf = getattr(self.optimizer, "found_inf", None)
            if self._measuring is not None:
                self._measures_now = not self._until_measured
                if self._measures_now:
                    self._measuring.before()
        except Exception as error:  # noqa: BLE001  # the loop must go on, whatever a back end holds
            self._measures_now = False
            self._report("reading an optimizer before its step", error)

    def _on_gradients(self) -> None:
        """Measure the gradients, which are complete now."""
        try:
            if self._measuring is not None and self._measures_now:
                self._measuring.gradients()
        except Exception as error:  # noqa: BLE001  # as above
            self._report("measuring gradients", error)

    def _after(self, *_: object) -> None:
        if not self.in_step or self.forked or (self._adapter is not None and self._adapter.within):
            return
        self.in_step = False
        self.calls += 1
        meter, applied, d, d_hat, measured = self._meter, self._lr, None, None, _NONE
        try:
            if not meter.plain:
                applied, d, d_hat = meter.after(), meter.d, meter.d_hat()
                if meter.trouble is not None:
                    self._report("reading the applied rates, which are not known then", meter.trouble)
            if self._measuring is not None:
                if self._measures_now:
                    measured = self._measuring.after()
                    self._until_measured = self._every
                self._until_measured -= 1
        except Exception as error:  # noqa: BLE001  # as above
            self._report("reading an optimizer after its step", error)
        now = time.perf_counter()
        self._read = None
        self._rows.append(
            Row(now - self._began, self._lr, applied, d, d_hat, self._found_inf, measured, self._logged.close_step())
        )
        if now >= self._due:
            self.publish()

    # dynamo must neither trace nor cache these: they are called for their side effects.
    for _hook in (_before, _before_first, _after):
        _hook._torchdynamo_disable = True  # type: ignore[union-attr]  # noqa: SLF001  # importing torch._dynamo takes a second

    def _regroup(self) -> None:
        now = len(self.optimizer.param_groups)
        if now < self._group_count:
            self._warn(
                "groups",
                f"the optimizer has {now} parameter groups now, and had {self._group_count}. It is not known which ones are "
                "left, so their rates continue the curves of the first groups. To see them by name, close this watch and "
                "begin another",
            )
        self.published.add_groups(later_names(self.optimizer, self.published.groups))
        self._group_count = now

    def _has_bfloat16(self) -> bool:
        return any(str(p.dtype) == "torch.bfloat16" for group in self.optimizer.param_groups for p in group["params"])

    # ------------------------------------------------------------------------------------------------ values

    def log(self, values: Mapping[str, Scalar] | None = None, where: Where | None = None, /, **more: Scalar) -> None:
        """Record values by name, for this step if it is known; see `Watcher.log`."""
        if self.closed or self.forked:
            text = (
                "this watch is closed: values logged now are not recorded. Begin another with dw.watch()"
                if self.closed
                else "this process was forked from the one that began the watch: its steps and values are not recorded. To "
                "record them, begin another watch here with dw.watch()"
            )
            self._warn("closed", text, stacklevel=4)
            return
        if values is not None:
            if not isinstance(values, Mapping):
                text = (
                    f"a {type(values).__name__} without a name is not recorded: log values by name, such as loss=loss"
                )
                self._warn("names", text, stacklevel=4)
                values = {}
            more = {**values, **more}
        self._read = None
        accepted: dict[str, Scalar] = {}
        for name, value in more.items():
            plain = value if value.__class__ is float and name in self._accepted else self._accept(name, value)
            if plain is not None:
                accepted[name] = plain
        together = self._logged.where(accepted) if where is None and len(accepted) > 1 else None
        for name, plain in accepted.items():
            here = where if together is None or is_evaluation(name) else together
            count = self._logged.put(name, plain, here)
            if count != 1 and (not count or self._logged.without_step(name, count)):
                self._warn("steps", self._without_step(name, count), stacklevel=4)
        if self._rows and time.perf_counter() >= self._due:
            self.publish()

    def _without_step(self, name: str, count: int) -> str:
        kind = type(self.optimizer).__name__
        inner = next((a for a, held in vars(self.optimizer).items() if isinstance(held, torch.optim.Optimizer)), "")
        told = f"{count} times" if count else "too often to keep all values"
        hint = (
            f"This {kind} holds another optimizer: if the loop steps that one, watch it with dw.watch(optimizer.{inner})"
            if inner
            else "If the loop calls the step() of another one, as with SAM's base_optimizer or an optimizer made anew, watch "
            "that one with dw.watch()"
        )
        return (
            f"{name} was logged {told} without a step: is the watched {kind} the optimizer that this loop steps? {hint}. If "
            "the loop adds up the gradients of more batches than that, all is well"
        )

    def _accept(self, name: str, value: object) -> Scalar | None:
        """Return the value to record, or None with one warning per name if it cannot be recorded."""
        try:
            if name not in self._accepted:
                check_name(name, self.measures)
                self._accepted.add(name)
            return to_scalar(value)
        except Exception as error:  # noqa: BLE001  # the loop must go on, whatever is logged
            self._warn(f"value {name}", f"{name!r} is not recorded: {error}", stacklevel=5)
            return None

    # ------------------------------------------------------------------------------------------------ publishing

    @property
    def history(self) -> History:
        """All steps taken so far; reading it waits for the device, and changes nothing.

        While the last step may still get values, this is a copy, and the same one until something new is recorded.
        """
        if self.closed or not self._rows or self.forked:
            return self.published
        if self._read is not None:
            return self._read
        self._move_rows()
        copy = self.published.copy(room=len(self._rows))
        try:
            rows, carried = without_skipped(self._rows, skipped(self._rows), self._carried)
            self._append(copy, rows, carried)
        except Exception as error:  # noqa: BLE001  # such as a device that has failed
            self._report("reading the last step", error)
        self._read = copy
        return copy

    def publish(self) -> None:
        """Move the waiting rows into the history, without the last one, which may still get values; call `on_publish`."""
        self._move_rows()
        self._published()

    def _published(self) -> None:
        try:
            self._on_publish()
        except Exception as error:  # noqa: BLE001  # a display or a file that fails must not end the training
            self._report("showing or saving the run", error)
        self._due = time.perf_counter() + self._seconds

    def _move_rows(self) -> None:
        """Move the rows into the history, up to the last one that moved the weights."""
        moved, self._rows = self._rows, []
        try:
            skips = skipped(moved)
            last = max((place for place, skip in enumerate(skips) if not skip), default=0)
            moved, self._rows = moved[:last], moved[last:]
            if not moved:
                return
            rows, self._carried = without_skipped(moved, skips[:last], self._carried)
            self.taken += self._append(self.published, rows)
        except Exception as error:  # noqa: BLE001  # such as a device that has failed
            self._report("recording steps, which are lost", error)

    def _append(self, history: History, rows: list[Row], extra: dict[str, Cell] | None = None) -> int:
        """Append rows to a history, the last one with further values; return how many."""
        if not rows:
            return 0
        if extra:
            rows = [*rows[:-1], rows[-1]._replace(logged=merge(rows[-1].logged, extra))]
        columns = table(rows, len(history.groups), self.measures).fetch()
        # A norm that is not finite is an answer; a rate that is not known is none.
        history.extend_columns(np.arange(self.taken + 1, self.taken + 1 + len(rows)), columns, keep=self.measures)
        return len(rows)

    # ------------------------------------------------------------------------------------------------ end and faults

    @property
    def before(self) -> dict[str, float]:
        """Evaluations before the first step, of names that were evaluated after it too; reading waits for the device."""
        return {name: float(numbers(as_list(cell)).mean()) for name, cell in self._logged.before.items()}

    def close(self) -> None:
        """Remove the hooks and publish the last rows. Closing twice does nothing."""
        if self.closed:
            return
        self.closed = True
        for handle in self._handles:
            handle.remove()
        if self._adapter is not None:
            self._adapter.on_begin.remove(self._before_first)
        if self._measuring is not None:
            self._measuring.close()
        if self.forked:
            return
        self._move_last_rows()
        self._published()

    def _move_last_rows(self) -> None:
        """Move all rows into the history, and after them the values that belong to no step, by call."""
        try:
            by_call = self._logged.close()
            rows, carried = without_skipped(self._rows, skipped(self._rows), self._carried)
            self._rows, self._carried = [], {}
            if not rows:  # no step has moved the weights
                by_call, carried = merge(carried, by_call), {}
            self.taken += self._append(self.published, rows, carried)
            self.by_call = max((len(as_list(cell)) for cell in by_call.values()), default=0)
            if self.by_call:
                columns = {name: np.full(self.by_call, np.nan) for name in by_call}
                for name, cell in by_call.items():
                    values = numbers(as_list(cell))
                    columns[name][: len(values)] = values
                self.published.extend_columns(np.arange(self.taken + 1, self.taken + 1 + self.by_call), columns)
        except Exception as error:  # noqa: BLE001  # such as a device that has failed
            self._report("recording steps, which are lost", error)

    def _report(self, activity: str, error: Exception | str) -> None:
        if isinstance(error, Exception):
            _log.debug("%s failed", activity, exc_info=error)
            error = f"{type(error).__name__}: {error}"
        self._warn(activity, f"the watch had trouble {activity}; the training goes on. {error}")
