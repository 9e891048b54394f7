"""Several inputs on one stream: whose source is whose, and frames with a count that is too large for its input."""

from __future__ import annotations

import numpy as np
import pytest
from map_graphs import several
from random_networks import frames
from rtl_bench import Bench, beats_of

from gradrtl.errors import UserError
from gradrtl.quantize.network import Input
from gradrtl.rtl.inputs import Inputs, largest_sent
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import reference


def test_frames_side_by_side():
    given = Inputs((Input((2,), 3, name="x"), Input((1, 1, 3), 8, name="y")))
    assert (given.ranges, given.sources, given.bits, given.kind) == ((range(2), range(2, 5)), 5, 8, "static")
    assert not given.is_mixed
    assert (given.segments(7), given.values(7)) == (1, 5)
    stacked = given.stacked((np.array([[255, 31]], np.uint8), np.array([[1, 2, 255]], np.uint8)))
    assert stacked.tolist() == [[255, 31, 1, 2, 255]]
    assert given.seen(stacked).tolist() == [[7, 0, 1, 2, 255]]


@pytest.mark.parametrize(
    ("kinds", "expected"), [(("spikes", "spikes"), ("spikes", 1)), (("spikes", "graded"), ("graded", 3))]
)
def test_counts_where_one_input_has_them(kinds, expected):
    given = Inputs(tuple(Input((2,), 2, kind, name=kind + str(i)) for i, kind in enumerate(kinds)))
    assert (given.kind, given.largest) == expected


def test_pixels_beside_events_are_a_segment_before_the_steps():
    """Static inputs have the first addresses, wherever they are in the network."""
    given = Inputs((Input((2,), kind="spikes", name="x"), Input((3,), 3, name="y"), Input((1,), 5, "graded", name="z")))
    assert given.ranges == (range(3, 5), range(3), range(5, 6))
    assert (given.is_mixed, given.kind, given.held_sources, given.sources, given.bits) == (True, "graded", 3, 6, 5)
    assert (given.segments(2), given.values(2)) == (3, 3 + 2 * 3)
    frames = (
        np.array([[[1, 0], [0, 1]]], np.uint8),
        np.array([[255, 31, 32]], np.uint8),
        np.array([[[17], [31]]], np.uint8),
    )
    stacked = given.stacked(frames)
    assert stacked.tolist() == [[[255, 31, 32, 0, 0, 0], [0, 0, 0, 1, 0, 17], [0, 0, 0, 0, 1, 31]]]
    assert given.seen(stacked)[0, 0].tolist() == [7, 0, 1, 0, 0, 0]
    assert given.packed(stacked).tolist() == [[255, 31, 32, 1, 0, 17, 0, 1, 31]]


def test_a_pixel_may_be_sent_with_all_of_its_bits():
    assert [largest_sent(Input((1,), 3, kind)) for kind in ("static", "graded")] == [255, 7]


def test_more_sources_than_addresses_are_refused():
    parts = tuple(Input((64, 256, 256), 2, "graded", name=name) for name in "xyz")
    with pytest.raises(UserError, match="sources of all inputs is 12582912, expected at most 8388608 in hardware"):
        Inputs(parts)
    assert Inputs(parts[:2]).sources == 1 << 23


@pytest.mark.parametrize(("source", "count", "bad"), [(8, 7, False), (9, 1, False), (9, 2, True), (14, 2, True)])
def test_a_count_fits_its_own_input(source, count, bad):
    """The first input's counts have 3 bits, the second one's events are spikes, the third one's have one bit."""
    made = several("graded", "spikes", "graded")
    mapping = map_network(made, (1, 1, 1))
    images = frames(made, 2, 3)
    for values in images:
        values[0] = 0
    stacked = mapping.input.stacked(images).copy()
    stacked[0, 1, source] = count
    bench = Bench(mapping, [beats_of(mapping, image) for image in stacked], 0.0, 0)
    bench.run()
    assert bench.flags == [bad, False]
    expected = reference.run(made, images)
    assert bench.packets[1] == [int(expected.classes[1]), *expected.counts[1].tolist()]
