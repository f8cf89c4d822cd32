"""Steps of real optimizers on tensors that have a shape and no memory."""

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
_LOOK = torch.ops.aten._local_scalar_dense.default  # noqa: SLF001  # what item() and bool() come to; it has no other name


@contextlib.contextmanager
def shapes_only(most: float = math.inf) -> Iterator[ShapesOnly]:
    """A context in which what torch makes takes no memory, and code that asks for a value is given one.

    After `most` operations the next one raises `TooLong`.

    Nothing outside of it and no other thread is touched, and torch's random numbers stay where they are.
    """
    with contextlib.ExitStack() as entered:
        entered.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # about the device, say: nothing runs on it
        if hasattr(torch.compiler, "set_stance"):  # compiled code would read memory that is not there
            entered.enter_context(torch.compiler.set_stance("force_eager"))
        entered.enter_context(_tables_kept())
        entered.enter_context(_PlainNumbers())
        yield entered.enter_context(ShapesOnly(most))


@contextlib.contextmanager
def _tables_kept() -> Iterator[None]:
    """The table that bitsandbytes makes once in a process: one made in here has no memory, and must not stay."""
    tables = getattr(sys.modules.get("bitsandbytes.functional"), "name2qmap", {})
    before = set(tables)
    try:
        yield
    finally:
        for name in set(tables) - before:
            del tables[name]


class TooLong(RuntimeError):
    """More operations were needed than were allowed."""


class ShapesOnly(FakeTensorMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Answers where torch's own FakeTensorMode raises: where code looks at a value (`item`, `if tensor:`), as in most steps.

    Every number is 1 and every truth is true, but `any` of a tensor in `zeros` is false.
    """

    def __init__(self, most: float = math.inf) -> None:
        super().__init__(allow_non_fake_inputs=True)  # a table that a package keeps may be among them
        self.left = most
        """How many operations may still follow."""
        self.zeros: Sequence[torch.Tensor] = ()
        """The tensors whose values are all 0."""

    def __torch_dispatch__(  # Any: whatever an operator takes and gives
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self.left -= 1
        if self.left < 0:
            raise TooLong("its step takes too many operations")
        if func is _LOOK and args[0].constant is None:
            dtype = args[0].dtype
            return True if dtype is torch.bool else 1.0 if dtype.is_floating_point else 1
        if func is torch.ops.aten.any.default and any(args[0] is zero for zero in self.zeros):
            with self:
                return torch.tensor(False)  # a constant: what is computed from it is known as well
        return super().__torch_dispatch__(func, types, args, kwargs)


class _PlainNumbers(TorchFunctionMode):
    """bitsandbytes' operators take numbers and are handed tensors of one value, which must have memory then."""

    def __torch_function__(  # Any: whatever a function takes and gives
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if isinstance(func, _OPERATOR):
            declared = func.default._schema.arguments  # noqa: SLF001  # nothing public tells the types
            args = [
                1.0 if isinstance(given, FakeTensor) and wanted.type.kind() == "FloatType" else given
                for given, wanted in zip(args, declared, strict=False)
            ]
        return func(*args, **(kwargs or {}))


def storage_key(storage: torch.UntypedStorage) -> object:
    """What tells storages apart where they have no address: equal for equal ones, as long as they live."""
    return StorageWeakRef(storage)  # type: ignore[no-untyped-call]
