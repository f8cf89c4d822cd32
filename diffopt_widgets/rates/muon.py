"""Readers for Muon's family, whose rate depends on the shape of each matrix.

Sources: pytorch_optimizer 4.1 (`get_adjusted_lr`), adv_optm 2.2.3 (`rms_adjustment`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from diffopt_widgets.rates.base import Group, RateReader, Rates, number

if TYPE_CHECKING:
    import torch


RMS = 0.2
"""Root mean square of a rescaled update of adv_optm at a rate of 1."""


class Muon(RateReader):
    """Reader of the group's rate times the scale for the shape of its matrices, as the mean over the group's weights.

    The rate multiplies an update whose singular values lie near 1. Groups of the auxiliary Adam apply their own rate.
    """

    def before(self) -> Rates:
        """Read the rate that the coming step applies."""
        self.rates = tuple(number(group["lr"]) * self._mean(group) for group in self.groups)
        return self.rates

    def _mean(self, group: Group) -> float:
        """Compute the mean scale over the group's weights; 1 in a group without weights."""
        counts = self.counts(group)
        if not group.get("use_muon") or not any(counts):
            return 1.0
        scales = (n * self._scale(p, group) for n, p in zip(counts, group["params"], strict=True) if n)
        return sum(scales) / sum(counts)

    def _scale(self, p: torch.Tensor, group: Group) -> float:
        rows, columns = _sides(p)
        if group.get("use_adjusted_lr"):
            return RMS * math.sqrt(max(rows, columns))
        return _for_shape(rows, columns)


class MuonAdv(Muon):
    """Reader for MUON_ADV: with RMS rescaling, an update of any shape has a root mean square of 0.2 times the rate."""

    def _scale(self, p: torch.Tensor, group: Group) -> float:
        if group["rms_rescaling"]:
            return RMS
        return _for_shape(*self._sides(p, group))

    def _sides(self, p: torch.Tensor, group: Group) -> tuple[int, int]:
        """Return the sides of the matrix that is stepped: with a factored state, the tensor is reshaped to be nearly square."""
        return _nearly_square(p.numel()) if group["nnmf_factor"] else _sides(p)


class AdaMuonAdv(MuonAdv):
    """Reader for ADAMUON_ADV: rescaled arctangents are 4/π larger, and without NorMuon a convolution has its kernel's sides."""

    def _scale(self, p: torch.Tensor, group: Group) -> float:
        arctangent = group["use_atan2"] and not group["normuon_variant"] and group["rms_rescaling"]
        return super()._scale(p, group) * (4.0 / math.pi if arctangent else 1.0)

    def _sides(self, p: torch.Tensor, group: Group) -> tuple[int, int]:
        if group["normuon_variant"] or group["nnmf_factor"]:
            return super()._sides(p, group)
        return p.shape[-2], p.shape[-1]


def _sides(p: torch.Tensor) -> tuple[int, int]:
    """Return the sides of a tensor as a matrix, without a view of it: this runs for each tensor at each step."""
    return p.shape[0], p.numel() // p.shape[0]


def _for_shape(rows: int, columns: int) -> float:
    return math.sqrt(max(1.0, rows / columns))


def _nearly_square(size: int) -> tuple[int, int]:
    """Return the two factors of a number that lie nearest to each other, the larger one first.

    >>> _nearly_square(80 * 64), _nearly_square(7)
    ((80, 64), (7, 1))
    """
    columns = next(columns for columns in range(math.isqrt(size), 0, -1) if size % columns == 0)
    return size // columns, columns
