"""No network is judged by images that it was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset
from gradrtl.model.held_out import require_unseen
from gradrtl.model.start import Start
from gradrtl.model.train import train

TRAINED = {"data": "a", "unseen": 5}


@pytest.mark.parametrize(
    "origin",
    [
        TRAINED,
        {"start": TRAINED},
        {"start": {"checkpoint": {"data": "a", "unseen": 9}, "qat": TRAINED}},
        {"data": "b", "unseen": 1, "start": {"network": "c", "checkpoint": TRAINED}},
    ],
)
def test_images_that_any_network_before_was_trained_on_are_refused(origin: dict[str, Any]) -> None:
    require_unseen(5, "a", origin)
    require_unseen(6, "another set", origin)
    told = "held_out is 6, expected at most 5: the network to start from was trained on the images before"
    with pytest.raises(UserError, match=told):
        require_unseen(6, "a", origin)


@pytest.mark.parametrize(
    "origin", [{}, {"data": "a"}, {"data": "a", "unseen": None}, {"start": "weights", "unseen": 1}]
)
def test_a_network_that_does_not_tell_is_believed(origin: dict[str, Any]) -> None:
    require_unseen(6, "a", origin)


def test_a_training_of_spikes_keeps_to_it() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 1, 5, 6)).astype(np.uint8)
    data = Dataset(images, (np.arange(60) % 4).astype(np.uint8))
    config = TrainConfig(
        network="30-8-4", recipe="dense", connectivity=None, epochs=1, batch=20, held_out=10, rotation=0.0, shift=0.0
    )
    made = train(config, data)
    assert made.made_from["unseen"] == 10
    start = Start.of_checkpoint(made)
    config = replace(config, network=start.network)
    train(replace(config, held_out=10), data, start=start)
    with pytest.raises(UserError, match="held_out is 11, expected at most 10"):
        train(replace(config, held_out=11), data, start=start)
    assert train(replace(config, network="30-8-4", images=40), data).made_from["unseen"] == 20
