"""Paired differences: whether one setting's losses are lower than another's with the same seeds, beyond luck."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev

import numpy as np

from diffopt_widgets.plain_text import printed_readably

CONFIDENCE = 0.95
"""How often all intervals of a comparison together contain what very many seeds would give."""

_MOST_DIGITS = 9
"""Number of digits after the point above which a margin is written with a power of ten."""


@printed_readably
@dataclass(frozen=True)
class Paired:
    """Mean of the differences between two settings over the seeds that both have, with its margin."""

    mean: float
    """Mean of the first setting's loss less the second's."""
    margin: float | None
    """Half the width of its confidence interval; None where one seed is not enough to know it."""
    seeds: int

    @property
    def beyond_luck(self) -> bool | None:
        """True where the interval leaves 0 out; None where it is not known."""
        return None if self.margin is None else abs(self.mean) > self.margin

    def __str__(self) -> str:
        """Return the difference with its margin in as many digits as mean something.

        >>> str(Paired(-0.012345, 0.00412, 8)), str(Paired(0.5, None, 1))
        ('-0.0123 ± 0.0041 over 8 seeds', '0.5 with one seed')
        """
        if self.margin is None:
            return f"{self.mean:.3g} with one seed"
        digits = 1 - math.floor(math.log10(self.margin)) if self.margin > 0 else 6
        numbers = [f"{value:.{max(digits, 0)}f}" for value in (self.mean, self.margin)]
        if digits > _MOST_DIGITS:
            numbers = [f"{self.mean:.3g}", f"{self.margin:.2g}"]
        return f"{' ± '.join(numbers)} over {self.seeds} seeds"


def paired(first: Mapping[int, float], second: Mapping[int, float], *, confidence: float = CONFIDENCE) -> Paired | None:
    """Compare two settings by the seeds that both have; None where there is no such seed.

    The same seed means the same initial weights, batches and noise, so most of what seeds change is in both losses, and
    the difference is known better than either. The interval is Student's for paired differences.

    Args:
        first: losses of one setting by seed.
        second: losses of the other.
        confidence: how often such an interval contains the mean that very many seeds would give.

    >>> paired({0: 0.5, 1: 0.7}, {0: 0.4, 1: 0.6, 2: 9.0}).mean.__round__(6)
    0.1
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    differences = [first[seed] - second[seed] for seed in seeds]
    count = len(seeds)
    if count == 1:
        return Paired(differences[0], None, 1)
    margin = student(confidence, count - 1) * stdev(differences) / math.sqrt(count)
    return Paired(fmean(differences), margin, count)


def confidence_of_each(settings: int) -> float:
    """Return the confidence of each interval with which those of all pairs of so many settings hold together.

    The best and the worst are chosen by the same losses, so each of the pairs could have been the one that is shown.

    >>> confidence_of_each(2), round(confidence_of_each(4), 4)
    (0.95, 0.9917)
    """
    return 1 - (1 - CONFIDENCE) / max(settings * (settings - 1) // 2, 1)


@lru_cache(maxsize=256)
def student(confidence: float, freedom: int) -> float:
    """Return how many standard errors a two-sided interval reaches, for so many degrees of freedom.

    >>> [round(student(0.95, freedom), 2) for freedom in (1, 4, 30)]
    [12.71, 2.78, 2.04]
    """
    # With t = √freedom · tan(angle) the density is proportional to cos(angle) ** (freedom - 1), on a finite interval.
    angles = np.linspace(0.0, math.pi / 2, 200_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp(confidence * below[-1], below, angles))
    return math.sqrt(freedom) * math.tan(angle)
