"""Denoising: the noise schedule, the loss, the fixed evaluation set and the sampler that every task shares.

Denoising diffusion (Ho, Jain and Abbeel, 2020) with the cosine schedule of Nichol and Dhariwal (2021); samples by DDIM
(Song, Meng and Ermon, 2020).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from diffopt_widgets.tasks.seeds import generator
from diffopt_widgets.tasks.task import Samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from diffopt_widgets.tasks.networks import Conditioned

TIMES = 1000
"""Number of time steps, from almost clean data (0) to almost pure noise."""

SAMPLING_STEPS = 20
EVALUATION_SIZE = 1024

_BATCH, _EVALUATION, _SAMPLES = 1, 2, 3
"""Keys of the streams of random numbers, which keep them apart."""


def signal(times: int = TIMES) -> Tensor:
    """Return the share of the data at each time step: √ᾱ of the cosine schedule, shape (times,), falling from 1 to 0."""
    t = (torch.arange(times, dtype=torch.float64) + 1) / times
    alpha_bar = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    return alpha_bar.clamp(1e-5, 1.0).sqrt().float()


@dataclass(frozen=True)
class Examples:
    """Examples of a task, on the CPU: data of shape (n, …), and a whole number as label for each."""

    data: Tensor
    labels: Tensor


class Denoising:
    """`Problem` of a model that learns to predict the noise in data, on one device.

    Args:
        model: its freshly seeded network, on the CPU.
        train, held_out: examples to learn from, and others of the same kind for the evaluation.
        kind: kind of its samples.
        drawn: labels of the samples, one each.
        seed: batches, noise and time steps depend on it and on the step only.
        device: device of the model and the data.
        dtype: precision of the model, to which its inputs are cast; everything else is in float32.
        batch_size: examples per batch.

    """

    def __init__(
        self,
        model: Conditioned,
        *,
        train: Examples,
        held_out: Examples,
        kind: Literal["points", "images"],
        drawn: Sequence[int],
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int,
    ) -> None:
        self.model = model.to(device, dtype)
        self._dtype = dtype
        self.groups = self.model.groups()
        self._kind = kind
        self._seed = seed
        self._batch_size = batch_size
        self._part, self._weight = slice(None), 1.0
        self._shape = train.data.shape[1:]
        self._size = len(train.data)
        self._train = Examples(train.data.to(device), train.labels.to(device))
        self._signal = signal().to(device)
        self._noise = (1 - signal() ** 2).sqrt().to(device)
        self._limit = float(train.data.abs().max())
        self._evaluation = self._evaluation_set(held_out)
        self._drawn = torch.tensor(drawn)
        self._real = _one_of_each(held_out, drawn)

    def loss(self, step: int, micro: int = 0) -> Tensor:
        """Return the mean squared error of the predicted noise on batch `step`, part `micro`: a scalar on the device."""
        loss = self.error(*self.batch(step, micro))
        return loss if self._weight == 1 else loss * self._weight

    def batch(self, step: int, micro: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the data, labels, time steps and noise of batch `step`, part `micro`, on the device."""
        random = generator(_BATCH, self._seed, step, micro)
        index = torch.randint(self._size, (self._batch_size,), generator=random)
        times = torch.randint(TIMES, (self._batch_size,), generator=random)
        noise = torch.randn((self._batch_size, *self._shape), generator=random)
        index, times, noise = (self._on_device(drawn[self._part]) for drawn in (index, times, noise))
        return self._train.data[index], self._train.labels[index], times, noise

    def error(self, data: Tensor, labels: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Return the mean squared error of the noise that the model predicts: a scalar on the device."""
        each = (-1,) + (1,) * len(self._shape)
        x = self._signal[times].view(each) * data + self._noise[times].view(each) * noise
        return functional.mse_loss(self._predict(x, times, labels), noise)

    def take_part(self, part: int, parts: int) -> None:
        """Compute the loss from now on over one of several parts of each batch; their mean is the loss over the whole batch."""
        self._part = slice(part, None, parts)
        self._weight = len(range(part, self._batch_size, parts)) * parts / self._batch_size

    @torch.no_grad()
    def evaluate(self) -> Tensor:
        """Return the same error on a fixed set that does not depend on the seed: a scalar on the device."""
        return self.error(*self._evaluation)

    @torch.no_grad()
    def samples(self) -> Samples:
        """Make samples from fixed noise in `SAMPLING_STEPS` steps of DDIM; this waits for the device."""
        labels = self._on_device(self._drawn)
        x = self._on_device(torch.randn((len(self._drawn), *self._shape), generator=generator(_SAMPLES)))
        times = [round(i * (TIMES - 1) / (SAMPLING_STEPS - 1)) for i in reversed(range(SAMPLING_STEPS))]
        clean = x
        for time, following in zip(times, [*times[1:], None], strict=True):
            at = torch.full_like(labels, time)
            clean = (x - self._noise[time] * self._predict(x, at, labels)) / self._signal[time]
            clean = clean.clamp(-self._limit, self._limit)
            if following is not None:
                noise = (x - self._signal[time] * clean) / self._noise[time]
                x = self._signal[following] * clean + self._noise[following] * noise
        return self._as_samples(clean.float().cpu())

    def wanted(self) -> Samples:
        """Return real examples that were held out, with the labels of `samples` in the same order."""
        return self._as_samples(self._real)

    def _as_samples(self, values: Tensor) -> Samples:
        if self._kind == "images":
            values = (values / self._limit + 1) / 2
        return Samples(self._kind, values.numpy(), self._drawn.numpy())

    def _evaluation_set(self, held_out: Examples) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        random = generator(_EVALUATION)
        index = torch.arange(EVALUATION_SIZE) % len(held_out.data)
        times = (torch.randperm(EVALUATION_SIZE, generator=random) * TIMES + TIMES // 2) // EVALUATION_SIZE
        noise = torch.randn((EVALUATION_SIZE, *self._shape), generator=random)
        data, labels = held_out.data[index], held_out.labels[index]
        return self._on_device(data), self._on_device(labels), self._on_device(times), self._on_device(noise)

    def _predict(self, x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """Predict the noise in `x` with the model in its own precision, and return it in float32."""
        predicted: Tensor = self.model(x.to(self._dtype), times / TIMES, labels)
        return predicted.float()

    def _on_device(self, tensor: Tensor) -> Tensor:
        """Copy to the device, through pinned memory on CUDA so that the CPU does not wait."""
        if self._signal.device.type == "cuda":
            return tensor.pin_memory().to(self._signal.device, non_blocking=True)
        return tensor.to(self._signal.device)


def _one_of_each(examples: Examples, labels: Sequence[int]) -> Tensor:
    """Return an example for each label, shape (len(labels), …); none is used twice while there are others."""
    places = {label: itertools.cycle((examples.labels == label).nonzero().flatten().tolist()) for label in set(labels)}
    return examples.data[[next(places[label]) for label in labels]]
