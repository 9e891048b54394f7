"""Frames as beats, worked out by hand."""

from __future__ import annotations

import numpy as np
from fake_accelerator import small_network
from map_graphs import several

from gradrtl.quantize.network import Input
from gradrtl.rtl.frame_words import HELD_BIT, MARK_BIT
from gradrtl.rtl.inputs import Inputs
from gradrtl.rtl.mapping import map_network
from gradrtl.sim.beats import most_beats, records_of, spike_beats, words_of

END_OF_STEP = 1 << MARK_BIT
END_OF_PIXELS = END_OF_STEP | 1 << HELD_BIT
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
    assert [words.tolist() for words in spike_beats(Inputs.of(network), frames)] == expected
    mapping = map_network(network, (1, 1))
    assert np.frombuffer(records_of(mapping, frames, []), "<u8").tolist() == [4, *expected[0], 3, *expected[1]]
    assert most_beats(mapping) == 2 * (5 + 1)


def test_graded_events_have_their_counts_above_the_address():
    network = NETWORK.changed(input=Input((5,), bits=3, kind="graded"))
    frames = np.array([[[0, 7, 0, 0, 1], [2, 0, 0, 0, 0]]], np.uint8)
    (words,) = spike_beats(Inputs.of(network), frames)
    assert words.tolist() == [7 << 23 | 1, 1 << 23 | 4, END_OF_STEP, 2 << 23 | 0, END_OF_STEP]


def test_pixels_come_before_the_events_of_the_steps_and_have_a_mark_of_their_own():
    """Those of which the network sees nothing are left out."""
    mapping = map_network(several("spikes", "static", "graded", steps=2), (1, 1, 1))
    spikes, pixels, counts = (np.zeros(shape, np.uint8) for shape in ((1, 2, 9), (1, 5), (1, 2, 6)))
    pixels[0, [0, 2, 4]] = 200, 15, 16  # four bits of them are seen
    spikes[0, 1, 3] = 1
    counts[0, 0, 5] = 1
    (words,) = words_of(mapping, (spikes, pixels, counts))
    assert words == [
        200 << 23 | 0, 16 << 23 | 4, END_OF_PIXELS, 1 << 23 | 5 + 9 + 5, END_OF_STEP, 1 << 23 | 5 + 3, END_OF_STEP
    ]  # fmt: skip
    assert (END_OF_STEP, END_OF_PIXELS) == (1 << 31, 3 << 30)
    assert most_beats(mapping) == 5 + 1 + 2 * (15 + 1)


def test_expected_traces_follow_their_frame():
    mapping = map_network(NETWORK, (1, 1))
    trace = np.arange(2 * 2 * 3, dtype=np.int32).reshape(2, 2, 3)
    data = bytes(records_of(mapping, np.zeros((2, 5), np.uint8), [trace]))
    assert len(data) == 2 * (3 * 8 + 2 * 3 * 4)
    assert data[24:48] == trace[0].tobytes()
