"""Words of pointer and synapse memories: every value that a field holds comes back, and none else is taken."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from random_cases import Options, case

from gradrtl.bits import signed_bits
from gradrtl.errors import UserError
from gradrtl.rtl.memory import word_layout
from gradrtl.rtl.synapse_format import Field, SynapseFormat, Word, run_starts, stride_for

DENSE = Word((Field("row", 3), Field("weight", 4, signed=True)))
CONVOLUTION = Word((Field("group", 2), Field("x", 1), Field("y", 2), Field("weight", 2, signed=True)))
WIDEST = Word((Field("count", 31), Field("start", 32)))


def limits(word: Word) -> dict[str, np.ndarray]:
    """Every combination of each field's least, next, middle and largest values."""
    values = []
    for field in word.fields:
        low, high = field.range
        values.append(sorted({low, min(low + 1, high), (low + high) // 2, high}))
    columns = np.array(list(product(*values)), np.int64).T
    return {field.name: column for field, column in zip(word.fields, columns, strict=True)}


@pytest.mark.parametrize("word", [DENSE, CONVOLUTION, WIDEST])
def test_values_at_the_limits_come_back(word):
    values = limits(word)
    words = word.pack(**values)
    assert words.dtype == np.int64
    assert 0 <= words.min() <= words.max() < 1 << word.bits
    for name, found in word.unpack(words).items():
        assert np.array_equal(found, values[name]), name


def test_first_field_is_lowest():
    assert DENSE.bits == 7
    assert DENSE.pack(row=np.array([5, 0, 7]), weight=np.array([0, 1, -1])).tolist() == [5, 1 << 3, 0x7F]


@pytest.mark.parametrize("word", [DENSE, CONVOLUTION])
def test_hardware_reads_the_same_fields(word):
    layout, values = word_layout(word), limits(word)
    assert layout.size == word.bits
    for index, packed in enumerate(word.pack(**values).tolist()):
        constant = layout.from_bits(packed)
        assert all(constant[name] == column[index] for name, column in values.items())


@pytest.mark.parametrize(("name", "value"), [("row", 8), ("row", -1), ("weight", 8), ("weight", -9)])
def test_value_that_does_not_fit_is_refused(name, value):
    values = {"row": np.array([0]), "weight": np.array([0])} | {name: np.array([value])}
    with pytest.raises(UserError, match=f"field {name} is {value} to {value}, expected"):
        DENSE.pack(**values)


def test_impossible_words_are_refused():
    with pytest.raises(UserError, match="field row is 0 bits"):
        Word((Field("row", 0),))
    with pytest.raises(UserError, match="memory word is 64 bits"):
        Word((Field("count", 32), Field("start", 32)))


def test_empty_memory_packs_to_no_words():
    none = np.zeros(0, np.int64)
    assert DENSE.pack(row=none, weight=none).shape == (0,)


@pytest.mark.parametrize("seed", range(12))
def test_formats_are_the_narrowest_that_hold_a_layer(seed):
    for layer in case(seed, Options()).mapping.layers:
        made: SynapseFormat = layer.synapse_format
        *target, weight = made.synapse.fields
        assert [field.name for field in target] == (["row"] if layer.kernel is None else ["group", "x", "y"])
        assert weight.bits == max(
            signed_bits(min(w.tolist(), default=0), max(w.tolist(), default=0)) for w in layer.weights
        )
        for pe in range(layer.pes):
            found = made.pointer.unpack(layer.pointer_words(pe))
            assert np.array_equal(found["count"], layer.counts[pe])
            assert np.array_equal(found["start"], layer.starts[pe])
            found = made.synapse.unpack(layer.synapse_words(pe))
            assert np.array_equal(found["weight"], layer.weights[pe])
            assert all(np.array_equal(found[name], column) for name, column in layer.targets[pe].items())


def test_runs_lie_one_behind_the_other_or_at_equal_distances():
    counts = np.array([[2, 0, 3], [0, 1, 1]])
    assert run_starts(counts, None).tolist() == [[0, 0, 2], [0, 0, 1]]
    assert stride_for(counts) == 2
    assert run_starts(counts, 2).tolist() == [[0, 4, 8], [0, 4, 8]]
    assert [stride_for(np.array([[most]])) for most in (0, 1, 2, 3, 4, 5)] == [0, 0, 1, 2, 2, 3]
