"""The sweep over bit widths: nothing made twice, table, plot."""

from __future__ import annotations

from pathlib import Path

import float_networks
import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.quantize import ptq
from gradrtl.quantize.fold import FloatNetwork, fold
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.rounding import Formats
from gradrtl.quantize.sweep import Row, csv, markdown, plot, sweep

ROWS = [Row("weights", 2, 0.5, 0.04), Row("weights", 4, 0.96789, 0.05), Row("qat", 4, 0.98, 0.049)]


@pytest.fixture(scope="module")
def network() -> FloatNetwork:
    return fold(float_networks.checkpoint(float_networks.network(1), 1))


def test_a_sweep_goes_through_the_bits_and_makes_nothing_twice(network: FloatNetwork, tmp_path: Path) -> None:
    made: list[int] = []

    def method(network: FloatNetwork, formats: Formats) -> QuantizedNetwork:
        made.append(formats.weight_bits)
        return ptq.quantize(network, formats)

    def accuracy(network: QuantizedNetwork) -> float:
        return network.layers[0].weight_bits / 10

    seen: list[Row] = []
    rows = sweep(network, {"weights": method}, accuracy, tmp_path, on_row=seen.append)
    assert made == [2, 3, 4, 5, 6, 7, 8]
    assert [(row.bits, row.accuracy) for row in rows] == [(bits, bits / 10) for bits in made]
    for row in rows:
        found = QuantizedNetwork.load(tmp_path / f"weights-{row.bits}bit.npz")
        weights = [layer.synapses.weight for layer in found.layers]
        kept, places = sum(np.count_nonzero(weight) for weight in weights), sum(weight.size for weight in weights)
        assert row.connectivity == kept / places
    assert rows[0].connectivity < rows[-1].connectivity, "two bits round more synapses to 0"
    assert sweep(network, {"weights": method}, accuracy, tmp_path) == rows == seen
    assert len(made) == 7
    other = fold(float_networks.checkpoint(float_networks.network(1), 2))
    with pytest.raises(UserError, match="checkpoint is"):
        sweep(other, {"weights": method}, accuracy, tmp_path)
    with pytest.raises(UserError, match=r"made_from is None, expected .'data': 'a digest'"):
        sweep(network, {"weights": method}, accuracy, tmp_path, made_from={"data": "a digest"})
    with pytest.raises(UserError, match="formats"):
        sweep(network, {"weights": method}, accuracy, tmp_path, formats=Formats(input_bits=4))


def test_table() -> None:
    assert markdown(ROWS, 0.99) == (
        "| bits | weights | qat |\n| --- | ---: | ---: |\n| 2 | 50.00 |  |\n| 4 | 96.79 | 98.00 |\n"
        "| float | 99.00 | 99.00 |\n"
    )
    assert csv(ROWS[:1]) == "method,bits,accuracy,connectivity\nweights,2,0.500000,0.040000\n"


@pytest.mark.parametrize("name", ["plot.svg", "plot.png"])
def test_the_same_rows_give_the_same_plot(name: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        plot(ROWS, tmp_path / folder / name, float_accuracy=0.99, title="a network")
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_plots_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="plot file"):
        plot(ROWS, tmp_path / "plot.jpeg")
    with pytest.raises(UserError, match="rows"):
        plot([], tmp_path / "plot.svg")
