"""Quantisation as a step: what fine-tuning may be judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset
from gradrtl.model.recordings import Recordings
from gradrtl.model.train import train
from gradrtl.steps.quantise import formats_for, quantise

CONFIG = TrainConfig(
    network="30-8-4", recipe="dense", connectivity=None, epochs=1, batch=20, held_out=10, rotation=0.0, shift=0.0
)


def data() -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 5, 6)).astype(np.uint8)
    return Dataset(images, (np.arange(60) % 4).astype(np.uint8))


def tuned(checkpoint: Checkpoint, images: Any, **given: Any) -> dict[str, Any]:
    return quantise(checkpoint, formats_for(checkpoint, per_channel=False), images, "qat", epochs=0, **given).notes


def test_fine_tuning_is_judged_by_images_that_the_floats_have_not_seen() -> None:
    checkpoint = train(CONFIG, data())
    assert tuned(checkpoint, data())["qat"]["held_out"] == 10
    told = "held_out is 11, expected at most 10: the network to start from was trained on the images before"
    with pytest.raises(UserError, match=told):
        tuned(checkpoint, data(), held_out=11)
    usual = replace(checkpoint, config={**checkpoint.config, "held_out": None}, made_from={"data": data().digest})
    assert tuned(usual, data())["qat"]["held_out"] == 6
    few = replace(usual, made_from={"data": data().digest, "unseen": 5})
    with pytest.raises(UserError, match="held_out is 6, expected at most 5"):
        tuned(few, data())


def test_of_groups_nothing_is_asked() -> None:
    counts = data().images[:, None].repeat(4, axis=1) // 64
    recordings = Recordings(counts, data().labels, (np.arange(60) % 3).astype(np.int32))
    by_group = train(replace(CONFIG, held_out=None, held_out_group=2), recordings)
    assert by_group.origin["unseen"] is None
    tuned(by_group, recordings)
    tuned(by_group, recordings, held_out=30, held_out_group=1)
    last = train(CONFIG, recordings)
    tuned(last, recordings, held_out=30, held_out_group=2)
    with pytest.raises(UserError, match="held_out is 30, expected at most 10"):
        tuned(last, recordings, held_out=30)
