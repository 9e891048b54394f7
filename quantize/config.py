"""All settings of a fine-tuning run, in one frozen object. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..model.config import LARGEST, TrainConfig
from ..model.settings import at_least, between, check, like, setting

AS_TRAINED = (
    "loss", "sharpness", "smoothing", "anytime", "spike_cost", "batch", "rotation", "shift", "flip", "drop", "jitter",
    "lag", "stretch", "mask", "held_out", "held_out_group",
)  # fmt: skip


@dataclass(frozen=True)
class QatConfig:
    """One fine-tuning run. The same configuration, network and data give the same integers on the same machine."""

    epochs: int = setting(10, "Passes over the training images.", at_least(0))
    lr: float = like(TrainConfig, "lr", default=1e-3, meaning="Learning rate of weights and biases: Adam, cosine to 0.")
    scale_lr: float = setting(1e-3, "Learning rate of the logarithms of the step sizes.", between(0, LARGEST))
    spike_cost: float = like(TrainConfig, "spike_cost")
    loss: str | None = like(TrainConfig, "loss")
    sharpness: float = like(TrainConfig, "sharpness")
    smoothing: float = like(TrainConfig, "smoothing")
    anytime: float | None = like(TrainConfig, "anytime")
    batch: int = like(TrainConfig, "batch")
    rotation: float = like(TrainConfig, "rotation")
    shift: float = like(TrainConfig, "shift")
    flip: bool = like(TrainConfig, "flip")
    drop: float = like(TrainConfig, "drop")
    jitter: int = like(TrainConfig, "jitter")
    lag: int = like(TrainConfig, "lag")
    stretch: float = like(TrainConfig, "stretch")
    mask: float = like(TrainConfig, "mask")
    held_out: int | None = like(TrainConfig, "held_out")
    held_out_group: int | None = like(TrainConfig, "held_out_group")
    seed: int = like(TrainConfig, "seed")

    def __post_init__(self) -> None:
        check(self)

    @staticmethod
    def as_trained(config: dict[str, Any], **own: Any) -> QatConfig:
        """Images and objective as in the training described by a checkpoint's `config`, except for the fields `own`."""
        trained = TrainConfig.from_json(config)
        return QatConfig(**{name: getattr(trained, name) for name in AS_TRAINED} | own)
