"""CAME with its momentum in 8 bits, which no package has.

From the paper's algorithm 2 (Luo et al. 2023, https://arxiv.org/abs/2307.02047), on bitsandbytes' block-wise dynamic
quantisation (Dettmers et al. 2021, https://arxiv.org/abs/2110.02861). In 32 bits it walks the path of came-pytorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from bitsandbytes.functional import dequantize_blockwise, quantize_blockwise

BLOCK_SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
"""Block sizes that bitsandbytes can quantise with."""


class CAME8bit(torch.optim.Optimizer):
    """Confidence-guided Adafactor with its momentum, the only state of full size, in 8 bits.

    The averages of rows and columns and all states of small tensors stay in 32 bits, whatever the precision of the weights.
    A tensor of one dimension has no rows and columns: it keeps its whole squared average, and no confidence.

    Args:
        params: parameters or parameter groups, of 16 or 32 bits.
        lr: the learning rate.
        betas: decay of the momentum, of the squared gradients and of the instability.
        eps: added to the squared gradients and to the instability.
        weight_decay: multiplied by the learning rate and taken off the weights themselves.
        clip_threshold: the largest root mean square of an update before it joins the momentum.
        min_8bit_size: tensors with fewer elements keep a 32-bit momentum.
        quant_block_size: number of values that share one scale, one of `BLOCK_SIZES`.

    Raises:
        ValueError: a value is out of range.

    >>> weights = torch.nn.Parameter(torch.ones(64, 64))
    >>> optimizer = CAME8bit([weights], min_8bit_size=4096)
    >>> weights.sum().backward()
    >>> optimizer.step()
    >>> optimizer.state[weights]["exp_avg"].dtype
    torch.uint8
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 2e-4,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        eps: tuple[float, float] = (1e-30, 1e-16),
        weight_decay: float = 0.0,
        clip_threshold: float = 1.0,
        min_8bit_size: int = 16384,
        quant_block_size: int = 2048,
    ) -> None:
        _check(lr >= 0, f"lr is {lr}; it must be at least 0")
        _check(all(0 <= beta < 1 for beta in betas), f"betas are {betas}; each must lie from 0 to below 1")
        _check(all(part >= 0 for part in eps), f"eps is {eps}; both parts must be at least 0")
        _check(weight_decay >= 0, f"weight_decay is {weight_decay}; it must be at least 0")
        _check(clip_threshold > 0, f"clip_threshold is {clip_threshold}; it must be above 0")
        _check(
            quant_block_size in BLOCK_SIZES, f"quant_block_size is {quant_block_size}; it must be one of {BLOCK_SIZES}"
        )
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "clip_threshold": clip_threshold,
            "min_8bit_size": min_8bit_size,
            "quant_block_size": quant_block_size,
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; return the closure's loss, if there is a closure.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    _step_tensor(p, p.grad, self.state[p], group)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict, each tensor in its own precision: torch would cast them all to that of the weights."""
        super().load_state_dict(state_dict)
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            for p, index in zip(group["params"], saved["params"], strict=True):
                for name, value in state_dict["state"].get(index, {}).items():
                    if isinstance(value, torch.Tensor):
                        self.state[p][name] = value.detach().clone().to(p.device)


def _step_tensor(p: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if grad.is_sparse:
        raise RuntimeError("CAME8bit takes no sparse gradients")
    grad = grad.float()
    beta1, beta2, beta3 = group["betas"]
    eps_square, eps_instability = group["eps"]
    factored = grad.dim() > 1
    if not state:
        _start(
            state,
            grad,
            factored=factored,
            in_8_bits=p.numel() >= group["min_8bit_size"],
            block=group["quant_block_size"],
        )

    square = grad.square() + eps_square
    if factored:
        update = _inverse_root(state, "exp_avg_sq", square, beta2) * grad
    else:
        update = state["exp_avg_sq"].mul_(beta2).add_(square, alpha=1.0 - beta2).rsqrt() * grad
    update.div_((_rms(update) / group["clip_threshold"]).clamp_(min=1.0))

    momentum = _momentum(state).mul_(beta1).add_(update, alpha=1.0 - beta1)
    direction = momentum
    if factored:
        instability = (update - momentum).square() + eps_instability
        direction = _inverse_root(state, "exp_avg_res", instability, beta3) * momentum

    if group["weight_decay"]:
        p.sub_(p, alpha=group["weight_decay"] * group["lr"])
    p.sub_(direction * group["lr"])
    _keep(state, momentum)


def _start(state: dict[str, Any], grad: torch.Tensor, *, factored: bool, in_8_bits: bool, block: int) -> None:
    state["exp_avg"] = torch.zeros_like(grad, memory_format=torch.contiguous_format)
    if in_8_bits:
        state["exp_avg"], quantised = quantize_blockwise(state["exp_avg"], blocksize=block)
        state["absmax"] = quantised.absmax
        state["block"] = block
    if factored:
        for name in ("exp_avg_sq", "exp_avg_res"):
            state[f"{name}_row"] = grad.new_zeros(grad.shape[:-1])
            state[f"{name}_col"] = grad.new_zeros(grad.shape[:-2] + grad.shape[-1:])
    else:
        state["exp_avg_sq"] = torch.zeros_like(grad)


def _momentum(state: dict[str, Any]) -> torch.Tensor:
    """Return the momentum in 32 bits: the state itself, or its dequantised 8 bits."""
    stored: torch.Tensor = state["exp_avg"]
    if stored.dtype != torch.uint8:
        return stored
    exact: torch.Tensor = dequantize_blockwise(stored, absmax=state["absmax"], blocksize=state["block"])
    return exact


def _keep(state: dict[str, Any], momentum: torch.Tensor) -> None:
    if state["exp_avg"].dtype == torch.uint8:
        quantize_blockwise(momentum, absmax=state["absmax"], out=state["exp_avg"], blocksize=state["block"])


def _inverse_root(state: dict[str, Any], name: str, square: torch.Tensor, beta: float) -> torch.Tensor:
    """Update the averages of `square` over rows and columns; return one over the root of their combination."""
    row = state[f"{name}_row"].mul_(beta).add_(square.mean(dim=-1), alpha=1.0 - beta)
    col = state[f"{name}_col"].mul_(beta).add_(square.mean(dim=-2), alpha=1.0 - beta)
    shares = row / row.mean(dim=-1, keepdim=True)
    return torch.mul(shares.rsqrt_().unsqueeze(-1), col.unsqueeze(-2).rsqrt())


def _rms(tensor: torch.Tensor) -> torch.Tensor:
    size: torch.Tensor = tensor.norm(2) / tensor.numel() ** 0.5
    return size


def _check(fine: bool, message: str) -> None:
    if not fine:
        raise ValueError(message)
