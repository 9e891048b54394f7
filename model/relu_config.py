"""Everything that decides the training of a network of activations (`relu_train.py`), in one frozen object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ..errors import require
from ..shapes import LARGEST_STEPS
from .architecture import described
from .config import LARGEST, NO_TARGET, TrainConfig
from .description import Network
from .graph import Graph
from .held_out import usually_held_out
from .relu_graph import METHODS, MOST_LEVELS, relu_graph
from .settings import above, at_least, below, between, check, like, one_of, setting

LONGEST = 64  # steps at which a conversion is compared with its activations
First = Literal["given", "thresholds", "statistics"]  # measured before a training goes on: nothing, or which
BORDERS = ("black", "mirrored")  # outside of an image: nothing, or what is inside, mirrored at its side
RECIPES = ("dense", "magnitude", "gradr-quota")


@dataclass(frozen=True)
class ReluConfig:
    """One training before a conversion. The same configuration and data give the same network on the same machine."""

    network: str | Network | Graph = setting("mnist-mlp", "A preset, layers such as 784-256-10, or a description.")  # noqa: RUF009
    method: str = setting("shift", "What stands for the neurons in training (docs/conversion.md).", one_of(METHODS))
    levels: int = setting(4, "shift: steps of the activation.", between(1, MOST_LEVELS))
    recipe: str = setting("dense", "How the network becomes sparse.", one_of(RECIPES))
    connectivity: float | None = setting(None, "Target fraction of non-zero weights.", above(0, 1), "all")
    epochs: int = setting(20, "Passes over the training images, before those of `tune`.", at_least(0))
    dense: float = like(TrainConfig, "dense", default=0.2)
    rewire: float = like(TrainConfig, "rewire", default=0.7)
    batch: int = like(TrainConfig, "batch")
    lr: float = setting(0.1, "Largest learning rate of the one-cycle schedule.", above(0, LARGEST))
    momentum: float = setting(0.9, "Of the gradient.", below(1, 0))
    weight_decay: float = setting(5e-4, "Factor on the weights in their gradient.", between(0, 1))
    smoothing: float = setting(0.1, "Label smoothing of the cross-entropy.", below(1, 0))
    margin: float = like(TrainConfig, "margin", default=0.5)
    alpha: float = like(TrainConfig, "alpha", default=1e-4, meaning="gradr-quota: strength of the prior.")
    hidden: float = like(TrainConfig, "hidden")
    spread: float = like(TrainConfig, "spread")
    shift: int = setting(
        0, "Augmentation: largest shift, in pixels; fractions of one with rotation, scaling or elastic.", between(0, 16)
    )
    rotation: float = like(TrainConfig, "rotation", default=0.0)
    scaling: float = setting(0.0, "Augmentation: largest change of size, as a fraction.", below(1, 0))
    elastic: float = setting(
        0.0,
        "Augmentation: elastic deformation, the standard deviation of a pixel's shift, in pixels.",
        between(0, 8),
    )
    flip: bool = like(TrainConfig, "flip")
    border: str = setting("black", "Augmentation: what lies outside of an image that is moved.", one_of(BORDERS))
    cutout: int = setting(0, "Augmentation: side of a square that is blacked out, in pixels.", between(0, 64))
    cutmix: float = setting(0.0, "Augmentation: fraction of the images that get a rectangle of another.", between(0, 1))
    copies: int = setting(
        0,
        "Augmented copies of the images, made once and seen in turn, for each of which a teacher answers once; 0: new "
        "ones in every epoch.",
        between(0, 1000),
    )
    threshold: float = setting(2.0, "shift: threshold at the start.", above(0, LARGEST))
    threshold_epochs: int = setting(0, "rate-norm: epochs of the second stage, for thresholds alone.", at_least(0))
    threshold_lr: float = setting(1e-3, "rate-norm: learning rate of the second stage.", above(0, LARGEST))
    whiten: bool = setting(
        False, "The first convolution starts with the principal components of patches of the images, in both signs."
    )
    distil: float = like(TrainConfig, "distil")
    mirror_teacher: bool = setting(False, "Average the probabilities of a teacher for an image and its mirror image.")
    weight_bits: int | None = setting(
        None, "Bits to which weights are rounded in training once the mask is fixed.", between(2, 8), "not rounded"
    )
    steps: int = setting(8, "Time steps T per image of the spiking network.", between(1, LARGEST_STEPS))
    tune: int = setting(0, "shift: epochs at the end in which the neurons spike, over `steps`.", at_least(0))
    tune_lr: float = setting(
        2e-3, "shift: learning rate at the start of those epochs; it falls to 0.", above(0, LARGEST)
    )
    precision: str = like(TrainConfig, "precision")
    images: int | None = like(TrainConfig, "images")
    held_out: int | None = like(TrainConfig, "held_out")
    seed: int = like(TrainConfig, "seed")

    def __post_init__(self) -> None:
        check(self)
        described(self.network)
        self.sparsity()
        second = self.threshold_epochs == 0 or self.method == "rate-norm"
        require(second, "threshold_epochs", self.threshold_epochs, f"0 for the method {self.method}")

        mixed = self.cutmix == 0 or self.batch > 1
        require(mixed, "batch", self.batch, "2 or above with cutmix, which takes from another image of the batch")
        spiking = self.tune == 0 or self.method == "shift"
        require(spiking, "tune", self.tune, f"0 for the method {self.method}: its neurons would start elsewhere")
        kept = self.tune == 0 or self.steps <= LONGEST
        require(kept, "steps", self.steps, f"at most {LONGEST} with tune, which keeps all steps of a batch")
        sparse = self.recipe == "dense" or self.epochs > 0
        require(sparse, "epochs", self.epochs, f"1 or above for the recipe {self.recipe}")
        rounds = self.weight_bits is None or self.frozen_from < self.epochs + self.tune
        left = "None, or an epoch after rewire: weights are rounded in training"
        require(rounds, "weight_bits", self.weight_bits, left)

    def sparsity(self, side: int | None = None) -> TrainConfig:
        """What the recipe goes by, as the configuration of a training of spikes.

        With `side`, the height of an image in pixels, also how images were changed, in the terms of such a training.
        """
        found = TrainConfig(
            recipe=self.recipe,
            connectivity=self.connectivity,
            epochs=max(1, self.epochs),
            dense=0.0 if self.recipe in NO_TARGET else self.dense,
            rewire=1.0 if self.recipe in NO_TARGET else self.rewire,
            lr=self.lr,
            margin=self.margin,
            alpha=self.alpha,
            hidden=self.hidden,
            spread=self.spread,
            network=self.network,
            batch=self.batch,
            steps=self.steps,
            images=self.images,
            held_out=self.held_out,
            smoothing=self.smoothing,
            seed=self.seed,
        )
        if side is None:
            return found
        return replace(found, rotation=self.rotation, shift=min(self.shift / side, 0.5), flip=self.flip)

    @property
    def all_epochs(self) -> int:
        """Passes over the training images of all stages."""
        return self.epochs + self.tune + self.threshold_epochs

    @property
    def frozen_from(self) -> int:
        """First epoch, from 0, with a fixed mask and rounded weights."""
        return round(self.rewire * self.epochs)

    def description(self, shape: tuple[int, ...]) -> Graph:
        """The network that this configuration trains on images of `shape`, `(channels, height, width)`."""
        return replace(relu_graph(described(self.network)(shape)), steps=self.steps)

    def held(self, count: int) -> int:
        """Number of `count` training images that are held out."""
        return usually_held_out(count) if self.held_out is None else self.held_out

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"network": self.network if isinstance(self.network, str) else self.network.to_json()}
