"""Everything that decides a training run, in one frozen object."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UserError, require
from .description import preset

RECIPES = {
    "gradr": "Grad R as the paper has it: a constant alpha, no target, rewiring to the last step",
    "gradr-alpha": "Grad R with alpha driven to the wanted connectivity, then fine-tuning with the mask frozen",
    "gradr-quota": "Grad R with a magnitude quota on a cubic schedule, then fine-tuning with the mask frozen",
    "magnitude": "the baseline: gradual magnitude pruning on the same schedule, no regrowth, the same fine-tuning",
    "dense": "no pruning",
}


@dataclass(frozen=True)
class TrainConfig:
    """One training run. The same configuration and data give the same checkpoint on the same machine."""

    network: str = "mnist-mlp"
    recipe: str = "gradr-quota"
    connectivity: float | None = 0.05  # wanted part of all weights that is not zero; None for gradr and dense
    epochs: int = 40
    dense: float = 0.0  # part of the epochs, the first, in which all weights train freely
    rewire: float = 0.6  # part of the epochs after which connections no longer change
    constant: float | None = None  # part of the epochs with a constant learning rate; None: as long as rewire
    batch: int = 128
    lr: float = 4e-3
    alpha: float = 0.01  # prior strength; where it starts, for gradr-alpha
    p: float = 0.95  # target sparsity of the prior
    output_alpha: float = 0.1  # factor on alpha in the last layer
    margin: float = 80.0  # gradr-quota: how many learning rates below zero a connection starts again that it prunes
    hidden: float = 1.0  # gradr-quota: part of each hidden layer's neurons (maps, if it convolves) that is kept
    spike_cost: float = 0.0  # times the mean squared firing rate of the hidden neurons is added to the loss
    spread: float = 0.75  # density of a layer is proportional to its size to the power -spread
    rotation: float = 10.0  # augmentation: largest angle, degrees
    shift: float = 0.05  # augmentation: largest shift, part of the image's side
    flip: bool = False  # augmentation: mirror half of the images
    precision: str = "float32"  # of the matrix products in training: float32 or bfloat16 (mixed precision)
    held_out: int = 5000  # training images kept for validation
    images: int | None = None  # use only this many training images
    seed: int = 0

    def __post_init__(self) -> None:
        preset(self.network)
        require(self.recipe in RECIPES, "recipe", self.recipe, ", ".join(RECIPES))
        if self.wants_connectivity:
            require(self.connectivity is not None, "connectivity", None, f"a number for the recipe {self.recipe}")
            assert self.connectivity is not None
            require(0 < self.connectivity <= 1, "connectivity", self.connectivity, "above 0, at most 1")
        else:
            require(self.connectivity is None, "connectivity", self.connectivity, f"None for the recipe {self.recipe}")
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(0 <= self.dense < 1, "dense", self.dense, "0 or above, below 1")
        require(0 <= self.rewire <= 1, "rewire", self.rewire, "0 to 1")
        apart = f"at most rewire = {self.rewire}, with an epoch between them"
        require(self.sparse_from < self.frozen_from, "dense", self.dense, apart)
        require(self.constant is None or 0 <= self.constant <= 1, "constant", self.constant, "0 to 1, or None")
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(self.alpha >= 0, "alpha", self.alpha, "0 or above")
        require(0.5 <= self.p < 1, "p", self.p, "at least 0.5, below 1")
        require(self.output_alpha >= 0, "output_alpha", self.output_alpha, "0 or above")
        require(self.margin >= 0, "margin", self.margin, "0 or above")
        require(0 < self.hidden <= 1, "hidden", self.hidden, "above 0, at most 1")
        kept = self.hidden == 1 or self.recipe == "gradr-quota"
        require(kept, "hidden", self.hidden, f"1 for the recipe {self.recipe}")
        require(self.spike_cost >= 0, "spike_cost", self.spike_cost, "0 or above")
        require(0 <= self.spread <= 1, "spread", self.spread, "0 to 1")
        require(0 <= self.rotation <= 180, "rotation", self.rotation, "0 to 180 degrees")
        require(0 <= self.shift <= 0.5, "shift", self.shift, "0 to 0.5 of the image")
        require(self.precision in ("float32", "bfloat16"), "precision", self.precision, "float32 or bfloat16")
        require(self.held_out >= 1, "held_out", self.held_out, "at least 1")
        require(self.seed >= 0, "seed", self.seed, "0 or above")

    @property
    def wants_connectivity(self) -> bool:
        return self.recipe not in ("gradr", "dense")

    @property
    def sparse_from(self) -> int:
        """First epoch, from 0, in which connections change."""
        return round(self.dense * self.epochs)

    @property
    def frozen_from(self) -> int:
        """First epoch, from 0, with a fixed mask; equal to `epochs` if there is none."""
        return self.epochs if self.recipe in ("gradr", "dense") else round(self.rewire * self.epochs)

    @property
    def constant_epochs(self) -> int:
        """Epochs with a constant learning rate, before it falls."""
        return round((self.rewire if self.constant is None else self.constant) * self.epochs)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(body: dict[str, Any]) -> TrainConfig:
        try:
            return TrainConfig(**body)
        except TypeError as error:
            raise UserError(f"training configuration: {error}") from None
