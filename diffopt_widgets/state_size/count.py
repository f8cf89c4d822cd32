"""Count of the state that an optimizer will keep, before anything is trained."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch._subclasses.fake_tensor import FakeTensor

from diffopt_widgets.catalogue.hidden_layers import hidden_by_itself, named_hidden, pieces
from diffopt_widgets.catalogue.precision import PRECISIONS
from diffopt_widgets.optimizers.factory import build_optimizer, load_class
from diffopt_widgets.optimizers.printing import kept_printing
from diffopt_widgets.settings import Fault, Settings, SettingsError, as_settings
from diffopt_widgets.state_size.measured import tensors_in
from diffopt_widgets.state_size.models import Tensor, Tensors, find_model, full_tensors, lora_tensors
from diffopt_widgets.state_size.shapes_only import TooLong, shapes_only, storage_key
from diffopt_widgets.state_size.words import depends_on_names

if TYPE_CHECKING:
    from torch.optim import Optimizer

_REPEATS = ("k", "ns_steps")
"""Numbers of AIDA's projections and Muon's iterations within one step; they do not change the state."""

OWN_PRECISIONS = (*PRECISIONS, "float16", "float64")
"""Precisions that the weights of a model may have."""

NamedShape: TypeAlias = tuple[str, Sequence[int] | torch.Tensor]
Shapes: TypeAlias = (
    str
    | torch.nn.Module
    | Mapping[str, Sequence[int] | torch.Tensor]
    | Mapping[Sequence[int], int]
    | Iterable[NamedShape]
    | Iterable[Sequence[int]]
)
"""The name of a known model; a model; shapes or tensors by name; the number of parameters by shape; names with shapes or
tensors; or shapes."""


def memory(
    settings: Settings | str,
    shapes: Shapes,
    *,
    lora: int | None = None,
    layers: str = "attention",
    dtype: str | None = None,
) -> int:
    """Return the bytes of state that the optimizer will keep for these weights, exactly as `state_bytes` measures them.

    The real optimizer takes one real step, on tensors that have a shape but no memory, so a model of any size takes at
    most a few seconds. If the state depends on values, weights of which only the shape is known count as not all zero,
    except the second factors of a `lora`.

    Muon's family keeps less for hidden layers, which it chooses by their names. Give it a model or named shapes. For shapes
    without names the bytes are those of an optimizer that is built from tensors without names, and a warning says between
    which numbers they lie with names.

    Args:
        settings: the optimizer with its options, or its name.
        shapes: a model, of which the weights that are trained (`requires_grad`) count; shapes by name, or pairs of a name
            and a shape, where a tensor may stand for its shape (`model.named_parameters()`; a tensor with two names counts
            once, and if any is trained, only those count); shapes without names, or the number of parameters by shape; or
            the name of a known model (`"sd15"`, `"sdxl"`, `"flux"`: the UNet or transformer, without text encoders).
        lora: for a known model: the rank of a LoRA that is trained instead of all weights.
        layers: layers that have LoRA factors: `"attention"`, `"blocks"` (whole transformer blocks) or `"all"`.
        dtype: precision of the weights, `"float32"` or `"bfloat16"`. By default that of each tensor that is given, and
            float32 for those of which only the shape is known.

    Raises:
        SettingsError: an argument makes no sense, or the optimizer cannot step with these settings.
        MissingBackend: its package is not installed.

    >>> memory(Settings("ADAM_8BIT"), [(1024, 1024), (64,)])  # small tensors keep 32 bits
    2132480
    >>> round(memory(Settings("PRODIGY"), "sdxl", lora=64) / 1e9, 1)
    1.3
    >>> memory(Settings("MUON"), torch.nn.Sequential(torch.nn.Embedding(10, 8), torch.nn.Linear(8, 8)))
    640
    """
    settings = as_settings(settings)
    if dtype is not None and (not isinstance(dtype, str) or dtype not in PRECISIONS):
        raise _fault("dtype", dtype, "weights are not counted in this precision", " or ".join(PRECISIONS))
    tensors = read_shapes(shapes, lora, layers)
    if dtype is not None:
        tensors = _summed((tensor._replace(dtype=""), count) for tensor, count in tensors.items())
    size = tensors_memory(settings, tensors, dtype or "float32")
    if depends_on_names(settings) and not all(tensor.name for tensor in tensors):
        _warn_of_names(settings, tensors, dtype or "float32", size)
    return size


def _warn_of_names(settings: Settings, tensors: Tensors, dtype: str, size: int) -> None:
    """Warn that the size depends on names that are not known, with the smallest and the largest that it can be."""
    with_adam = _summed((tensor._replace(name="embed"), count) for tensor, count in tensors.items())
    ends = sorted((size, tensors_memory(settings, with_adam, dtype)))
    if ends[0] < ends[1]:
        words = (
            f"{settings.optimizer} chooses the layers for Muon by their names, and these shapes have none: it keeps "
            f"{ends[0]:,} to {ends[1]:,} bytes. Give the model itself, or shapes by name."
        )
        warnings.warn(words, stacklevel=3)


def tensors_memory(settings: Settings, tensors: Tensors, dtype: str = "float32", *, most: float = math.inf) -> int:
    """Count as `memory` does, for tensors that may have names and start at zero.

    Raises:
        SettingsError: the optimizer cannot step with these settings, or its step takes more than `most` operations.
        MissingBackend: its package is not installed.
    """
    load_class(settings.spec)  # first: tensors that a package makes at import must have memory
    kinds, kept = _kinds(settings, tensors, dtype)
    count = _total if settings.spec.catalogued else _total.__wrapped__  # another class may change under the same name
    return kept + count(settings, tuple(kinds.items()), most)


@lru_cache(maxsize=4096)
def _total(settings: Settings, tensors: tuple[tuple[Tensor, int], ...], most: float) -> int:
    """Return the bytes for a number of tensors of each kind."""
    # Two tensors of each kind: each further one adds as much as the second one. Tables that all share count once.
    kinds = [tensor for tensor, count in tensors for _ in range(min(count, 2))]
    counts = dict(tensors)
    try:
        own, shared = _sizes_after_a_step(_plain(settings), kinds, most)
    except SettingsError:
        raise
    except TooLong as error:
        todo = "memory(settings, shapes) takes as long as it needs."
        raise _fault(settings.optimizer, None, f"its state is not counted here: {error}", "", todo) from error
    except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise _fault(settings.optimizer, None, f"its state cannot be counted, since a step fails: {error}") from error
    total = shared
    seen: set[Tensor] = set()
    for kind, size in zip(kinds, own, strict=True):
        total += size * (counts[kind] - 1 if kind in seen else 1)
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
            "lora",
            lora,
            "the layers of these are not known",
            "",
            "Give the shapes of the LoRA's own tensors, or the model with it.",
        )
    if isinstance(shapes, torch.nn.Module):
        entries: list[Any] = [(name, p) for name, p in shapes.named_parameters() if p.requires_grad]
        if not entries:
            raise _fault("shapes", None, "no weight of this model is trained (requires_grad)")
        return _summed((_tensor(tensor, name), 1) for name, tensor in entries)
    try:
        entries = list(shapes.items()) if isinstance(shapes, Mapping) else list(shapes)
    except TypeError:
        raise _fault("shapes", shapes, "these are not shapes", _ALLOWED) from None
    if not entries:
        raise _fault("shapes", None, "there are none", "at least one shape")
    if all(_is_pair(entry) for entry in entries):
        return _summed((_tensor(described, name), 1) for name, described in _trained(entries))
    if isinstance(shapes, Mapping):
        return _summed((_tensor(shape), _whole(count, f"the count of {shape}", 1)) for shape, count in entries)
    return _summed((_tensor(shape), 1) for shape in entries)


_ALLOWED = "a model, or shapes such as [(640, 640), (640,)] or {'blocks.0.weight': (640, 640)}"


def _summed(counts: Iterable[tuple[Tensor, int]]) -> Counter[Tensor]:
    """Return the number of tensors of each kind, each of which may come several times."""
    summed: Counter[Tensor] = Counter()
    for tensor, count in counts:
        summed[tensor] += count
    return summed


def _is_pair(entry: object) -> bool:
    """Return whether an entry is a name with a shape or a tensor."""
    return isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)


def _trained(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Leave out frozen tensors where there are trained ones, and a tensor that comes again under a further name."""
    pairs = list(pairs)
    some = any(isinstance(described, torch.Tensor) and described.requires_grad for _, described in pairs)
    kept: list[tuple[str, Any]] = []
    seen: set[int] = set()
    for name, described in pairs:
        if isinstance(described, torch.Tensor):
            if id(described) in seen or (some and not described.requires_grad):
                continue
            seen.add(id(described))
        kept.append((name, described))
    return kept


def _tensor(described: object, name: str = "") -> Tensor:
    """Read a shape, or a tensor that has a name."""
    if not isinstance(described, torch.Tensor):
        return Tensor(_shape(described), name=name)
    if not name:
        todo = "Give the model itself, or [p.shape for p in model.parameters()]."
        raise _fault("shapes", None, "this is a tensor without a name, not a shape", "", todo)
    if torch.nn.parameter.is_lazy(described):
        todo = "Give the model one batch first, so that its layers get their sizes."
        raise _fault("shapes", None, f"{name} has no shape yet", "", todo)
    dtype = str(described.dtype).removeprefix("torch.")
    if dtype not in OWN_PRECISIONS:
        raise _fault(
            "shapes", None, f"{name} is in {dtype}, in which no weight is trained", "", "Freeze or convert it."
        )
    known = not described.is_meta and not isinstance(described, FakeTensor)
    zero = known and not bool(described.detach().any())
    return Tensor(tuple(described.shape), zero=zero, name=name, dtype=dtype)


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise _fault("shapes", shape, "this is not a shape", _ALLOWED)
    return tuple(_whole(size, f"a size in {shape}", 0) for size in shape)


def _whole(value: object, what: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _fault("shapes", value, f"{what} must be a whole number from {least}")
    return value


def _kinds(settings: Settings, tensors: Tensors, dtype: str) -> tuple[Tensors, int]:
    """Return one tensor for each kind that the optimizer treats alike, with their number, and bytes that come on top."""
    options = settings.options
    around = settings.spec.adapter_options(options)
    exact = bool(around.keys() & {"stochastic_rounding", "kahan_summation"})
    by_name = "muon_hidden_layers" in options
    named = pieces(options.get("muon_hidden_layers"))
    expressions = options.get("muon_adam_regex") is True
    kinds: Counter[Tensor] = Counter()
    first: dict[Hashable, Tensor] = {}
    kept = 0
    for tensor, count in tensors.items():
        own = tensor.dtype or dtype
        if exact and own == "bfloat16":  # stepped as a copy in 32 bits, and so are its states
            own = "float32"
            kept += 2 * math.prod(tensor.shape) * count if around.get("kahan_summation") else 0
        layer: tuple[bool, ...] = ()
        if by_name:  # the optimizer refuses a part of a name that no tensor has, so each part must occur
            layer = tuple(named_hidden(tensor.name, piece, expressions=expressions) for piece in named)
            layer = (hidden_by_itself(tensor.name, tensor.shape), *layer)
        key = (tensor.shape, tensor.zero, own, layer)
        if key not in first:
            first[key] = tensor._replace(dtype=own, name=tensor.name if by_name else "")
        kinds[first[key]] += count
    return kinds, kept


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


def _sizes_after_a_step(settings: Settings, kinds: Sequence[Tensor], most: float) -> tuple[list[int], int]:
    with shapes_only(most) as mode, kept_printing():
        params = [torch.nn.Parameter(torch.empty(kind.shape, dtype=getattr(torch, kind.dtype))) for kind in kinds]
        mode.zeros = [param for param, kind in zip(params, kinds, strict=True) if kind.zero]
        names = [kind.name for kind in kinds]
        if not any(names) and settings.options.get("muon_hidden_layers") is None:
            names = ["unnamed"] * len(kinds)  # chosen by shape alone, as without names, and nothing is logged
        optimizer = build_optimizer(settings, list(zip(names, params, strict=True)) if any(names) else params)
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
