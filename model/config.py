"""Everything that decides a training run, in one frozen object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import UserError, require
from ..shapes import LARGEST_STEPS
from .architecture import Recorded, described, require_known
from .description import Network
from .graph import Graph
from .held_out import usually_held_out
from .settings import above, at_least, below, between, check, one_of, setting

RECIPES = {
    "gradr": "Grad R as in the paper: a constant alpha, no target, rewiring to the last step",
    "gradr-alpha": "Grad R with alpha controlled to reach a target connectivity, then fine-tuning with a fixed mask",
    "gradr-quota": "Grad R with a magnitude quota on a cubic schedule, then fine-tuning with a fixed mask",
    "magnitude": "the baseline: gradual magnitude pruning on the same schedule, no regrowth, the same fine-tuning",
    "dense": "no pruning",
}
SURROGATES = {
    "atan": "1 / (1 + (pi x)^2), x being how far a membrane is above the threshold",
    "fast-sigmoid": "1 / (1 + slope |x|)^2",
    "membrane": "1 / threshold for neurons that fire in this frame; membranes carry no gradient",
}
LARGEST = 1_000_000  # learning rate or factor: beyond it float32 overflows soon
LARGEST_SEED = 2**32 - 1
NO_TARGET = ("gradr", "dense")  # recipes without a target connectivity
NEURONS = ("gradr-quota", "magnitude")  # recipes that can have a quota of neurons


@dataclass(frozen=True)
class TrainConfig:
    """One training run. The same configuration and data give the same checkpoint on the same machine.

    `network` is the name of a preset, layers as `architecture.py` reads them (`784-256-10`), or a description.
    """

    network: str | Network | Graph = setting("mnist-mlp", "A preset, layers such as 784-256-10, or a description.")  # noqa: RUF009
    recipe: str = setting("gradr-quota", "How the network becomes sparse.", one_of(RECIPES))
    connectivity: float | None = setting(
        0.05, "Target fraction of non-zero weights; not for the recipes gradr and dense.", above(0, 1)
    )
    epochs: int = setting(40, "Passes over the training images.", at_least(1))
    dense: float = setting(0.0, "Fraction of the epochs, at the start, in which all weights train freely.", below(1, 0))
    rewire: float = setting(0.6, "Fraction of the epochs after which connections no longer change.", between(0, 1))
    constant: float | None = setting(
        None, "Fraction of the epochs with a constant learning rate.", between(0, 1), "as long as rewire"
    )
    batch: int = setting(128, "Images per optimiser step.", at_least(1))
    lr: float = setting(4e-3, "Learning rate of Adam.", above(0, LARGEST))
    clip: float | None = setting(
        None, "Largest norm of the gradient, to which longer ones are scaled.", above(0), "any norm"
    )
    alpha: float = setting(0.01, "Strength of the prior; for gradr-alpha, the start value.", between(0, LARGEST))
    p: float = setting(0.95, "Target sparsity of the prior.", below(1, 0.5))
    output_alpha: float = setting(0.1, "Factor on alpha in the last layer.", between(0, LARGEST))
    margin: float = setting(
        80.0,
        "gradr-quota: a connection that the quota prunes restarts this many learning rates below zero.",
        between(0, LARGEST),
    )
    hidden: float = setting(
        1.0,
        "gradr-quota, magnitude: fraction of each hidden layer's neurons (channels of a convolution) kept.",
        above(0, 1),
    )
    spike_cost: float = setting(
        0.0, "Factor on the mean squared firing rate of hidden neurons, added to the loss.", between(0, LARGEST)
    )
    spread: float = setting(
        0.75, "A layer's density is proportional to its number of weights to the power -spread.", between(0, 1)
    )
    rotation: float = setting(
        10.0, "Augmentation: largest rotation of images, in degrees.", between(0, 180, " degrees")
    )
    shift: float = setting(
        0.05, "Augmentation: largest shift, as a fraction of the image's side.", between(0, 0.5, " of the image")
    )
    flip: bool = setting(False, "Augmentation: mirror half of the images.")
    drop: float = setting(
        0.0, "Augmentation of recordings: largest fraction of the events that is dropped.", between(0, 1)
    )
    jitter: int = setting(
        0, "Augmentation of recordings: largest shift of an event in time, in steps.", between(0, LARGEST_STEPS)
    )
    lag: int = setting(
        0, "Augmentation of recordings: largest shift of a whole one in time, in steps.", between(0, LARGEST_STEPS)
    )
    stretch: float = setting(
        0.0, "Augmentation of recordings: largest change of the speed, as a fraction of it.", below(1, 0)
    )
    mask: float = setting(
        0.0,
        "Augmentation of recordings: largest fraction of the sources, and of the steps, that is silent.",
        between(0, 1),
    )
    loss: str | None = setting(
        None,
        "What training makes small; rate: squared errors of the firing rates.",
        one_of(("rate", "cross-entropy")),
        "rate where spikes are counted, else cross-entropy",
    )
    sharpness: float = setting(1.0, "Factor on membranes in front of the cross-entropy.", above(0, LARGEST))
    smoothing: float = setting(
        0.0, "Cross-entropy: fraction of a label that is spread evenly over all classes.", below(1, 0)
    )
    anytime: float | None = setting(
        None,
        "Loss over the answers after every step, weighted by step to this power.",
        at_least(0),
        "the last answer alone",
    )
    distil: float = setting(
        0.0, "Weight of the teacher's answers in the loss, beside the labels; 0 without a teacher.", between(0, 1)
    )
    surrogate: str = setting(
        "atan", "What takes the place of a spike's derivative; others than atan are for graphs.", one_of(SURROGATES)
    )
    slope: float = setting(3.0, "Slope of the surrogate fast-sigmoid.", above(0, LARGEST))
    precision: str = setting("float32", "Number format of the matrix products.", one_of(("float32", "bfloat16")))
    steps: int | None = setting(None, "Time steps T per image.", between(1, LARGEST_STEPS), "the network's own")
    images: int | None = setting(None, "Number of training images used, the first ones.", at_least(1), "all")
    held_out: int | None = setting(
        None,
        "Number of training images held out for validation, the last ones.",
        at_least(1),
        "5000, at most a tenth",
    )
    held_out_group: int | None = setting(
        None, "Group of recordings, such as a speaker, held out for validation in place of the last ones.", at_least(0)
    )
    seed: int = setting(0, "Seed of all randomness.", between(0, LARGEST_SEED))

    def __post_init__(self) -> None:
        check(self)
        require_known(self.network)
        if self.wants_connectivity:
            require(self.connectivity is not None, "connectivity", None, f"a fraction for the recipe {self.recipe}")
        else:
            require(self.connectivity is None, "connectivity", self.connectivity, f"None for the recipe {self.recipe}")
        apart = f"at most rewire = {self.rewire}, with an epoch between them"
        require(self.sparse_from < self.frozen_from, "dense", self.dense, apart)
        kept = self.hidden == 1 or self.recipe in NEURONS
        require(kept, "hidden", self.hidden, f"1 for the recipe {self.recipe}")

    @property
    def wants_connectivity(self) -> bool:
        return self.recipe not in NO_TARGET

    @property
    def sparse_from(self) -> int:
        """First epoch, from 0, in which connections change."""
        return round(self.dense * self.epochs)

    @property
    def frozen_from(self) -> int:
        """First epoch, from 0, with a fixed sparsity mask; equal to `epochs` if there is none."""
        return self.epochs if self.recipe in NO_TARGET else round(self.rewire * self.epochs)

    @property
    def constant_epochs(self) -> int:
        """Epochs with a constant learning rate, before it falls."""
        return round((self.rewire if self.constant is None else self.constant) * self.epochs)

    def description(self, shape: tuple[int, ...], recorded: Recorded | None = None) -> Network | Graph:
        """The network that this configuration trains on images of `shape`, `(channels, height, width)`; or on
        recordings, with steps of this shape."""
        found = described(self.network, recorded)(shape)
        return found if self.steps is None else replace(found, steps=self.steps)

    def for_images(self, count: int) -> TrainConfig:
        """This configuration for `count` training images: what depends on their number is filled in."""
        return self if self.held_out is not None else replace(self, held_out=usually_held_out(count))

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"network": self.network if isinstance(self.network, str) else self.network.to_json()}

    @staticmethod
    def from_json(body: dict[str, Any]) -> TrainConfig:
        """The configuration of a checkpoint; fields that an older version did not have take their defaults."""
        try:
            network = body.get("network")
            if isinstance(network, dict):
                kind = Graph if "populations" in network else Network
                body = body | {"network": kind.from_json(network)}
            return TrainConfig(**body)
        except TypeError as error:
            raise UserError(f"training configuration: {error}") from None
