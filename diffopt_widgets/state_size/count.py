"""Count of the state that an optimizer will keep, before anything is trained."""

from __future__ import annotations

import contextlib
import io
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from diffopt_widgets.catalogue.hidden_layers import hidden_by_itself, named_hidden, pieces
from diffopt_widgets.catalogue.precision import PRECISIONS
from diffopt_widgets.optimizers.factory import build_optimizer, load_class
from diffopt_widgets.settings import Fault, Settings, SettingsError, as_settings
from diffopt_widgets.state_size.measured import tensors_in
from diffopt_widgets.state_size.models import Tensor, Tensors, find_model, full_tensors, lora_tensors
from diffopt_widgets.state_size.shapes_only import TooLong, shapes_only, storage_key

if TYPE_CHECKING:
    from torch.optim import Optimizer

_REPEATS = ("k", "ns_steps")
"""Numbers of AIDA's projections and Muon's iterations within one step; they do not change the state."""

Shapes: TypeAlias = str | Mapping[Sequence[int], int] | Iterable[Sequence[int]]
"""Shapes of parameters, or the number of parameters by shape, or the name of a known model."""


def memory(
    settings: Settings | str,
    shapes: Shapes,
    *,
    lora: int | None = None,
    layers: str = "attention",
    dtype: str = "float32",
) -> int:
    """Return the bytes of state that the optimizer will keep for parameters of these shapes, exactly as `state_bytes`.

    The real optimizer takes one real step, on tensors that have a shape but no memory, so a model of any size takes at
    most a few seconds. If the state depends on values, the weights count as not all zero, except the second factors of a
    `lora`.

    Args:
        settings: the optimizer with its options, or its name.
        shapes: shapes of the parameters; or the number of parameters by shape; or the name of a known model
            (`"sd15"`, `"sdxl"`, `"flux"`: the UNet or transformer, without text encoders).
        lora: for a known model: the rank of a LoRA that is trained instead of all weights.
        layers: layers that have LoRA factors: `"attention"`, `"blocks"` (whole transformer blocks) or `"all"`.
        dtype: precision of the weights, `"float32"` or `"bfloat16"`.

    Raises:
        SettingsError: an argument makes no sense, or the optimizer cannot step with these settings.
        MissingBackend: its package is not installed.

    >>> memory(Settings("ADAM_8BIT"), [(1024, 1024), (64,)])  # small tensors keep 32 bits
    2132480
    >>> round(memory(Settings("PRODIGY"), "sdxl", lora=64) / 1e9, 1)
    1.3
    """
    settings = as_settings(settings)
    if not isinstance(dtype, str) or dtype not in PRECISIONS:
        raise _fault("dtype", dtype, "weights are not counted in this precision", " or ".join(PRECISIONS))
    return tensors_memory(settings, read_shapes(shapes, lora, layers), dtype)


def tensors_memory(settings: Settings, tensors: Tensors, dtype: str = "float32", *, most: float = math.inf) -> int:
    """Count as `memory` does, for tensors that may have names and start at zero.

    Raises:
        SettingsError: the optimizer cannot step with these settings, or its step takes more than `most` operations.
        MissingBackend: its package is not installed.
    """
    options = settings.spec.adapter_options(settings.options)
    kept = 0
    if options.get("kahan_summation") and dtype == "bfloat16":
        kept = sum(2 * math.prod(tensor.shape) * count for tensor, count in tensors.items())
    if options.keys() & {"stochastic_rounding", "kahan_summation"}:
        dtype = "float32"  # each tensor is stepped as a copy in 32 bits, and so are its states
    tensors = _kinds(settings, tensors)
    # Two tensors of each kind: each further one adds as much as the second one. Tables that all share count once.
    kinds = [tensor for tensor, count in tensors.items() for _ in range(min(count, 2))]
    try:
        own, shared = _sizes_after_a_step(_plain(settings), kinds, getattr(torch, dtype), most)
    except SettingsError:
        raise
    except TooLong as error:
        todo = "memory(settings, shapes) takes as long as it needs."
        raise _fault(settings.optimizer, None, f"its state is not counted here: {error}", "", todo) from error
    except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise _fault(settings.optimizer, None, f"its state cannot be counted, since a step fails: {error}") from error
    total = shared + kept
    seen: set[Tensor] = set()
    for kind, size in zip(kinds, own, strict=True):
        total += size * (tensors[kind] - 1 if kind in seen else 1)
        seen.add(kind)
    return total


def read_shapes(shapes: Shapes, lora: int | None = None, layers: str = "attention") -> Tensors:
    """Read shapes in any form that `memory` takes, and count them.

    Raises:
        SettingsError: they are not shapes.

    >>> [(tensor.shape, count) for tensor, count in read_shapes([(4, 3), (4, 3), (4,)]).items()]
    [((4, 3), 2), ((4,), 1)]
    """
    if isinstance(shapes, str):
        try:
            model = find_model(shapes)
            return full_tensors(model) if lora is None else lora_tensors(model, lora, layers)
        except (KeyError, ValueError) as error:
            raise _fault("lora" if isinstance(error, ValueError) else "shapes", None, error.args[0]) from None
    if lora is not None:
        raise _fault(
            "lora", lora, "the layers of shapes are not known", "", "Give the shapes of the LoRA's own tensors."
        )
    try:
        pairs = list(shapes.items()) if isinstance(shapes, Mapping) else [(shape, 1) for shape in shapes]
    except TypeError:
        raise _fault("shapes", shapes, "these are not shapes", "shapes such as [(640, 640), (640,)]") from None
    counts: Counter[Tensor] = Counter()
    for shape, count in pairs:
        counts[Tensor(_shape(shape))] += _whole(count, f"the count of {shape}", 1)
    if not counts:
        raise _fault("shapes", None, "there are none", "at least one shape")
    return counts


def _shape(shape: object) -> tuple[int, ...]:
    if isinstance(shape, torch.Tensor):
        todo = "Give shapes: [p.shape for p in model.parameters()]."
        raise _fault("shapes", None, "this is a tensor, not its shape", "", todo)
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise _fault("shapes", shape, "this is not a shape", "shapes such as [(640, 640), (640,)]")
    return tuple(_whole(size, f"a size in {shape}", 0) for size in shape)


def _whole(value: object, what: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _fault("shapes", value, f"{what} must be a whole number from {least}")
    return value


def _kinds(settings: Settings, tensors: Tensors) -> Tensors:
    """Return one tensor for each kind that the optimizer treats alike, with their number."""
    options = settings.options
    by_name = "muon_hidden_layers" in options
    named = pieces(options.get("muon_hidden_layers"))
    expressions = options.get("muon_adam_regex") is True
    kinds: Counter[Tensor] = Counter()
    first: dict[Hashable, Tensor] = {}
    for tensor, count in tensors.items():
        layer: tuple[bool, ...] = ()
        if by_name:  # the optimizer refuses a part of a name that no tensor has, so each part must occur
            layer = tuple(named_hidden(tensor.name, piece, expressions=expressions) for piece in named)
            layer = (hidden_by_itself(tensor.name, tensor.shape), *layer)
        kinds[first.setdefault((tensor.shape, tensor.zero, layer), tensor)] += count
    return kinds


def _plain(settings: Settings) -> Settings:
    """Remove options that change how a step is done but not its state: those that need a device, write, or step elsewhere."""
    changes: dict[str, Any] = {use.name: use.default for use in settings.spec.uses if use.requires}
    quiet = {"fused_back_pass": False, "log_every": 0}
    changes |= {name: value for name, value in quiet.items() if name in settings.options}
    if settings.spec.catalogued:
        for name in _REPEATS:
            if isinstance(repeated := settings.options.get(name), int):
                changes[name] = min(repeated, 1)
        changes |= {name: False for name in ("accelerated_ns",) if name in settings.options}  # asks for ten repeats
    return settings.replace(**changes)


def _sizes_after_a_step(
    settings: Settings, kinds: Sequence[Tensor], dtype: torch.dtype, most: float
) -> tuple[list[int], int]:
    load_class(settings.spec)  # first: tensors that a package makes at import must have memory
    with shapes_only(most) as mode, contextlib.redirect_stdout(io.StringIO()):
        params = [torch.nn.Parameter(torch.empty(kind.shape, dtype=dtype)) for kind in kinds]
        mode.zeros = [param for param, kind in zip(params, kinds, strict=True) if kind.zero]
        names = [kind.name for kind in kinds]
        optimizer = build_optimizer(settings, list(zip(names, params, strict=True)) if all(names) else params)
        for param in params:
            param.grad = torch.empty_like(param)
        if callable(train := getattr(optimizer, "train", None)):  # schedule-free optimizers need it before a step
            train()
        optimizer.step()
        return _sizes(optimizer, params)


def _sizes(optimizer: Optimizer, params: Sequence[torch.nn.Parameter]) -> tuple[list[int], int]:
    """Return the bytes that belong to each parameter alone, and those that belong to several parameters or to none."""
    bytes_of: dict[object, int] = {}
    owners: dict[object, set[int]] = {}
    places: dict[object, int] = {param: index for index, param in enumerate(params)}
    for owner, state in optimizer.state.items():
        for tensor in tensors_in(state):
            storage = tensor.untyped_storage()
            key = storage_key(storage)
            bytes_of[key] = storage.nbytes()
            owners.setdefault(key, set()).add(places.get(owner, -1))
    own = [0] * len(params)
    shared = 0
    for key, size in bytes_of.items():
        places_of = owners[key]
        if len(places_of) == 1 and (place := next(iter(places_of))) >= 0:
            own[place] += size
        else:
            shared += size
    return own, shared


def _fault(option: str, value: object, problem: str, allowed: str = "", todo: str = "") -> SettingsError:
    return SettingsError((Fault(option, value, problem, allowed, todo),))
