"""Options that no back end takes, added around the step of any optimizer that steps each tensor on its own.

`adapt` adds them to an existing optimizer with torch's own hooks. The optimizer keeps its class, its groups, its state and
its schedule.

* Fused back pass: each tensor is stepped as soon as backward has its gradient, which is then freed (as in torch's tutorial
  "How to save memory by fusing the optimizer step into the backward pass"). `step()` only closes the step.
* Stochastic rounding: a tensor in bfloat16 is stepped as a copy in float32, which is rounded back up or down at random;
  the nearer of the two neighbours is the more probable one. The random bits depend on the tensor's place and on the number
  of its steps; torch's global generators do not change.
* Kahan summation: a tensor in bfloat16 is stepped as a copy in float32, which is rounded to the nearest bfloat16. The
  rounding error is kept, also in bfloat16, and added to the copy of the next step (Kahan, "Further remarks on reducing
  truncation errors", 1965; for weights: Zamirai et al., "Revisiting BFloat16 Training", 2020).
* Percentile clipping, as in bitsandbytes before version 0.50: a gradient is scaled down to a percentile of the last 100
  gradient norms of its tensor.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from diffopt_widgets.optimizers.grad_scalers import GradScalers
from diffopt_widgets.tasks.seeds import mix

if TYPE_CHECKING:
    from torch.optim import Optimizer

_log = logging.getLogger(__name__)

PAST_NORMS = 100
"""Number of past gradient norms that percentile clipping uses."""
_NORMS, _ROUNDINGS, _LOST = "gnorm_vec", "roundings", "kahan_compensation"
"""Keys of this module in a tensor's state. The first is bitsandbytes' own, which it still leaves alone when it loads a state."""

Rounding: TypeAlias = Literal["none", "random", "kahan"]
"""Way from a step in float32 to bfloat16: none (the back end steps in bfloat16), at random, or with the error kept."""
_Group: TypeAlias = dict[str, Any]  # Any: torch's own type of a parameter group


def adapt(
    optimizer: Optimizer,
    *,
    fused_back_pass: bool = False,
    stochastic_rounding: bool = False,
    kahan_summation: bool = False,
    percentile_clipping: int = 100,
) -> None:
    """Add options that its package does not have to an optimizer. Call it once per optimizer, after it is built.

    The optimizer must step each tensor on its own, as `OptimizerSpec.steps_each_tensor` says. Copies made by
    `copy.deepcopy` and pickle do not have these options, since both leave out all hooks.

    Args:
        optimizer: changed in place.
        fused_back_pass: step inside backward. There must be one backward per step. The gradients never exist all together,
            so they cannot be clipped by their common norm, or exchanged between processes after backward. A GradScaler's step
            raises, before a weight has moved. If one has scaled any loss in the process since its `update` and the optimizer's
            last step, the step is taken after backward. To know that, the first optimizer with this option wraps `scale` and
            `update` of torch's GradScaler; an import changes nothing.
        stochastic_rounding: of parameters in bfloat16; the others are stepped as usual, and where there are only others the
            log says that it does nothing. State tensors are those that the back end keeps for float32 weights.
        kahan_summation: of parameters in bfloat16, likewise; not together with stochastic rounding. It keeps one more tensor
            like the parameter, and updates count down to about a thousandth of the spacing of bfloat16.
        percentile_clipping: from 1 to 99; 100 is off.

    Raises:
        ValueError: both ways to round are on, or the percentile is out of range.

    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> adapt(optimizer, fused_back_pass=True)
    >>> weight.sum().backward()
    >>> weight.tolist(), weight.grad
    ([0.8999999761581421, 0.8999999761581421, 0.8999999761581421], None)
    >>> optimizer.step()  # closes the step, which backward has already done
    """
    if not 1 <= percentile_clipping <= 100:
        raise ValueError(f"percentile_clipping is {percentile_clipping}; it must be from 1 to 100")
    params = [p for group in optimizer.param_groups for p in group["params"]]
    if stochastic_rounding and kahan_summation:
        raise ValueError("stochastic_rounding and kahan_summation are two ways to round; turn one of them off")
    if (stochastic_rounding or kahan_summation) and not any(p.dtype is torch.bfloat16 for p in params):
        name = "stochastic_rounding" if stochastic_rounding else "kahan_summation"
        _log.warning("%s does nothing: it rounds parameters in bfloat16, and none of these is in bfloat16", name)
        stochastic_rounding = kahan_summation = False
    if fused_back_pass or stochastic_rounding or kahan_summation or percentile_clipping < 100:
        rounding: Rounding = "random" if stochastic_rounding else "kahan" if kahan_summation else "none"
        Adapter(optimizer, fused=fused_back_pass, rounding=rounding, percentile=percentile_clipping)


def adapter_of(optimizer: Optimizer) -> Adapter | None:
    """Return the adapter of an optimizer if it steps tensors one by one, before the optimizer's own `step`; None otherwise."""
    hooks = optimizer._optimizer_step_pre_hooks.values()  # noqa: SLF001  # torch has no public way to see them
    owners = (getattr(hook, "__self__", None) for hook in hooks)
    return next((owner for owner in owners if isinstance(owner, Adapter) and owner.one_by_one), None)


def round_stochastically(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Round float32 to bfloat16, up or down at random, so that the expected result is the value itself.

    A bfloat16 is the upper half of a float32: a random number is added to the lower half, and a carry rounds up.
    Infinity and NaN do not change.
    """
    noise = torch.randint(1 << 16, values.shape, dtype=torch.int32, device=values.device, generator=generator)
    noisy = noise.add_(values.view(torch.int32)).bitwise_and_(-(1 << 16)).view(torch.float32)
    return torch.where(values.isfinite(), noisy, values).to(torch.bfloat16)


def round_and_keep_rest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round float32 to the nearest bfloat16; return the result and the rounding error, which is in bfloat16 too.

    Their sum is the value to about 16 bits. The error is exact up to its own rounding, and 0 for infinity and NaN.
    """
    rounded = values.to(torch.bfloat16)
    rest = torch.where(rounded.isfinite(), values - rounded.float(), 0.0)
    return rounded, rest.to(torch.bfloat16)


def clip_to_percentile(
    gradient: torch.Tensor,
    norms: torch.Tensor | None,
    percentile: int,
    scale: torch.Tensor | None = None,
    found_inf: torch.Tensor | None = None,
) -> torch.Tensor:
    """Scale a gradient down, in place, to a percentile of the norms so far, its own included, without waiting for the device.

    Args:
        gradient: of one tensor.
        norms: result of the last call for this tensor; None at the first call, where all norms count as the first one.
        percentile: from 1 to 99; the limit is the norm at this index of the sorted 100.
        scale: number by which a GradScaler has multiplied the gradient and which the step divides by itself, or None. The
            norms are those without it.
        found_inf: flag of such a step: if it is not 0, the step does nothing, and the norm does not count.

    Returns:
        The last 100 norms, oldest first, in float32 or better. They are NaN while no norm has counted.
    """
    norm = torch.linalg.vector_norm(gradient, dtype=torch.promote_types(gradient.dtype, torch.float32))
    if scale is not None:
        norm = norm / scale.to(norm.device, non_blocking=True)
    if found_inf is None:
        new = norm.repeat(PAST_NORMS) if norms is None else torch.cat((norms[1:], norm.reshape(1)))
        old = None
    else:
        old = norm.new_full((PAST_NORMS,), torch.nan) if norms is None else norms
        new = torch.where(old.isnan().all(), norm, torch.cat((old[1:], norm.reshape(1))))
    limit = new.sort().values[percentile]
    gradient.mul_(torch.where(norm > limit, limit / norm, 1.0))
    if found_inf is None or old is None:
        return new
    return torch.where(found_inf.to(norm.device, non_blocking=True) > 0, old, new)


class Adapter:
    """Hooks of one optimizer."""

    def __init__(self, optimizer: Optimizer, *, fused: bool, rounding: Rounding, percentile: int) -> None:
        self._optimizer = optimizer
        self._rounding = rounding
        self._percentile = percentile
        self.one_by_one = fused or rounding != "none"
        """True when each tensor is stepped alone."""
        self.fused = fused
        """True when tensors are stepped, and their gradients freed, inside backward."""
        self.on_begin: list[Callable[[], None]] = []
        """Functions called when a step begins, before the first of its tensors moves."""
        self._lock = threading.Lock()
        """Lock around each step of a tensor, since backward has a thread per device."""
        self._within = False
        """True during a step that this adapter makes for one tensor."""
        self._groups: list[_Group] = []
        """Groups of the optimizer, while others replace them."""
        self._own: dict[torch.Tensor, dict[str, Any]] = {}
        """Entries of this module by tensor, taken out of the states during a step so that the back end does not see them."""
        self._stepped: set[torch.Tensor] = set()
        self._moved: dict[int, _Group] = {}
        """Values that a step of one tensor wrote into its group, such as a count of steps, by the group's index."""
        self._saved: dict[str, Any] = {}
        self._scalers = GradScalers(optimizer) if fused else None
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)
        optimizer.register_load_state_dict_pre_hook(self._before_load)
        optimizer.register_load_state_dict_post_hook(self._after_load)
        if fused:
            for number, index, p in self._tensors():
                if p.requires_grad:
                    hook = partial(self._in_backward, number, index)
                    p.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]  # torch's own omission

    @property
    def within(self) -> bool:
        """True during the step of one tensor alone."""
        return self._within

    def _tensors(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Yield each tensor with its number and the index of its group."""
        pairs = ((index, p) for index, group in enumerate(self._optimizer.param_groups) for p in group["params"])
        for number, (index, p) in enumerate(pairs):
            yield number, index, p

    # ------------------------------------------------------------------------------------------------ steps

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._within:
            return
        if any(callable(value) for value in (*args[1:], *kwargs.values())):
            raise ValueError("with these options step() takes no closure; call backward() before step()")
        if not self.one_by_one:
            for _, _, p in self._tensors():
                if p.grad is not None:
                    self._begin(p)
            return
        if self._scalers is not None:
            self._scalers.check()
        for number, index, p in self._tensors():
            if p.grad is not None:
                self._step(number, index, p)
        self._groups = optimizer.param_groups
        optimizer.param_groups = [{**group, "params": []} for group in self._groups]

    def _after(self, optimizer: Optimizer, *_: object) -> None:
        if self._within:
            return
        if not self.one_by_one:
            for p in list(self._own):
                self._end(p)
            return
        optimizer.param_groups = self._groups
        for index, moved in self._moved.items():
            optimizer.param_groups[index].update(moved)
        self._moved = {}
        self._stepped = set()

    def _in_backward(self, number: int, index: int, p: torch.Tensor) -> None:
        if p in self._stepped:
            raise RuntimeError(
                "fused_back_pass has already stepped this tensor. Call optimizer.step() after each backward(); to "
                "accumulate gradients over several, turn fused_back_pass off"
            )
        if self._scalers is not None and self._scalers.may_scale():
            return  # its gradient waits for `step`
        self._step(number, index, p)
        p.grad = None

    @torch.no_grad()
    def _step(self, number: int, index: int, p: torch.Tensor) -> None:
        """Step one tensor alone."""
        with self._lock:
            if not self._stepped:
                for callback in self.on_begin:
                    callback()
            self._stepped.add(p)
            self._begin(p)
            if self._rounding != "none" and p.dtype is torch.bfloat16:
                own = self._own[p]
                with self._in_float32(p, own.get(_LOST)) as exact:
                    self._step_alone(index, exact)
                if self._rounding == "random":
                    own[_ROUNDINGS] = own.get(_ROUNDINGS, 0) + 1
                    generator = torch.Generator(p.device).manual_seed(mix(number, own[_ROUNDINGS]))
                    rounded = round_stochastically(exact, generator)
                else:
                    rounded, own[_LOST] = round_and_keep_rest(exact)
                p.copy_(rounded)
            else:
                self._step_alone(index, p)
            self._end(p)

    @contextlib.contextmanager
    def _in_float32(self, p: torch.Tensor, lost: torch.Tensor | None) -> Iterator[torch.Tensor]:
        """Yield a float32 copy of the tensor and its gradient, with the rounding error added; the copy has the state meanwhile."""
        state = self._optimizer.state
        exact = torch.nn.Parameter(p.float() if lost is None else p.float() + lost.float())
        exact.grad = None if p.grad is None else p.grad.float()
        if p in state:
            state[exact] = state.pop(p)
        try:
            yield exact
        finally:
            if exact in state:
                state[p] = state.pop(exact)

    def _step_alone(self, index: int, p: torch.Tensor) -> None:
        """Let the back end step one tensor, with the values of its group from before this step."""
        optimizer, groups = self._optimizer, self._optimizer.param_groups
        group = groups[index]
        alone = {**group, "params": [p]}
        optimizer.param_groups = [alone]
        self._within = True
        try:
            type(optimizer).step(optimizer)  # the optimizer's own `step` is the scheduler's, which counts calls
        finally:
            optimizer.param_groups = groups
            self._within = False
        self._moved[index] = {
            name: value
            for name, value in alone.items()
            if name != "params" and (name not in group or value is not group[name])
        }

    def _begin(self, p: torch.Tensor) -> None:
        """Take this module's entries out of the state, since back ends initialise only an empty state; then clip the gradient."""
        state = self._optimizer.state.get(p, {})
        own = self._own[p] = {name: state.pop(name) for name in (_NORMS, _ROUNDINGS, _LOST) if name in state}
        if self._percentile < 100 and p.grad is not None:
            with torch.no_grad():
                by_scaler = (getattr(self._optimizer, name, None) for name in ("grad_scale", "found_inf"))
                own[_NORMS] = clip_to_percentile(p.grad, own.get(_NORMS), self._percentile, *by_scaler)

    def _end(self, p: torch.Tensor) -> None:
        if own := self._own.pop(p):
            self._optimizer.state[p].update(own)

    # ------------------------------------------------------------------------------------------------ saved states

    def _before_load(self, _: Optimizer, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict

    def _after_load(self, optimizer: Optimizer) -> None:
        """Restore the precision that the states were saved in: torch has cast them to that of their weights."""
        saved, self._saved = self._saved, {}
        keys = [key for group in saved["param_groups"] for key in group["params"]]
        for key, (_, _, p) in zip(keys, self._tensors(), strict=True):
            loaded = optimizer.state.get(p, {})
            for name, value in saved["state"].get(key, {}).items():
                loaded[name] = _as_saved(value, loaded[name], p.device)


def _as_saved(saved: Any, loaded: Any, device: torch.device) -> Any:  # Any: whatever a back end keeps in a state
    """Return a loaded entry with its tensors, and those in a list (SOAP), in the precision that they were saved in."""
    if isinstance(saved, torch.Tensor):
        return saved.to(device, copy=True) if saved.dtype != loaded.dtype else loaded
    if isinstance(saved, list):
        return [_as_saved(part, own, device) for part, own in zip(saved, loaded, strict=True)]
    return loaded
