"""StepRecorder: writes down the steps that any loop takes, told of by the optimizer's own step hooks.

What a step costs here is paid at every step of somebody's training, so it is little: the rates are read before and after
the step, a tuple is appended, and the time is looked at. Tensors stay on their device, and about ten times a second all
that is waiting goes into the History at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffopt_widgets.optimizers.adapters import adapter_of
from diffopt_widgets.rates.applied import RateMeter
from diffopt_widgets.rates.base import rate_of
from diffopt_widgets.records import History
from diffopt_widgets.training.measures import Measured, Measures, check_measures
from diffopt_widgets.watching.hooks import group_names, hooked_optimizer, later_names, with_closure
from diffopt_widgets.watching.logged_values import Notes, check_name, kept, several
from diffopt_widgets.watching.rows import Row, table, without_skipped
from diffopt_widgets.watching.warn_once import WarnOnce

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer

    from diffopt_widgets.rates.base import Rates
    from diffopt_widgets.records import Scalar
    from diffopt_widgets.watching.hooks import Arguments

_log = logging.getLogger(__name__)
_NONE: Measured = {}


class StepRecorder:
    """Records the steps of one optimizer into a History until it is closed.

    Nothing that goes wrong here reaches the loop: it is told once as a warning, and the training goes on.

    Args:
        optimizer: whose `step()` is recorded, or a wrapper around it.
        names: of its parameter groups.
        model: for names of the groups where they have none.
        measure: names of `training.measures.MEASURES`.
        every: measure only one of so many steps.
        start: how many steps were taken before, when a training goes on.
        seconds: shortest time between two calls of `on_publish`.
        on_publish: called after new rows came into the history.

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
        if every < 1 or start < 0:
            raise ValueError(f"every is {every} and start is {start}; every must be at least 1, and start not negative")
        self.optimizer: Optimizer = hooked_optimizer(optimizer)
        self.taken = start
        """How many steps have been published."""
        self.closed = False
        self.measures = check_measures(measure)
        """Names of what is measured at the steps."""
        self.published = History(group_names(self.optimizer, names, model))
        """The steps so far, as far as they have been published; it grows."""
        self._count = len(self.published.groups)
        self._meter = RateMeter(self.optimizer)
        self._adapter = adapter_of(self.optimizer)
        self._measuring = Measures(self.optimizer, self.measures, self._adapter) if self.measures else None
        self._every = every
        self._until_measured = 0
        self._measures_now = False
        self._notes = Notes()
        self._accepted: set[str] = set()
        self._tell = WarnOnce()
        self._rows: list[Row] = []
        self._within = False
        """Whether a step is in progress."""
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
        """Whether the optimizer applies other rates than those that its schedule says."""
        return not self._meter.plain

    # ------------------------------------------------------------------------------------------------ steps

    def _before(self, _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        """A step begins, or has begun: an adapter steps each tensor alone, in backward or before the step's own work."""
        adapter = self._adapter
        if adapter is not None and (adapter.within or self._within):
            return None
        self._begin()
        if not (self._measures_now and "grad_norm" in self.measures):
            return None
        given = with_closure(args, kwargs, self._gradients)
        if given is None:
            self._gradients()
        return given

    def _before_first(self) -> None:
        """An adapter begins a step."""
        self._begin()
        self._gradients()

    def _begin(self) -> None:
        """Read the rates before any weight moves. Again where a step calls the step of a class above it."""
        self._within, self._lr = True, ()
        try:
            groups = self.optimizer.param_groups
            if len(groups) != self._count:
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
            self._troubled("reading an optimizer before its step", error)

    def _gradients(self) -> None:
        """The gradients of a step that is measured are there."""
        try:
            if self._measuring is not None and self._measures_now:
                self._measuring.gradients()
        except Exception as error:  # noqa: BLE001  # as above
            self._troubled("measuring gradients", error)

    def _after(self, *_: object) -> None:
        if not self._within or (self._adapter is not None and self._adapter.within):
            return
        self._within = False
        meter, applied, d, d_hat, measured = self._meter, self._lr, None, None, _NONE
        try:
            if not meter.plain:
                applied, d, d_hat = meter.after(), meter.d, meter.d_hat()
            if self._measuring is not None:
                if self._measures_now:
                    measured = self._measuring.after()
                    self._until_measured = self._every
                self._until_measured -= 1
        except Exception as error:  # noqa: BLE001  # as above
            self._troubled("reading an optimizer after its step", error)
        now = time.perf_counter()
        self._rows.append(
            Row(now - self._began, self._lr, applied, d, d_hat, self._found_inf, measured, self._notes.close_step())
        )
        if now >= self._due:
            self.publish()

    # dynamo must not trace these, nor keep what it saw of them: they are for their side effects.
    for _hook in (_before, _before_first, _after):
        _hook._torchdynamo_disable = True  # type: ignore[union-attr]  # noqa: SLF001  # importing torch._dynamo takes a second

    def _regroup(self) -> None:
        now = len(self.optimizer.param_groups)
        if now < self._count:
            self._tell(
                "groups",
                f"the optimizer has {now} parameter groups now, and had {self._count}: which they are nobody can tell, and the "
                "curves of the first groups go on with their rates. To see them by name, close this watch and begin another",
            )
        self.published.add_groups(later_names(self.optimizer, self.published.groups))
        self._meter.regroup()
        self._count = now

    # ------------------------------------------------------------------------------------------------ values

    def log(self, values: Mapping[str, Scalar] | None = None, /, **more: Scalar) -> None:
        """Take in values by name, as `Watcher.log` says."""
        if self.closed:
            text = "this watch is closed: what is logged now is not recorded. Begin another with dw.watch()"
            self._tell("closed", text, stacklevel=4)
            return
        if values is not None:
            if not isinstance(values, Mapping):
                text = (
                    f"a {type(values).__name__} without a name is not recorded: log values by name, such as loss=loss"
                )
                self._tell("names", text, stacklevel=4)
                values = {}
            more = {**values, **more}
        for name, value in more.items():
            plain = value if value.__class__ is float and name in self._accepted else self._accept(name, value)
            if plain is not None and not self._notes.put(name, plain):
                self._tell(
                    "steps",
                    f"{name} was logged more than a thousand times without a step: is the watched "
                    f"{type(self.optimizer).__name__} the optimizer that this loop steps?",
                    stacklevel=4,
                )
        if self._rows and time.perf_counter() >= self._due:
            self.publish()

    def _accept(self, name: str, value: object) -> Scalar | None:
        """A value to keep; None, with a warning once for each name, where it cannot be recorded."""
        try:
            if name not in self._accepted:
                check_name(name, self.measures)
                self._accepted.add(name)
            return kept(value)
        except Exception as error:  # noqa: BLE001  # the loop must go on, whatever it was given
            self._tell(f"value {name}", f"{name!r} is not recorded: {error}", stacklevel=5)
            return None

    # ------------------------------------------------------------------------------------------------ publishing

    @property
    def history(self) -> History:
        """All steps taken so far; reading it waits for the device."""
        if self._rows:
            self._put_in(whole=True)
        return self.published

    def publish(self) -> None:
        """Put what is waiting into the history, without the last step while it may still get values; tell of it."""
        self._put_in(whole=self.closed or self._notes.sealed)
        try:
            self._on_publish()
        except Exception as error:  # noqa: BLE001  # a display or a file that fails must not end the training
            self._troubled("showing or keeping the record", error)
        self._due = time.perf_counter() + self._seconds

    def _put_in(self, *, whole: bool) -> None:
        rows, self._rows = (self._rows, []) if whole else (self._rows[:-1], self._rows[-1:])
        if whole:
            self._notes.seal()
        if not rows:
            return
        try:
            rows, carried = without_skipped(rows)
            for name, cell in carried.items():
                for value in several(cell):
                    self._notes.put(name, value)
            columns = table(rows, len(self.published.groups), self.measures).fetch()
            self.published.extend_columns(np.arange(self.taken + 1, self.taken + 1 + len(rows)), columns)
            self.taken += len(rows)
        except Exception as error:  # noqa: BLE001  # such as a device that has failed
            self._troubled("recording steps, which are lost", error)

    # ------------------------------------------------------------------------------------------------ end and faults

    def close(self) -> None:
        """Take the hooks away and publish what is left. Closing twice does nothing."""
        if self.closed:
            return
        self.closed = True
        for handle in self._handles:
            handle.remove()
        if self._adapter is not None:
            self._adapter.on_begin.remove(self._before_first)
        if self._measuring is not None:
            self._measuring.close()
        self.publish()

    def _troubled(self, doing: str, error: Exception) -> None:
        _log.debug("%s failed", doing, exc_info=error)
        self._tell(doing, f"the watch had trouble {doing}; the training goes on. {type(error).__name__}: {error}")
