"""Shapes only: steps of real optimizers on tensors that have a shape but no memory."""

from __future__ import annotations

import contextlib
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

_OPERATOR = type(torch.ops.aten.add)
_READ_VALUE = torch.ops.aten._local_scalar_dense.default  # noqa: SLF001  # item() and bool() call it; it has no public name


@contextlib.contextmanager
def shapes_only(most: float = math.inf) -> Iterator[ShapesOnly]:
    """Enter a context in which torch's tensors take no memory, and code that reads a value gets a made-up one.

    After `most` operations the next one raises `TooLong`. The context changes nothing outside it, no other thread, and
    not the state of torch's random numbers.
    """
    with contextlib.ExitStack() as entered:
        entered.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # for example about the device, on which nothing runs
        if hasattr(torch.compiler, "set_stance"):  # compiled code would read memory that does not exist
            entered.enter_context(torch.compiler.set_stance("force_eager"))
        entered.enter_context(_tables_restored())
        entered.enter_context(_PlainNumbers())
        yield entered.enter_context(ShapesOnly(most))


@contextlib.contextmanager
def _tables_restored() -> Iterator[None]:
    """Remove the tables that bitsandbytes caches in this context, since they have no memory."""
    tables = getattr(sys.modules.get("bitsandbytes.functional"), "name2qmap", {})
    before = set(tables)
    try:
        yield
    finally:
        for name in set(tables) - before:
            del tables[name]


class TooLong(RuntimeError):
    """Error of a step that needs more operations than allowed."""


class ShapesOnly(FakeTensorMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """FakeTensorMode that also allows code to read values (`item`, `if tensor:`), as most optimizer steps do.

    Every number is 1 and every boolean is true, except that `any` of a tensor in `zeros` is false.
    """

    def __init__(self, most: float = math.inf) -> None:
        super().__init__(allow_non_fake_inputs=True)  # a table that a package keeps may be among them
        self.left = most
        """Number of operations that may still follow."""
        self.zeros: Sequence[torch.Tensor] = ()
        """Tensors whose values are all 0."""

    def __torch_dispatch__(  # Any: whatever an operator takes and gives
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self.left -= 1
        if self.left < 0:
            raise TooLong("its step takes too many operations")
        if func is _READ_VALUE and args[0].constant is None:
            dtype = args[0].dtype
            return True if dtype is torch.bool else 1.0 if dtype.is_floating_point else 1
        if func is torch.ops.aten.any.default and any(args[0] is zero for zero in self.zeros):
            with self:
                return torch.tensor(False)  # a constant: values computed from it are known as well
        return super().__torch_dispatch__(func, types, args, kwargs)


class _PlainNumbers(TorchFunctionMode):
    """Replace tensors of one value by numbers for bitsandbytes' operators, which would read their memory."""

    def __torch_function__(  # Any: whatever a function takes and gives
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if isinstance(func, _OPERATOR):
            parameters = func.default._schema.arguments  # noqa: SLF001  # nothing public has the types
            args = [
                1.0 if isinstance(value, FakeTensor) and parameter.type.kind() == "FloatType" else value
                for value, parameter in zip(args, parameters, strict=False)
            ]
        return func(*args, **(kwargs or {}))


def storage_key(storage: torch.UntypedStorage) -> object:
    """Return a key for a storage without an address, equal for the same storage as long as it lives."""
    return StorageWeakRef(storage)  # type: ignore[no-untyped-call]
