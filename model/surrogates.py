"""What takes the place of a spike's derivative when a graph is trained: the choices, and how each acts on one step.

`atan`
    `1 / (1 + (pi x)^2)` at `x = u - threshold - a`: `neurons.Spike` (Chen et al., IJCAI 2021).
`fast-sigmoid`
    `1 / (1 + slope |x|)^2`, whose slope is tuned so that gradients neither vanish nor explode over layers and steps
    (Ledinauskas et al. 2020, arXiv 2006.04436).
`membrane`
    Membranes are the signals, and their jumps at spikes are noise (Lee, Delbruck, Pfeiffer 2016, arXiv 1608.08782).
    Spikes and input are low-passed by the same leak, so what goes in over the threshold comes out: the derivative of a
    spike by the input of its step is `1 / threshold`, of neurons that fire in this frame, and 0 of those that do not.
    Membranes carry no gradient on to the next step, and their decays none at all.

`recurrent_kernels.py` has the same, compiled; `kernels.py` the first two, with normalisation and pools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import choice, real
from ..errors import require
from .config import SURROGATES, TrainConfig
from .neurons import FastSigmoid, Spike


@dataclass(frozen=True)
class Surrogate:
    """One of `config.SURROGATES`; `slope` is that of `fast-sigmoid`."""

    kind: str = "atan"
    slope: float = 3.0

    def __post_init__(self) -> None:
        choice("surrogate", self.kind, SURROGATES)
        object.__setattr__(self, "slope", real("slope", self.slope, "one number above 0"))
        require(self.slope > 0, "slope", self.slope, "above 0")

    @staticmethod
    def of(config: TrainConfig) -> Surrogate:
        return Surrogate(config.surrogate, config.slope)

    @property
    def carries(self) -> bool:
        """Whether membranes of spiking neurons carry gradient from step to step."""
        return self.kind != "membrane"

    @property
    def steepness(self) -> float | None:
        """The `slope` of the compiled operations over all steps: 0 for `atan`; None where they do not have it."""
        return {"atan": 0.0, "fast-sigmoid": self.slope}.get(self.kind)


ATAN = Surrogate()


class Firing:
    """Spikes of a population over the steps of a frame, with the derivative of `surrogate`."""

    def __init__(self, surrogate: Surrogate, threshold: float) -> None:
        self.surrogate, self.threshold = surrogate, threshold
        self.fired: Tensor | None = None  # bool, whether a neuron has fired in this frame

    def __call__(self, x: Tensor, free: Tensor) -> Tensor:
        """Spikes of neurons that are `x` above their threshold and `free` (1 or 0): not refractory."""
        if self.surrogate.kind == "atan":
            return Spike.apply(x) * free
        if self.surrogate.kind == "fast-sigmoid":
            return FastSigmoid.apply(x, self.surrogate.slope) * free
        spikes = _Active.apply(x, self) * free
        now = spikes.detach() > 0
        self.fired = now if self.fired is None else self.fired | now
        return spikes


class _Active(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, firing: Firing) -> Tensor:
        ctx.firing = firing
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        firing = ctx.firing
        return gradient * firing.fired / firing.threshold, None
