"""Strided synapse memories: same results and same cycles as packed ones; a loadable memory keeps what it was given."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import Options, frames, network
from test_rtl_top import check

from gradrtl.quantize.placement import Placement
from gradrtl.rtl.loading import image, load_layout
from gradrtl.rtl.mapping import map_network

OPTIONS = Options(dense_only=True, largest=40, most_layers=3, most_steps=4)


def mappings(seed: int):
    net = network(seed, OPTIONS)
    pes = tuple(int(p) for p in np.random.default_rng(seed).integers(1, 5, len(net.layers)))
    every = tuple(range(len(net.layers)))
    return net, map_network(net, pes), map_network(net, Placement(pes, strided=every))


@pytest.mark.parametrize("seed", range(4))
def test_strided_equals_reference_in_the_same_cycles(seed):
    net, _, strided = mappings(seed)
    check(net, strided, frames(net, 4, seed), 0.0, seed)


@pytest.mark.parametrize("seed", range(8))
def test_strided_memory_holds_the_packed_runs(seed):
    _, packed, strided = mappings(seed)
    for dense, sparse in zip(packed.layers, strided.layers, strict=True):
        for pe in range(dense.pes):
            runs, words = dense.synapse_words(pe), sparse.synapse_words(pe)
            assert len(words) == sparse.synapse_depth
            for address, count in enumerate(dense.counts[pe]):
                start, begin = dense.starts[pe, address], address << sparse.stride_bits
                assert words[begin : begin + count].tolist() == runs[start : start + count].tolist()


def test_layout_counts_the_memories_of_strided_layers():
    _, packed, strided = mappings(1)
    assert image(packed) == []
    memories = sum(layer.pes for layer in strided.layers)
    assert len(image(strided)) == memories
    assert load_layout(strided)["memory"].width == max(1, (memories - 1).bit_length())


def test_layout_fits_every_memory():
    differ = 0
    for seed in range(12):
        _, _, strided = mappings(seed)
        layout = load_layout(strided)
        for words in image(strided):
            assert len(words) - 1 >> layout["address"].width == 0
            assert int(words.max(initial=0)) >> layout["word"].width == 0
        differ += len({layer.synapse_address_bits for layer in strided.layers}) > 1
    assert differ
