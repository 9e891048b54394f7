"""Frames as beats, worked out by hand."""

from __future__ import annotations

import numpy as np
from fake_accelerator import small_network

from gradrtl.quantize.network import Input
from gradrtl.rtl.frame_words import MARK_BIT
from gradrtl.rtl.mapping import map_network
from gradrtl.sim.beats import most_beats, records_of, spike_beats

END_OF_STEP = 1 << MARK_BIT
NETWORK = small_network((5, 3, 2), steps=2)


def test_pixels_fill_beats_and_the_last_is_padded():
    mapping = map_network(NETWORK, (1, 1))
    words = np.frombuffer(records_of(mapping, np.array([[1, 2, 3, 4, 5]], np.uint8), []), "<u8")
    assert words.tolist() == [2, 0x04030201, 0x05]
    assert most_beats(mapping) == 2


def test_spikes_are_addresses_with_a_mark_after_each_step():
    network = NETWORK.changed(input=Input((5,), kind="spikes"))
    frames = np.zeros((2, 2, 5), np.uint8)
    frames[0, 0, [1, 4]] = 1
    frames[1, 1, 0] = 1
    expected = [[1, 4, END_OF_STEP, END_OF_STEP], [END_OF_STEP, 0, END_OF_STEP]]
    assert [words.tolist() for words in spike_beats(network, frames)] == expected
    mapping = map_network(network, (1, 1))
    assert np.frombuffer(records_of(mapping, frames, []), "<u8").tolist() == [4, *expected[0], 3, *expected[1]]
    assert most_beats(mapping) == 2 * (5 + 1)


def test_graded_events_have_their_counts_above_the_address():
    network = NETWORK.changed(input=Input((5,), bits=3, kind="graded"))
    frames = np.array([[[0, 7, 0, 0, 1], [2, 0, 0, 0, 0]]], np.uint8)
    (words,) = spike_beats(network, frames)
    assert words.tolist() == [7 << 23 | 1, 1 << 23 | 4, END_OF_STEP, 2 << 23 | 0, END_OF_STEP]


def test_expected_traces_follow_their_frame():
    mapping = map_network(NETWORK, (1, 1))
    trace = np.arange(2 * 2 * 3, dtype=np.int32).reshape(2, 2, 3)
    data = bytes(records_of(mapping, np.zeros((2, 5), np.uint8), [trace]))
    assert len(data) == 2 * (3 * 8 + 2 * 3 * 4)
    assert data[24:48] == trace[0].tobytes()
