"""Counting connections, on networks small enough to count by hand."""

from __future__ import annotations

import numpy as np

from gradrtl.model.connectivity import census


def test_dead_neurons_take_their_connections_along() -> None:
    first = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    second = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    # hidden neuron 1 hears nothing: its two outgoing connections do nothing; nobody listens to neuron 2
    counted = census([first, second])
    assert counted.total == 20
    assert counted.living == (4, 4)
    assert counted.useful == (3, 2)
    assert counted.dead == (2, 0)
    assert counted.connectivity == 8 / 20
    assert counted.useful_connectivity == 5 / 20


def test_death_travels_through_layers() -> None:
    chain = [np.eye(3), np.diag([1.0, 0.0, 1.0]), np.diag([1.0, 1.0, 0.0])]
    counted = census(chain)
    assert counted.living == (3, 2, 2)
    assert counted.useful == (1, 1, 1)
    assert counted.dead == (2, 2, 2)


def test_a_bias_keeps_a_neuron_alive() -> None:
    first, second = np.zeros((2, 3)), np.ones((1, 2))
    assert census([first, second]).useful == (0, 0)
    biased = census([first, second], [np.array([True, False]), np.array([False])])
    assert biased.useful == (0, 1)
    assert biased.dead == (1, 0)


def test_channels_feed_runs_of_dense_inputs() -> None:
    conv = np.zeros((2, 1, 3, 3))
    conv[0, 0, 1, 1] = 1.0  # channel 1 hears nothing
    dense = np.ones((4, 2 * 5 * 5))
    counted = census([conv, dense])
    assert counted.useful == (1, 100)
    assert counted.dead == (1, 0)
