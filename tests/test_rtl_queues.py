"""Sizes of queues are those of the hardware; what is deep on the ECP5, or has many bits on the iCE40, is block RAM."""

from __future__ import annotations

from collections import Counter

import pytest
from amaranth.hdl import Fragment, Value
from dense_graphs import graph
from graph_cases import case
from graphs import population, weights
from map_graphs import residual
from random_networks import network

from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl import datapath, edge, fifo, flags, pe, serialiser
from gradrtl.rtl.devices import DEVICES
from gradrtl.rtl.latency import BEATS_WAITING
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.planning import block_rams
from gradrtl.rtl.queues import FLIP_FLOP_BITS, LUT_RAM_WORDS, is_clocked, most_frames, queues_of


def built(mapping: Mapping, monkeypatch) -> Counter[tuple[int, int]]:
    """Entries and bits of the queues in a data path, that of pixels aside."""
    found: Counter[tuple[int, int]] = Counter()

    class Counted(fifo.Queue):
        def elaborate(self, platform):
            found[self.depth, len(Value.cast(self.i.payload))] += 1
            return super().elaborate(platform)

    for module in (edge, flags, pe, serialiser):
        monkeypatch.setattr(module, "Queue", Counted)
    Fragment.get(datapath.Datapath(mapping), None)
    if mapping.input.kind == "static":
        (beats,) = (size for size in found if size[0] == BEATS_WAITING)
        del found[beats]
    return found


def delayed(delay: int) -> Mapping:
    """32 rows of spikes to a queue, and eight sources heard late."""
    hears = Connection("input", weights(32, 8, 1), 4), Connection("a", weights(32, 32, 2), 4, delay=delay)
    late = Connection("a", weights(2, 32, 3), 4), Connection("input", weights(2, 8, 4), 4, delay=delay)
    made = QuantizedNetwork((Input((8,), kind="spikes"),), (population("a", 32, *hears), population("b", 2, *late)), 4)
    return map_network(made, (1, 1))


MADE = (
    *(graph(seed) for seed in range(6)),
    *(network(seed) for seed in range(8)),
    *(case(seed, built=True).network for seed in (204, 207, 211)),
    residual(),
    delayed(2).network,
)


@pytest.mark.parametrize("made", MADE)
def test_the_queues_of_the_hardware(made, monkeypatch):
    pes = tuple(1 + number % 3 for number in range(len(made.populations)))
    mapping = map_network(made, Placement(pes, queue_depth=5, row_queue_depth=4))
    expected: Counter[tuple[int, int]] = Counter()
    for queue in queues_of(mapping):
        expected[queue.words, queue.bits] += queue.number
    assert built(mapping, monkeypatch) == expected


def test_the_cases_have_all_kinds_of_queues():
    mappings = [map_network(made) for made in MADE]
    assert any(layer.is_mixed for mapping in mappings for layer in mapping.layers)
    assert any(layer.kernel for mapping in mappings for layer in mapping.layers)
    assert any(mapping.late and mapping.value_bits > 1 for mapping in mappings)


def test_deep_queues_of_the_ecp5_are_block_rams():
    """20 scans for the loop; 21 steps of eight events and a token; a flag for each frame that is inside."""
    device, few, many = DEVICES["ecp5-25"], delayed(1), delayed(20)
    rows = many.layers[0].rows
    deep = [queue for queue in queues_of(many) if queue.words > LUT_RAM_WORDS]
    assert not any(queue.words > LUT_RAM_WORDS for queue in queues_of(few))
    assert [queue.words for queue in deep] == [20 * rows, 21 * 9, most_frames(many)]
    assert block_rams(many, device) - block_rams(few, device) == len(deep)
    longer = delayed(200)
    assert block_rams(longer, device) - block_rams(few, device) == sum(
        device.rams_for(queue.words, queue.bits) for queue in queues_of(longer) if queue.words > LUT_RAM_WORDS
    )
    assert block_rams(longer, device) > block_rams(many, device)


@pytest.mark.parametrize(("name", "words"), [("xc7z020", 256), ("gw1nr-9", LUT_RAM_WORDS)])
@pytest.mark.parametrize("entries", [100, 300])
def test_long_queues_are_counted_where_they_are(name, words, entries):
    """`words`: the most entries of a queue in LUT RAM."""
    made, device = delayed(1).network, DEVICES[name]
    few, many = (map_network(made, Placement((1, 1), queue_depth=n, row_queue_depth=n)) for n in (4, entries))
    assert max(queue.words for queue in queues_of(few)) <= LUT_RAM_WORDS
    long = [queue for queue in queues_of(many) if queue.words > words]
    assert len(long) >= 5 or entries < words
    assert block_rams(many, device) - block_rams(few, device) == sum(device.rams_for(q.words, q.bits) for q in long)


@pytest.mark.parametrize(
    ("family", "entries", "bits", "expected"),
    [
        ("ecp5", LUT_RAM_WORDS, 99, False),
        ("ECP5", LUT_RAM_WORDS + 1, 1, True),
        ("ice40", FLIP_FLOP_BITS // 8, 8, False),
        ("iCE40", FLIP_FLOP_BITS // 8 + 1, 8, True),
        ("gowin", LUT_RAM_WORDS, 99, False),
        ("gowin", LUT_RAM_WORDS + 1, 1, True),
        ("", LUT_RAM_WORDS + 1, 1, True),  # no device: what a vendor's tools get
    ],
)
def test_which_queues_are_read_at_a_clock_edge(family, entries, bits, expected):
    assert is_clocked(family, entries, bits) is expected
