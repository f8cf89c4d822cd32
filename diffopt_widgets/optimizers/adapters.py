"""Options that no back end takes: done around the step of any optimizer that steps each tensor on its own.

`adapt` hangs them on an optimizer that is there already, by torch's own hooks: it stays the back end's class, with its
groups, its state and its schedule.

* Fused back pass: each tensor is stepped as soon as backward has its gradient, which is then freed (as in torch's tutorial
  "How to save memory by fusing the optimizer step into the backward pass"). `step()` only closes the step.
* Stochastic rounding: a tensor in bfloat16 is stepped as a copy in float32, which is rounded back up or down at random,
  in proportion to how near either neighbour is. Random bits depend on the tensor's place and on how often it was stepped
  alone; torch's global generators are left as they are.
* Kahan summation: a tensor in bfloat16 is stepped as a copy in float32, which is rounded to the nearest bfloat16; what
  rounding took away is kept, in bfloat16 too, and added to the copy of the next step (Kahan, "Further remarks on reducing
  truncation errors", 1965; for weights: Zamirai et al., "Revisiting BFloat16 Training", 2020).
* Percentile clipping, as bitsandbytes did it before version 0.50: a gradient is scaled down to a percentile of the last
  100 gradient norms of its tensor.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from diffopt_widgets.tasks.seeds import mix

if TYPE_CHECKING:
    from torch.optim import Optimizer

PAST_NORMS = 100
"""How many gradient norms percentile clipping looks back on."""
_NORMS, _ROUNDINGS, _LOST = "gnorm_vec", "roundings", "kahan_compensation"
"""Entries of ours in a tensor's state; the first is bitsandbytes' name, which it still spares when it loads a state."""

Rounding: TypeAlias = Literal["none", "random", "kahan"]
"""Way from a step in float32 to bfloat16: none (the back end steps in bfloat16), at random, or with the rest kept."""
_Group: TypeAlias = dict[str, Any]  # Any: torch's own type of a parameter group


def adapt(
    optimizer: Optimizer,
    *,
    fused_back_pass: bool = False,
    stochastic_rounding: bool = False,
    kahan_summation: bool = False,
    percentile_clipping: int = 100,
) -> None:
    """Give an optimizer options that its package does not have. Once per optimizer, after it is built.

    The optimizer must step each tensor on its own, as `OptimizerSpec.steps_each_tensor` says. `copy.deepcopy` and pickle
    make an optimizer without these options, as they leave out all hooks.

    Args:
        optimizer: changed in place.
        fused_back_pass: step inside backward. One backward per step; nothing can look at all gradients together, such as
            clipping their common norm, or exchange them between processes after backward.
        stochastic_rounding: of parameters in bfloat16; others are stepped as ever. State tensors are those that the
            back end keeps for float32 weights.
        kahan_summation: of parameters in bfloat16, likewise; not together with stochastic rounding. It keeps one more tensor
            like the parameter, and counts updates down to about a thousandth of the spacing of bfloat16.
        percentile_clipping: from 1 to 99; 100 is off.

    Raises:
        ValueError: nothing is in bfloat16 that could be rounded, both ways to round are asked for, or the percentile is out
            of range.

    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> adapt(optimizer, fused_back_pass=True)
    >>> weight.sum().backward()
    >>> weight.tolist(), weight.grad
    ([0.8999999761581421, 0.8999999761581421, 0.8999999761581421], None)
    >>> optimizer.step()  # closes the step: what it would have done is done
    """
    if not 1 <= percentile_clipping <= 100:
        raise ValueError(f"percentile_clipping is {percentile_clipping}; it goes from 1 to 100")
    params = [p for group in optimizer.param_groups for p in group["params"]]
    if stochastic_rounding and kahan_summation:
        raise ValueError("stochastic_rounding and kahan_summation are two ways to round; turn one of them off")
    for name, wanted in {"stochastic_rounding": stochastic_rounding, "kahan_summation": kahan_summation}.items():
        if wanted and not any(p.dtype is torch.bfloat16 for p in params):
            raise ValueError(f"{name} needs parameters in bfloat16, and none of these is")
    if fused_back_pass or stochastic_rounding or kahan_summation or percentile_clipping < 100:
        rounding: Rounding = "random" if stochastic_rounding else "kahan" if kahan_summation else "none"
        Adapter(optimizer, fused=fused_back_pass, rounding=rounding, percentile=percentile_clipping)


def adapter_of(optimizer: Optimizer) -> Adapter | None:
    """What `adapt` gave an optimizer, where that steps its tensors one by one, before its own `step` begins."""
    hooks = optimizer._optimizer_step_pre_hooks.values()  # noqa: SLF001  # torch has no public way to see them
    found = (getattr(hook, "__self__", None) for hook in hooks)
    return next((owner for owner in found if isinstance(owner, Adapter) and owner.one_by_one), None)


def round_stochastically(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Round float32 to bfloat16, up or down at random, so that the expected result is the value itself.

    A bfloat16 is the upper half of a float32: a random number is added to the lower half, and what carries over counts.
    Infinity and NaN stay what they are.
    """
    noise = torch.randint(1 << 16, values.shape, dtype=torch.int32, device=values.device, generator=generator)
    noisy = noise.add_(values.view(torch.int32)).bitwise_and_(-(1 << 16)).view(torch.float32)
    return torch.where(values.isfinite(), noisy, values).to(torch.bfloat16)


def round_and_keep_rest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round float32 to the nearest bfloat16; gives that, and what rounding took away, in bfloat16 too.

    The two together say the value to about 16 bits: the rest is exact but for its own rounding, and 0 beside infinity and NaN.
    """
    rounded = values.to(torch.bfloat16)
    rest = torch.where(rounded.isfinite(), values - rounded.float(), 0.0)
    return rounded, rest.to(torch.bfloat16)


def clip_to_percentile(gradient: torch.Tensor, norms: torch.Tensor | None, percentile: int) -> torch.Tensor:
    """Scale a gradient down, in place, to a percentile of the norms so far, its own included. No value is read back.

    Args:
        gradient: of one tensor.
        norms: what the last call for this tensor gave; None at first, when all count as the first one.
        percentile: from 1 to 99; the limit is the norm at this index of the sorted 100.

    Returns:
        The last 100 norms, oldest first, in float32 or better.
    """
    norm = torch.linalg.vector_norm(gradient, dtype=torch.promote_types(gradient.dtype, torch.float32))
    norms = norm.repeat(PAST_NORMS) if norms is None else torch.cat((norms[1:], norm.reshape(1)))
    limit = norms.sort().values[percentile]
    gradient.mul_(torch.where(norm > limit, limit / norm, 1.0))
    return norms


class Adapter:
    """The hooks of one optimizer."""

    def __init__(self, optimizer: Optimizer, *, fused: bool, rounding: Rounding, percentile: int) -> None:
        self._optimizer = optimizer
        self._rounding = rounding
        self._percentile = percentile
        self.one_by_one = fused or rounding != "none"
        """Whether tensors are stepped each alone."""
        self.fused = fused
        """Whether tensors are stepped, and their gradients freed, inside backward."""
        self.on_begin: list[Callable[[], None]] = []
        """Called when a step begins, before the first of its tensors moves."""
        self._lock = threading.Lock()
        """Backward has a thread for each device."""
        self._within = False
        """Whether the step in progress is one of our own."""
        self._groups: list[_Group] = []
        """The optimizer's groups while others stand in for them."""
        self._own: dict[torch.Tensor, dict[str, Any]] = {}
        """What we keep in the tensors' states, which a back end must not meet in its step."""
        self._stepped: set[torch.Tensor] = set()
        self._moved: dict[int, _Group] = {}
        """What a step of one tensor wrote into its group, such as a count of steps; by the group's place."""
        self._saved: dict[str, Any] = {}
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)
        optimizer.register_load_state_dict_pre_hook(self._before_load)
        optimizer.register_load_state_dict_post_hook(self._after_load)
        if fused:
            for number, place, p in self._tensors():
                if p.requires_grad:
                    hook = partial(self._in_backward, number, place)
                    p.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]  # torch's own omission

    @property
    def within(self) -> bool:
        """Whether the step in progress is that of one tensor alone."""
        return self._within

    def _tensors(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Each tensor, with its number and its group's place."""
        pairs = ((place, p) for place, group in enumerate(self._optimizer.param_groups) for p in group["params"])
        for number, (place, p) in enumerate(pairs):
            yield number, place, p

    # ------------------------------------------------------------------------------------------------ steps

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._within:
            return
        if any(callable(value) for value in (*args[1:], *kwargs.values())):
            raise ValueError("with these options step() takes no closure: call backward() before it")
        if not self.one_by_one:
            for _, _, p in self._tensors():
                if p.grad is not None:
                    self._begin(p)
            return
        for number, place, p in self._tensors():
            if p.grad is not None:
                self._step(number, place, p)
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
        for place, moved in self._moved.items():
            optimizer.param_groups[place].update(moved)
        self._moved = {}
        self._stepped = set()

    def _in_backward(self, number: int, place: int, p: torch.Tensor) -> None:
        if p in self._stepped:
            raise RuntimeError(
                "fused_back_pass has stepped this tensor already. Call optimizer.step() after each backward(); to "
                "accumulate gradients over several, turn fused_back_pass off"
            )
        self._step(number, place, p)
        p.grad = None

    @torch.no_grad()
    def _step(self, number: int, place: int, p: torch.Tensor) -> None:
        """Step one tensor alone."""
        with self._lock:
            if not self._stepped:
                for tell in self.on_begin:
                    tell()
            self._stepped.add(p)
            self._begin(p)
            if self._rounding != "none" and p.dtype is torch.bfloat16:
                own = self._own[p]
                with self._in_float32(p, own.get(_LOST)) as exact:
                    self._step_alone(place, exact)
                if self._rounding == "random":
                    own[_ROUNDINGS] = own.get(_ROUNDINGS, 0) + 1
                    generator = torch.Generator(p.device).manual_seed(mix(number, own[_ROUNDINGS]))
                    rounded = round_stochastically(exact, generator)
                else:
                    rounded, own[_LOST] = round_and_keep_rest(exact)
                p.copy_(rounded)
            else:
                self._step_alone(place, p)
            self._end(p)

    @contextlib.contextmanager
    def _in_float32(self, p: torch.Tensor, lost: torch.Tensor | None) -> Iterator[torch.Tensor]:
        """A copy of the tensor, with what it lost added, and of its gradient, that has its state meanwhile."""
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

    def _step_alone(self, place: int, p: torch.Tensor) -> None:
        """Let the back end step one tensor, from the group as it was before this step."""
        optimizer, groups = self._optimizer, self._optimizer.param_groups
        group = groups[place]
        alone = {**group, "params": [p]}
        optimizer.param_groups = [alone]
        self._within = True
        try:
            type(optimizer).step(optimizer)  # the optimizer's own `step` is the scheduler's, which counts calls
        finally:
            optimizer.param_groups = groups
            self._within = False
        self._moved[place] = {
            name: value
            for name, value in alone.items()
            if name != "params" and (name not in group or value is not group[name])
        }

    def _begin(self, p: torch.Tensor) -> None:
        """Take what is ours out of the state, since a state that is not empty counts as begun, and clip."""
        state = self._optimizer.state.get(p, {})
        own = self._own[p] = {name: state.pop(name) for name in (_NORMS, _ROUNDINGS, _LOST) if name in state}
        if self._percentile < 100 and p.grad is not None:
            with torch.no_grad():
                own[_NORMS] = clip_to_percentile(p.grad, own.get(_NORMS), self._percentile)

    def _end(self, p: torch.Tensor) -> None:
        if own := self._own.pop(p):
            self._optimizer.state[p].update(own)

    # ------------------------------------------------------------------------------------------------ saved states

    def _before_load(self, _: Optimizer, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict

    def _after_load(self, optimizer: Optimizer) -> None:
        """Give states the precision that they were saved in: torch has cast them to that of their weights."""
        saved, self._saved = self._saved, {}
        keys = [key for group in saved["param_groups"] for key in group["params"]]
        for key, (_, _, p) in zip(keys, self._tensors(), strict=True):
            loaded = optimizer.state.get(p, {})
            for name, value in saved["state"].get(key, {}).items():
                loaded[name] = _as_saved(value, loaded[name], p.device)


def _as_saved(saved: Any, loaded: Any, device: torch.device) -> Any:  # Any: whatever a back end keeps in a state
    """What was loaded, its tensors in the precision that they were saved in, also in lists of them (SOAP)."""
    if isinstance(saved, torch.Tensor):
        return saved.to(device, copy=True) if saved.dtype != loaded.dtype else loaded
    if isinstance(saved, list):
        return [_as_saved(part, own, device) for part, own in zip(saved, loaded, strict=True)]
    return loaded
